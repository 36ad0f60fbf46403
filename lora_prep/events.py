"""Progress: what a stage tells whoever watches it.

A stage takes a `Listener` and calls it; it never prints. The command line draws the events, a run
writes them to `events.jsonl`, a notebook may ignore them (`ignore`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "Listener", "Stage", "ignore"]

Stage = Literal["services", "prepare", "upload", "train", "archive", "clean"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step of progress.

    stage: which part of the chain speaks; message: one short line for people, without secrets;
    done and total: how far, in `unit`, when that is known. kind: "progress" may be overwritten by
    the next; a "note" is worth keeping, a "warning" worth acting on; "done" is how a stage ended.
    """

    stage: Stage
    message: str
    kind: Literal["progress", "note", "warning", "done"] = "progress"
    done: int | None = None
    total: int | None = None
    unit: Literal["items", "bytes", "s"] = "items"


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
