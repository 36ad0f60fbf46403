"""What the steps of the chain hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lora_prep.model import Bundle, Crop, Lora, Prediction, Selection, StoredObject
from lora_prep.trainers import Location, Submission
from pipelines.preparing import Inspected
from pipelines.runs import Run

__all__ = ["Dataset", "Quote", "Result", "Training", "Upload"]


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
class Quote:
    """What a training costs and what the account holds, USD; None is not known."""

    price_usd: float | None
    balance_usd: float | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A training set's zip where a trainer can fetch it, for one submission of a run.

    sha256: of the zip, or what stands for it where nobody here has it; attempt: which submission of
    the run it is for, from 1; object: in the bucket, else `link`, which is a secret; path: of the
    zip here.
    """

    run: Run
    sha256: str
    attempt: int
    object: StoredObject | None = None
    link: str | None = field(default=None, repr=False)
    path: Path | None = None

    @property
    def location(self) -> Location:
        """Where its data URL leads; of a link only the hash is kept."""
        if self.object:
            return Location(self.object.bucket, self.object.key)
        return Location.hidden_of_url(self.link or "")


@dataclass(frozen=True, slots=True)
class Training:
    """A training that has completed; its prediction links to the LoRA for 7 days.

    submission: perhaps another run's, which asked for the same. prediction: None where the LoRA is
    in the bucket already.
    """

    run: Run
    submission: Submission
    prediction: Prediction | None


@dataclass(frozen=True, slots=True)
class Result:
    """The archived LoRAs of a run. reused: another run had asked for the same and paid for it."""

    run: Run
    loras: tuple[Lora, ...]
    reused: bool = False

    @property
    def rehearsal(self) -> bool:
        """Whether the files themselves say that nothing was trained."""
        return any(lora.facts.rehearsal for lora in self.loras)
