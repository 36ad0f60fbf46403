"""Archive one LoRA in a process of its own, which kills itself (SIGKILL) at a given point.

python -m tests.archive.killed POINT JSON
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lora_prep.archive import ArchiveState, How, Limits, TrainingFacts, archive_lora
from lora_prep.events import Event
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.stores import S3Store, StoreAccess

FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, None, 10, "0")
STATES = [state for state in ArchiveState if state not in {"submitted", "cleaned"}]
POINTS = [
    *(f"{when} {state.value}" for state in STATES for when in ("before", "after")),
    "while downloading",
    "before checking",
    "before naming",
    "while uploading",
    "before sidecar",
    "after sidecar",
]


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(point: str) -> None:
    """Put the end where it was asked for."""
    keep: Any = importlib.import_module("lora_prep.archive.keep")
    part: Any = importlib.import_module("lora_prep.archive.part")
    when, _, what = point.partition(" ")
    match what:
        case "checking":
            keep.check_file = die
        case "naming":
            part.Part.finish = die
        case "sidecar":
            put = keep.put_sidecar
            keep.put_sidecar = die if when == "before" else lambda *a: (put(*a), die())
        case _ if what in list(ArchiveState):
            write = keep.write_journal

            def write_and_die(folder: Path, journal: Any) -> None:
                if journal.state == what and when == "before":
                    die()
                write(folder, journal)
                if journal.state == what:
                    die()

            keep.write_journal = write_and_die


def archive(values: dict[str, Any], point: str = "") -> None:
    def on_event(event: Event) -> None:
        if point == f"while {event.message}":
            die()

    prediction = Prediction("p1", "model", PredictionStatus.COMPLETED, (values["url"],))
    archive_lora(
        prediction,
        FACTS,
        run_id=values["run_id"],
        store=S3Store(StoreAccess(**values["access"])),
        folder=Path(values["folder"]),
        how=How(limits=Limits(pause_min_s=0.01, pause_max_s=0.05)),
        on_event=on_event,
    )


if __name__ == "__main__":
    arrange(sys.argv[1])
    archive(json.loads(sys.argv[2]), sys.argv[1])
