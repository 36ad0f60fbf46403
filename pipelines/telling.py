"""A run's report, drawn from what lies in its folder: whoever goes on with a run can tell of it."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from typing import Any, Final

from lora_prep.errors import LoraPrepError
from lora_prep.model import Selection
from lora_prep.report import Fact, StageTime, read_drawing, thumbnail_in, write_report
from lora_prep.selection import require_enough
from pipelines.runs import Run

__all__ = ["interruption_of", "tell"]

STAGES: Final = {
    "prepare": "Photos judged and cropped",
    "upload": "Data set uploaded",
    "train": "Trained",
    "archive": "LoRA verified and archived",
}


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
        [*_training_rows(record), *_dataset_rows(record)],
        title=record.get("name") or drawing.selection.folder.name,
        rehearsal=bool(record.get("rehearsal")),
        outcome=_outcome(drawing.selection, told),
        preview_of=partial(thumbnail_in, run.path),
        settings=drawing.settings,
        scale=drawing.scale,
        stages=_stages(run, record),
        loras=_loras(run, record),
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
        Fact("Zip SHA-256", dataset["sha256"]),
        *([Fact("Uploaded as", dataset["object"])] if dataset.get("object") else ()),
    ]


def _training_rows(record: dict[str, Any]) -> list[Fact]:
    """Return what is told of the training, and that there was none."""
    training = record.get("training")
    if not training:
        return [Fact("Training", "nothing was submitted"), Fact("Price", "nothing")]
    labels = {
        "model": "Model",
        "trigger_word": "Trigger word",
        "steps": "Steps",
        "learning_rate": "Learning rate",
        "lora_rank": "LoRA rank",
        "prediction_id": "Prediction",
    }
    shown = [Fact(label, str(training[key])) for key, label in labels.items() if training.get(key)]
    reused = [Fact("Trained by", "an earlier run, paid once")] if record.get("reused") else []
    return [Fact("Price", _price(record, training)), *reused, *shown]


def _price(record: dict[str, Any], training: dict[str, Any]) -> str:
    if record.get("rehearsal"):
        return "nothing: a rehearsal"
    price = training.get("price_usd")
    return "not known" if price is None else f"{price:.2f} USD"


def _loras(run: Run, record: dict[str, Any]) -> list[list[Fact]]:
    """Return what is told of each archived LoRA."""
    known = _seen_in_the_files(run)
    return [
        [
            Fact("File", lora["url"]),
            Fact("SHA-256", lora["sha256"]),
            Fact("Size", f"{lora['bytes'] / 1e6:.1f} MB"),
            *([Fact("For", lora["role"].replace("_", " "))] if lora["role"] != "single" else ()),
            *_shape(lora, known.get(lora["sha256"], {})),
        ]
        for lora in record.get("loras", [])
    ]


def _shape(lora: dict[str, Any], seen: dict[str, Any]) -> list[Fact]:
    if not lora["verified"]:
        return [Fact("Format", "not a safetensors file, unverified")]
    facts = [Fact("Rank", str(lora["rank"])), Fact("Names", lora["spelling"])]
    if seen:
        words = f"{seen['tensors']} of {seen['dtype']} in {seen['blocks']} blocks"
        facts.append(Fact("Tensors", words))
    return facts


def _seen_in_the_files(run: Run) -> dict[str, dict[str, Any]]:
    """Return what the local sidecar says of the files, by their hash; {} where there is none."""
    try:
        sidecar = json.loads((run.path / "lora" / "lora.json").read_text(encoding="utf-8"))
        return {file["sha256"]: file for file in sidecar["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _stages(run: Run, record: dict[str, Any]) -> list[StageTime]:
    """Return how long each stage took and when it began, as far as the run has come."""
    seconds, began = record.get("seconds", {}), _beginnings(run)
    return [
        StageTime(label, seconds.get(stage), began.get(stage))
        for stage, label in STAGES.items()
        if stage in seconds
    ]


def _beginnings(run: Run) -> dict[str, datetime]:
    """Return when each stage was first heard of."""
    began: dict[str, datetime] = {}
    try:
        lines = (run.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return began
    for line in lines:
        try:
            event = json.loads(line)
            began.setdefault(event["stage"], datetime.fromisoformat(event["time"]))
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off
    return began


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
