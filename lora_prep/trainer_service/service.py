"""What the service does with a request, apart from HTTP: accept a task, find it, hand it out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lora_prep.model import PredictionStatus, TrainingRequest
from lora_prep.trainer_service.links import link_opens, signed_path
from lora_prep.trainer_service.state import StateFolder
from lora_prep.trainer_service.tasks import Task, TaskTable
from lora_prep.trainer_service.workers import Train, Workers

__all__ = ["Clock", "TrainerService", "utc_now"]

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


class TrainerService:
    """One state folder at work. The clock decides what has expired; tests move it.

    Raises:
        ConfigurationError: another service works on the same folder.
    """

    def __init__(self, state: StateFolder, train: Train, *, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._link_secret = state.link_secret()
        self._table = TaskTable(state.database)
        self._workers = Workers(self._table, train)

    def start(self) -> None:
        """Clear what a crash left and continue its tasks."""
        self._state.clean()
        self._remove_expired_outputs()
        self._workers.start()

    def stop(self) -> None:
        """End within a moment; tasks in hand wait for the next start."""
        self._workers.stop()
        self._table.close()

    def accept(self, request: TrainingRequest) -> Task:
        """Keep a new task and queue it; when this returns a crash cannot lose it."""
        self._remove_expired_outputs()
        task_id = uuid.uuid4().hex
        task = Task(
            id=task_id,
            request=request,
            output_name=f"{task_id}-u0_{uuid.uuid4()}.safetensors",  # as the hosted service names
            created_at=self._clock(),
        )
        self._table.add(task)
        self._workers.add(task)
        return task

    def find(self, task_id: str) -> Task | None:
        """Return a task, or None for an id that is unknown or past its retention."""
        task = self._table.get(task_id)
        return task if task and self._clock() < task.expires_at else None

    def output_paths(self, task: Task) -> list[str]:
        """Return the signed path of each output; none before the task is completed."""
        if task.status is not PredictionStatus.COMPLETED:
            return []
        return [signed_path(self._link_secret, task.output_name, task.expires_at)]

    def open_link(self, *, expires: str, signature: str, name: str) -> Path | None:
        """Return the file behind a link; None when the link is not ours or has expired."""
        now = self._clock()
        if link_opens(self._link_secret, expires=expires, signature=signature, name=name, now=now):
            return self._state.outputs / name
        self._remove_expired_outputs()
        return None

    def statistics(self) -> dict[str, int]:
        """Return how many tasks were ever accepted, completed and failed."""
        return {
            "accepted": self._table.count(),
            "completed": self._table.count(PredictionStatus.COMPLETED),
            "failed": self._table.count(PredictionStatus.FAILED),
        }

    def _remove_expired_outputs(self) -> None:
        for task in self._table.expired(self._clock()):
            (self._state.outputs / task.output_name).unlink(missing_ok=True)
