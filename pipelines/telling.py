"""A run's report, drawn from what lies in its folder: whoever goes on with a run can tell of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from lora_prep.errors import LoraPrepError
from lora_prep.model import Selection
from lora_prep.report import Fact, read_drawing, thumbnail_in, write_report
from lora_prep.selection import require_enough
from pipelines.runs import Run

__all__ = ["interruption_of", "tell"]


def tell(run: Run, error: LoraPrepError | None = None) -> None:
    """Write the run's report anew with what is known now; error: what ended it, if not recorded.

    A run without photos, such as one that only followed a training, has none to show.
    """
    drawing = read_drawing(run.path)
    if drawing is None:
        return
    record = run.record()
    told = error.to_json() if error else record.get("error")
    write_report(
        run.report,
        drawing.selection,
        drawing.crops,
        [*_dataset_rows(record), *_training_rows(record), *_lora_rows(record)],
        title=record.get("name") or drawing.selection.folder.name,
        rehearsal=bool(record.get("rehearsal")),
        outcome=_outcome(drawing.selection, told),
        preview_of=partial(thumbnail_in, run.path),
    )


def _outcome(selection: Selection, error: dict[str, Any] | None) -> str | None:
    """Return how it ended, where that needs words; what happened is else the page's headline."""
    try:
        require_enough(selection)
    except LoraPrepError as too_few:
        return f"{too_few.why}\n{too_few.fix}"
    return "\n".join(error[part] for part in ("message", "why", "fix")) if error else None


def _dataset_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what is told of the data set's zip."""
    dataset = record.get("dataset") or {}
    if "images" not in dataset:
        return []
    return [
        Fact("Training set", f"{dataset['images']} crops, {dataset['bytes'] / 1e6:.1f} MB"),
        Fact("Zip sha256", dataset["sha256"]),
    ]


def _training_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what is told of the training, if there was one."""
    training = record.get("training", {})
    labels = {
        "model": "Model",
        "trigger_word": "Trigger word",
        "steps": "Steps",
        "prediction_id": "Prediction",
    }
    return [Fact(label, str(training[key])) for key, label in labels.items() if training.get(key)]


def _lora_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what is told of the archived LoRAs."""
    rows = []
    for lora in record.get("loras", []):
        rank = f"rank {lora['rank']}" if lora["verified"] else "not a safetensors file, unverified"
        rows += [
            Fact("LoRA", lora["url"]),
            Fact("LoRA sha256", lora["sha256"]),
            Fact("LoRA file", f"{lora['bytes'] / 1e6:.1f} MB, {rank}"),
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
