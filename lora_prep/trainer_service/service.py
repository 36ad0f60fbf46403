"""What the service does with a request, apart from HTTP: accept, find, list, hand out, remove."""

from __future__ import annotations

import functools
import hashlib
import hmac
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from lora_prep.guard import Guard
from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.answers import describe_prediction
from lora_prep.trainer_service.backend import Backend, Job
from lora_prep.trainer_service.catalogue import CATALOGUE, Trainer
from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.dataset import fetch
from lora_prep.trainer_service.deliveries import DeliveryTable
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.links import Link, Links
from lora_prep.trainer_service.listing import ListQuery
from lora_prep.trainer_service.options import ServiceOptions
from lora_prep.trainer_service.protocol import BadRequest, TaskCode, TaskError, is_http_url
from lora_prep.trainer_service.state import StateFolder
from lora_prep.trainer_service.tasks import Counts, Task, TaskTable
from lora_prep.trainer_service.uploads import Uploads
from lora_prep.trainer_service.webhooks import SECRET_PREFIX, Webhooks
from lora_prep.trainer_service.workers import Running, Workers

__all__ = ["Clock", "NoBalance", "TrainerService", "utc_now"]

Clock = Callable[[], datetime]
MAX_THREADS = 32  # of all keys together; each holds a data set and a LoRA in the making


class NoBalance(Exception):
    """A submission that the owner's balance does not cover."""


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


class TrainerService:
    """One state folder at work. The clock decides what has expired; tests move it.

    Raises:
        ConfigurationError: another service works on the same folder.
    """

    def __init__(
        self,
        state: StateFolder,
        options: ServiceOptions,
        backend: Backend,
        *,
        clock: Clock,
        guard: Guard,
        faults: FaultScript,
    ) -> None:
        self.options = options
        self.faults = faults
        self._state = state
        self._backend = backend
        self._clock = clock
        self._guard = guard
        self._secret = state.link_secret()
        self._links = Links(self._secret)
        self.uploads = Uploads(state.media, self._links, clock)
        self._database = Database(state.database)
        self._table = TaskTable(self._database)
        self._table.adopt(options.owners[0])
        threads = min(MAX_THREADS, options.tasks_at_once * len(options.api_keys))
        self._workers = Workers(
            self._table,
            self._work,
            threads=threads,
            per_owner=options.tasks_at_once,
            on_end=self._after,
        )
        retry_s = options.webhook_retry_s
        self._webhooks = Webhooks(
            DeliveryTable(self._database), self._to_tell, guard, faults, retry_s=retry_s
        )
        self._accepting = threading.Lock()

    def start(self) -> None:
        """Clear what a crash left and continue its tasks."""
        self._state.clean()
        self.remove_expired()
        self._workers.start()
        self._webhooks.start()

    def stop(self) -> None:
        """End within a moment; tasks in hand wait for the next start."""
        self._workers.stop()
        self._webhooks.stop()
        self._table.settle()
        self._database.close()

    def accept(
        self, owner: str, model: str, parameters: Mapping[str, Any], *, webhook: str, origin: str
    ) -> Task:
        """Keep a new task and queue it; when this returns a crash cannot lose it.

        Raises:
            BadRequest: a parameter is missing or does not fit.
            NoBalance: the owner's balance does not cover the price.
        """
        self.remove_expired()
        trainer = CATALOGUE[model]
        inputs = trainer.read(parameters)
        self._check_address("data", inputs["data"])
        if webhook:
            self._check_webhook(webhook)
        task_id = uuid.uuid4().hex
        task = Task(
            id=task_id,
            owner=owner,
            model=model,
            inputs=inputs,
            outputs=self._output_names(trainer, task_id),
            webhook=webhook,
            origin=origin,
            price=self.price(trainer, inputs["steps"]),
            created_at=self._clock(),
        )
        with self._accepting:  # two at once must not both spend the last of a balance
            if task.price > self.balance(owner):
                raise NoBalance
            self._table.add(task)
        self._workers.add(task)
        return task

    def find(self, owner: str, task_id: str) -> Task | None:
        """Return a task, or None for an id that is unknown, another's or past its retention."""
        task = self._table.get(task_id)
        return task if task and task.owner == owner and self._clock() < task.expires_at else None

    def progress(self, task: Task) -> float:
        """Return how far a task has come, 0 to 1."""
        done = 1.0 if task.status is PredictionStatus.COMPLETED else 0.0
        return self._workers.progress(task.id) or done

    def page(self, owner: str, query: ListQuery) -> tuple[list[Task], int]:
        """Return one page of an owner's tasks, newest first, and how many meet the query."""
        self.remove_expired()
        if lag := self.faults.take("list-lag", "list"):
            seen = self._clock() - timedelta(seconds=lag.seconds)
            query = replace(query, before=min(query.before or seen, seen))
        return self._table.page(owner, query)

    def cancel(self, task: Task) -> Task:
        """End a task that has not ended, and return what it is now."""
        self._table.finish(task, PredictionStatus.CANCELLED)
        self._workers.cancel(task.id)
        return self._table.get(task.id) or task

    def delete(self, owner: str, task_ids: Iterable[str]) -> int:
        """Remove an owner's tasks with their outputs; return how many there were."""
        removed = self._table.delete(owner, task_ids)
        self._clear(removed)
        return len(removed)

    def describe(self, task: Task, origin: str) -> dict[str, Any]:
        """Return what clients are told of a task; links begin with `origin`."""
        completed = task.status is PredictionStatus.COMPLETED
        names = task.outputs if completed else ()
        paths = [self._links.path("outputs", name, task.expires_at) for name in names]
        return describe_prediction(task, origin, paths)

    def open_output(self, link: Link) -> Path | None:
        """Return the file behind a link; None when the link is not ours or has expired."""
        if self._links.opens(link, self._clock()):
            return self._state.outputs / link.name
        self.remove_expired()
        return None

    def counts(self, owner: str) -> Counts:
        """Return what an owner ever had accepted, and how it ended."""
        return self._table.counts(owner)

    def price(self, trainer: Trainer, steps: float) -> float:
        """Return the price of a training, USD."""
        return round(steps / 1000 * self.options.price_usd * len(trainer.outputs), 6)

    def balance(self, owner: str) -> float:
        """Return what an owner has left, USD."""
        return round(self.options.balance_usd - self._table.counts(owner).spent, 6)

    def webhook_secret(self, owner: str) -> str:
        """Return what signs an owner's deliveries."""
        told = hmac.new(self._secret, f"webhook\n{owner}".encode(), hashlib.sha256)
        return SECRET_PREFIX + told.hexdigest()

    def remove_expired(self) -> None:
        """Remove what has outlived its 7 days: predictions, outputs and uploads."""
        self._clear(self._table.expire(self._clock()))
        self.uploads.remove_expired()

    def _clear(self, removed: Iterable[Task]) -> None:
        for task in removed:
            self._workers.cancel(task.id)
            for name in task.outputs:
                (self._state.outputs / name).unlink(missing_ok=True)

    def _output_names(self, trainer: Trainer, task_id: str) -> tuple[str, ...]:
        """Return file names as the hosted service makes them."""
        tags = trainer.outputs
        if self.faults.take("empty-outputs", "task"):
            tags = ()
        elif self.faults.take("two-outputs", "task"):
            tags = (*tags, "")
        return tuple(
            f"{task_id}-u{number}{tag}_{uuid.uuid4()}.safetensors"
            for number, tag in enumerate(tags)
        )

    def _check_webhook(self, url: str) -> None:
        if not is_http_url(url) or (self._guard.closed and not url.startswith("https://")):
            raise BadRequest("webhook must be an https URL")
        self._check_address("webhook", url)

    def _check_address(self, name: str, url: str) -> None:
        if self._guard.refuses(url) and not self.uploads.own_file(url):
            raise BadRequest(f"{name} leads into a private network")

    def _work(self, task: Task, running: Running) -> None:
        def report(progress: float) -> None:
            running.progress = progress

        outputs = tuple(self._state.outputs / name for name in task.outputs)
        open_data_set = functools.partial(self._open_data_set, task, running.stop)
        self._backend(Job(task, outputs, open_data_set, report, running.stop))

    def _after(self, task: Task) -> None:
        try:
            kept = self._table.get(task.id)
        except sqlite3.Error:  # the service has stopped, and the table is closed
            return
        if kept is None or kept.status is not PredictionStatus.COMPLETED:
            self._clear([task])  # cancelled or deleted while its files were being written
        self._webhooks.wake()

    def _open_data_set(self, task: Task, stop: threading.Event) -> IO[bytes]:
        url = str(task.inputs["data"])
        if self.faults.take("data-1402", "task"):
            reason = "The data URL could not be fetched (a scripted fault)."
            raise TaskError(TaskCode.DATA_NOT_FETCHED, reason)
        if own := self.uploads.own_file(url):  # behind our own address, which the guard refuses
            return own.open("rb")
        return fetch(url, self._state.downloads, self._guard, stop)

    def _to_tell(self, task_id: str) -> tuple[Task, dict[str, Any], str] | None:
        """Return a task that has ended, what its webhook is told, and the secret that signs it."""
        task = self._table.get(task_id)
        if task is None:
            return None
        described = {**self.describe(task, task.origin), "input": dict(task.inputs)}
        return task, described, self.webhook_secret(task.owner)
