"""The rehearsal: everything a trainer does with a task, except the training."""

from __future__ import annotations

import threading
import time

from lora_prep.trainer_service.dataset import fetch, require_enough_images
from lora_prep.trainer_service.lora import write_zero_lora
from lora_prep.trainer_service.state import StateFolder
from lora_prep.trainer_service.tasks import Task

__all__ = ["rehearse"]

NOTE = "rehearsal: no training took place; lora_B is zero, so this LoRA changes nothing"


def rehearse(
    task: Task,
    stopping: threading.Event,
    *,
    state: StateFolder,
    rank: int,
    blocks: int,
    seconds: float,
) -> None:
    """Fetch and count the data set, then leave the LoRA at the task's output name.

    It takes `seconds` at least, so that a client sees the task at work; `stopping` ends the wait.
    Doing it again gives the same file.

    Raises:
        TaskError: the data set cannot be fetched or used.
    """
    ends = time.monotonic() + seconds
    with fetch(task.request.data_url, state.downloads) as file:
        images = require_enough_images(file)
    write_zero_lora(
        state.outputs / task.output_name,
        rank=rank,
        blocks=blocks,
        seed=int(task.id, 16),
        metadata={
            "rehearsal": "true",
            "trigger_word": task.request.trigger_word,
            "steps": str(task.request.steps),
            "images": str(images),
            "note": NOTE,
        },
    )
    stopping.wait(max(0.0, ends - time.monotonic()))
