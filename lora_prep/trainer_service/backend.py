"""What a backend is: the part that really trains. The rehearsal is one, a GPU would be another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lora_prep.trainer_service.tasks import Task

__all__ = ["Backend", "Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """One training as a backend sees it.

    outputs: where to leave each result file, whole; open_data_set: fetches the zip and returns it
    as an open file (raises `TaskError`); report: takes the progress, 0 to 1; stop: set when the
    training was cancelled or the service ends.
    """

    task: Task
    outputs: tuple[Path, ...]
    open_data_set: Callable[[], IO[bytes]]
    report: Callable[[float], None]
    stop: threading.Event


Backend = Callable[[Job], None]
"""Do the job and leave its outputs, or raise `TaskError`; return early, with whatever there is,
once `stop` is set. Doing a job twice must do no harm."""
