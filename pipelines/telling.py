"""What a run's report says besides the photos: the data set, the training and the LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_prep.model import Bundle, Crop, Lora, Selection
from lora_prep.report import Fact, write_report
from pipelines.runs import Run

__all__ = ["dataset_rows", "lora_rows", "tell", "training_rows"]


def tell(
    run: Run,
    selection: Selection,
    crops: Sequence[Crop] = (),
    rows: Sequence[Fact] = (),
    *,
    rehearsal: bool = False,
    outcome: str | None = None,
) -> None:
    """Write the run's report anew with what is known now."""
    title = selection.folder.resolve().name
    write_report(
        run.report, selection, crops, rows, title=title, rehearsal=rehearsal, outcome=outcome
    )


def dataset_rows(bundle: Bundle) -> list[Fact]:
    """Return what the report says of the data set's zip."""
    return [
        Fact("Training set", f"{len(bundle.entries)} crops, {bundle.size_bytes / 1e6:.1f} MB"),
        Fact("Zip sha256", bundle.sha256),
    ]


def training_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what the report says of the training a run's record holds."""
    training = record["training"]
    return [
        Fact("Model", training["model"]),
        Fact("Trigger word", training["trigger_word"]),
        Fact("Steps", str(training["steps"])),
        Fact("Prediction", training["prediction_id"]),
    ]


def lora_rows(loras: Sequence[Lora]) -> list[Fact]:
    """Return what the report says of the archived LoRAs."""
    rows = []
    for lora in loras:
        rows += [
            Fact("LoRA", lora.object.url),
            Fact("LoRA sha256", lora.facts.sha256),
            Fact("LoRA file", f"{lora.facts.size_bytes / 1e6:.1f} MB, rank {lora.facts.rank}"),
        ]
    return rows
