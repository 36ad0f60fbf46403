"""The task table: what was accepted and what became of it.

A task is committed before its client hears of it, and each change is on the disk before the next
step: whatever kills the process, the next start knows what is left to do.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.deliveries import plan_delivery
from lora_prep.trainer_service.listing import ListQuery
from lora_prep.trainer_service.protocol import RETENTION, TaskCode, rfc3339, without_secrets

__all__ = ["Counts", "Task", "TaskTable"]

_INSERT: Final = "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OPEN: Final = (PredictionStatus.CREATED.value, PredictionStatus.PROCESSING.value)


@dataclass(frozen=True, slots=True)
class Task:
    """One accepted training.

    id: 32 hexadecimal digits; owner: whose key it came with; inputs: the parameters, `data` a
    secret until the end; outputs: file names, chosen when the task is accepted, so that a training
    done twice after a crash writes the same files; webhook: whom to tell of the end, or empty;
    origin: the address that the client called; price: in USD; starts: how often it was taken up;
    error and code: empty and 0 unless it failed; inference_ms: how long the training took.
    """

    id: str
    owner: str
    model: str
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: tuple[str, ...]
    created_at: datetime
    webhook: str = field(default="", repr=False)
    origin: str = ""
    price: float = 0.0
    starts: int = 0
    status: PredictionStatus = PredictionStatus.CREATED
    error: str = ""
    code: int = TaskCode.OK
    inference_ms: int = 0

    @property
    def expires_at(self) -> datetime:
        """When the prediction and its outputs are gone."""
        return self.created_at + RETENTION


@dataclass(frozen=True, slots=True)
class Counts:
    """What one owner ever had accepted, completed and failed; spent: USD, refunds taken off."""

    accepted: int = 0
    completed: int = 0
    failed: int = 0
    spent: float = 0.0


class TaskTable:
    """The tasks of one state folder. Every method may be called from any thread.

    The end of a task that cannot be written, because the disk is full, is kept in memory: clients
    hear of it, and each later look at a task tries to write it again. If the process ends before
    that succeeds, the task is unfinished for the next start.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unwritten: dict[str, Task] = {}

    def settle(self) -> None:
        """Try to write the ends that could not be written before."""
        with self._database.lock, suppress(sqlite3.Error):  # it was logged when it happened first
            for task in list(self._unwritten.values()):
                self._write_end(task)

    def adopt(self, owner: str) -> None:
        """Give the tasks of a table from before there were several keys to this owner."""
        with self._database.writing() as connection:
            connection.execute("UPDATE tasks SET owner = ? WHERE owner = ''", (owner,))
            connection.execute("UPDATE OR REPLACE counts SET owner = ? WHERE owner = ''", (owner,))

    def add(self, task: Task) -> None:
        """Keep and count a new task; when this returns it is on the disk."""
        row = (
            *(task.id, task.owner, task.model),
            *(json.dumps(dict(task.inputs)), json.dumps(task.outputs), task.webhook, task.origin),
            *(task.price, task.starts, task.status.value, rfc3339(task.created_at)),
            *(task.error, int(task.code), task.inference_ms),
        )
        with self._database.writing() as connection:
            connection.execute(_INSERT, row)
            _count(connection, task.owner, accepted=1, spent=task.price)

    def get(self, task_id: str) -> Task | None:
        """Return a task by its id."""
        with self._database.lock:
            self.settle()
            if unwritten := self._unwritten.get(task_id):
                return unwritten
        found = self._database.read("SELECT * FROM tasks WHERE id = ?", task_id)
        return _task(found[0]) if found else None

    def page(self, owner: str, query: ListQuery) -> tuple[list[Task], int]:
        """Return one page of an owner's tasks, newest first, and how many there are on all."""
        self.settle()
        where, values = query.condition()
        where = f"FROM tasks WHERE owner = ? AND {where}"
        order = "ORDER BY created_at DESC, id LIMIT ? OFFSET ?"
        with self._database.lock:
            [[total]] = self._database.read(f"SELECT count(*) {where}", owner, *values)
            rows = self._database.read(
                f"SELECT * {where} {order}", owner, *values, query.page_size, query.offset
            )
            return [self._unwritten.get(row["id"]) or _task(row) for row in rows], total

    def unfinished(self) -> list[Task]:
        """Return what is left to do, oldest first."""
        self.settle()
        query = "SELECT * FROM tasks WHERE status IN (?, ?) ORDER BY created_at, id"
        return [_task(row) for row in self._database.read(query, *_OPEN)]

    def begin(self, task_id: str) -> None:
        """Note that a worker has taken the task."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE tasks SET status = ?, starts = starts + 1 WHERE id = ?",
                (PredictionStatus.PROCESSING.value, task_id),
            )

    def finish(
        self,
        task: Task,
        status: PredictionStatus,
        *,
        inference_ms: int = 0,
        code: TaskCode = TaskCode.OK,
        error: str = "",
    ) -> None:
        """Note the end, and plan to tell the webhook; a task that has ended already stays as it is.

        The signature in the data URL goes: nothing here needs it any more, and it opens photos.

        Raises:
            sqlite3.Error: it is not on the disk, but `get` knows it.
        """
        bare = {**task.inputs, "data": without_secrets(task.inputs["data"])}
        ended = replace(
            task, inputs=bare, status=status, code=code, error=error, inference_ms=inference_ms
        )
        with self._database.lock:
            self._unwritten[task.id] = ended
            self._write_end(ended)

    def delete(self, owner: str, task_ids: Iterable[str]) -> list[Task]:
        """Remove an owner's tasks and return them; what was counted stays counted."""
        with self._database.lock:
            mine = [task for one in task_ids if (task := self.get(one)) and task.owner == owner]
            self._remove(mine)
        return mine

    def expire(self, now: datetime) -> list[Task]:
        """Remove the tasks past their retention and return them."""
        query = "SELECT * FROM tasks WHERE created_at <= ?"
        with self._database.lock:
            old = [_task(row) for row in self._database.read(query, rfc3339(now - RETENTION))]
            self._remove(old)
        return old

    def counts(self, owner: str) -> Counts:
        """Return what an owner ever had accepted and how it ended."""
        with self._database.lock:
            self.settle()
            found = self._database.read("SELECT * FROM counts WHERE owner = ?", owner)
            if not found:
                return Counts()
            row = dict(found[0])
            for task in self._unwritten.values():
                if task.owner == owner and (column := _column(task.status)):
                    row[column] += 1
            return Counts(row["accepted"], row["completed"], row["failed"], row["spent"])

    def _remove(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        with self._database.writing() as connection:
            for task in tasks:
                self._unwritten.pop(task.id, None)
                connection.execute("DELETE FROM deliveries WHERE task_id = ?", (task.id,))
                connection.execute("DELETE FROM tasks WHERE id = ?", (task.id,))

    def _write_end(self, task: Task) -> None:
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE tasks SET status = ?, inputs = ?, code = ?, error = ?, inference_ms = ?"
                " WHERE id = ? AND status IN (?, ?)",
                (
                    *(task.status.value, json.dumps(dict(task.inputs)), int(task.code)),
                    *(task.error, task.inference_ms, task.id, *_OPEN),
                ),
            ).rowcount
            if changed:
                refund = 0.0 if task.status is PredictionStatus.COMPLETED else task.price
                ended = {column: 1} if (column := _column(task.status)) else {}
                _count(connection, task.owner, spent=-refund, **ended)
                if task.webhook and ended:
                    plan_delivery(connection, task.id)
        self._unwritten.pop(task.id, None)


def _column(status: PredictionStatus) -> str:
    """Return where an end is counted; a cancelled training is neither completed nor failed."""
    counted = {PredictionStatus.COMPLETED, PredictionStatus.FAILED}
    return status.value if status in counted else ""


def _count(connection: sqlite3.Connection, owner: str, **more: float) -> None:
    connection.execute("INSERT OR IGNORE INTO counts (owner) VALUES (?)", (owner,))
    connection.execute(
        "UPDATE counts SET accepted = accepted + :accepted, completed = completed + :completed,"
        " failed = failed + :failed, spent = spent + :spent WHERE owner = :owner",
        {"accepted": 0, "completed": 0, "failed": 0, "spent": 0, **more, "owner": owner},
    )


def _task(row: sqlite3.Row) -> Task:
    values = dict(row)
    return Task(
        **{
            **values,
            "inputs": json.loads(values["inputs"]),
            "outputs": tuple(json.loads(values["outputs"])),
            "created_at": datetime.fromisoformat(values["created_at"]),
            "status": PredictionStatus(values["status"]),
        }
    )
