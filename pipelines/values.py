"""What the steps of the chain hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from lora_prep.model import Bundle, Crop, Lora, Prediction, Selection, StoredObject
from pipelines.preparing import Inspected
from pipelines.runs import Run

__all__ = ["Dataset", "Result", "Training", "Upload"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set on disk, with the verdict on every photo of its folder."""

    run: Run
    inspected: Inspected
    crops: tuple[Crop, ...]
    bundle: Bundle

    @property
    def selection(self) -> Selection:
        """The verdict on every file of the folder."""
        return self.inspected.selection


@dataclass(frozen=True, slots=True)
class Upload:
    """The training set's zip in the bucket."""

    dataset: Dataset
    object: StoredObject


@dataclass(frozen=True, slots=True)
class Training:
    """A training that has completed; its prediction links to the LoRA for 7 days."""

    run: Run
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Result:
    """The archived LoRAs of a run."""

    run: Run
    loras: tuple[Lora, ...]

    @property
    def rehearsal(self) -> bool:
        """Whether the files themselves say that nothing was trained."""
        return any(lora.facts.rehearsal for lora in self.loras)
