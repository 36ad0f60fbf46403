"""What a run's report says besides the photos: the data set, the training and the LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_prep.model import Bundle, Crop, Lora
from lora_prep.report import Fact, write_report
from pipelines.preparing import Inspected
from pipelines.runs import Run

__all__ = ["dataset_rows", "interruption_of", "lora_rows", "tell", "training_rows"]


def tell(
    run: Run,
    inspected: Inspected,
    crops: Sequence[Crop] = (),
    rows: Sequence[Fact] = (),
    *,
    rehearsal: bool = False,
    outcome: str | None = None,
) -> None:
    """Write the run's report anew with what is known now."""
    selection = inspected.selection
    write_report(
        run.report,
        selection,
        crops,
        rows,
        title=selection.folder.resolve().name,
        rehearsal=rehearsal,
        outcome=outcome,
        preview_of=inspected.cache.preview if inspected.cache else None,
    )


def dataset_rows(bundle: Bundle) -> list[Fact]:
    """Return what the report says of the data set's zip."""
    return [
        Fact("Training set", f"{bundle.images} crops, {bundle.size_bytes / 1e6:.1f} MB"),
        Fact("Zip sha256", bundle.sha256),
    ]


def training_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what the report says of the training a run's record holds, if there was one."""
    training = record.get("training", {})
    labels = {
        "model": "Model",
        "trigger_word": "Trigger word",
        "steps": "Steps",
        "prediction_id": "Prediction",
    }
    return [Fact(label, str(training[key])) for key, label in labels.items() if training.get(key)]


def lora_rows(loras: Sequence[Lora]) -> list[Fact]:
    """Return what the report says of the archived LoRAs."""
    rows = []
    for lora in loras:
        rows += [
            Fact("LoRA", lora.object.url),
            Fact("LoRA sha256", lora.facts.sha256),
            Fact("LoRA file", lora.facts.words),
        ]
    return rows


def interruption_of(run: Run) -> tuple[str, str]:
    """Return what it means that a run was broken off where it is, and what to do about it."""
    go_on, look = f"Go on with: lora-prep resume {run.id}", f"lora-prep open {run.id}"
    match run.record().get("status"):
        case "prepared" | "uploaded":
            return "Nothing was submitted.", go_on
        case "submitting":
            return "It may have been submitted just then; it is not sent a second time.", go_on
        case "submitted":
            return "You stopped the waiting, not the training: it goes on.", go_on
        case "completed":
            return "The training has ended; its LoRA is not archived yet.", go_on
        case "archived":
            return "Everything was done already.", f"See the report: {look}"
        case "failed":
            return "The training had failed already.", f"See the report: {look}"
        case _:
            return "Nothing was submitted.", "Run the same command again."
