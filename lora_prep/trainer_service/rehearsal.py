"""The rehearsal: everything a trainer does with a task, except the training."""

from __future__ import annotations

import time
from typing import Final

from lora_prep.trainer_service.backend import Job
from lora_prep.trainer_service.catalogue import CATALOGUE
from lora_prep.trainer_service.dataset import require_enough_images
from lora_prep.trainer_service.lora import write_zero_lora

__all__ = ["rehearse"]

NOTE: Final = (
    "rehearsal: no training took place; lora_B is zero, so this LoRA changes nothing. "
    "Its tensors are those of Wan 14B whichever trainer was asked."
)
REPORT_EVERY_S: Final = 0.25


def rehearse(job: Job, *, rank: int, blocks: int, seconds: float) -> None:
    """Fetch and count the data set, then leave a LoRA at each of the job's outputs.

    It takes `seconds` at least, so that a client sees the task at work. Doing it again gives the
    same files.

    Raises:
        TaskError: the data set cannot be fetched or used.
    """
    began = time.monotonic()
    task = job.task
    with job.open_data_set() as file:
        images = require_enough_images(file, CATALOGUE[task.model].min_images)
    for number, path in enumerate(job.outputs):
        write_zero_lora(
            path,
            rank=rank,
            blocks=blocks,
            seed=int(task.id, 16) + number,
            metadata={
                "rehearsal": "true",
                "trainer": task.model,
                "trigger_word": task.inputs["trigger_word"],
                "steps": str(task.inputs["steps"]),
                "images": str(images),
                "note": NOTE,
            },
        )
    while (spent := time.monotonic() - began) < seconds and not job.stop.is_set():
        job.report(spent / seconds)
        job.stop.wait(min(REPORT_EVERY_S, seconds - spent))
