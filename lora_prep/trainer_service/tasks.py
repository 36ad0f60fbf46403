"""The task table: what was accepted and what became of it, in one SQLite file.

A task is committed before its client hears of it, and each change is on the disk before the next
step: whatever kills the process, the next start knows what is left to do.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from lora_prep.errors import ConfigurationError
from lora_prep.model import PredictionStatus, TrainingRequest
from lora_prep.trainer_service.protocol import RETENTION, TaskCode, rfc3339, without_secrets

__all__ = ["Task", "TaskTable"]

LOCK_WAIT_S: Final = 3.0  # a predecessor that was told to stop is gone after 2 s

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    data_url TEXT NOT NULL,
    trigger_word TEXT NOT NULL,
    steps INTEGER NOT NULL,
    output_name TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    error TEXT NOT NULL,
    code INTEGER NOT NULL,
    inference_ms INTEGER NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Task:
    """One accepted training.

    id: 32 hexadecimal digits; output_name: chosen when the task is accepted, so that a training
    done twice after a crash writes one file; error and code: empty and 0 unless it failed;
    inference_ms: how long the training took.
    """

    id: str
    request: TrainingRequest
    output_name: str
    created_at: datetime
    status: PredictionStatus = PredictionStatus.CREATED
    error: str = ""
    code: int = TaskCode.OK
    inference_ms: int = 0

    @property
    def expires_at(self) -> datetime:
        """When the prediction and its output are gone."""
        return self.created_at + RETENTION


class TaskTable:
    """The tasks of one state folder. Every method may be called from any thread.

    The end of a task that cannot be written, because the disk is full, is kept in memory: clients
    hear of it, and each later look at a task tries to write it again. If the process ends before
    that succeeds, the task is unfinished for the next start.

    Raises:
        ConfigurationError: another process holds the table.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._unwritten: dict[str, Task] = {}
        self._connection = sqlite3.connect(path, timeout=LOCK_WAIT_S, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            # The exclusive lock keeps a second service from doing the same tasks; the operating
            # system frees it however this process ends. FULL: an accepted task survives a
            # power cut too, which WAL alone does not promise.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._connection:
                self._connection.execute(_SCHEMA)
                self._connection.execute("PRAGMA user_version = 1")  # for later columns
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise ConfigurationError(
                f"The task table {path} cannot be used.",
                why=f"{error}; one trainer service works on a state folder at a time.",
                fix="Stop the other service, or start this one with another --state-folder.",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._settle()
            self._connection.close()

    def add(self, task: Task) -> None:
        """Keep a new task; when this returns it is on the disk."""
        self._write(
            "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            task.id,
            task.request.model,
            task.request.data_url,
            task.request.trigger_word,
            task.request.steps,
            task.output_name,
            task.status.value,
            rfc3339(task.created_at),
            task.error,
            int(task.code),
            task.inference_ms,
        )

    def get(self, task_id: str) -> Task | None:
        """Return a task by its id."""
        with self._lock:
            self._settle()
            if unwritten := self._unwritten.get(task_id):
                return unwritten
        found = self._read("SELECT * FROM tasks WHERE id = ?", task_id)
        return _task(found[0]) if found else None

    def unfinished(self) -> list[Task]:
        """Return what is left to do, oldest first."""
        query = "SELECT * FROM tasks WHERE status IN (?, ?) ORDER BY created_at, id"
        open_states = (PredictionStatus.CREATED.value, PredictionStatus.PROCESSING.value)
        return [_task(row) for row in self._read(query, *open_states)]

    def expired(self, now: datetime) -> list[Task]:
        """Return the tasks past their retention. Their rows stay: the statistics count them."""
        query = "SELECT * FROM tasks WHERE created_at <= ?"
        return [_task(row) for row in self._read(query, rfc3339(now - RETENTION))]

    def begin(self, task_id: str) -> None:
        """Note that a worker has taken the task."""
        self._write(
            "UPDATE tasks SET status = ? WHERE id = ?", PredictionStatus.PROCESSING.value, task_id
        )

    def finish(
        self, task: Task, *, inference_ms: int, code: TaskCode = TaskCode.OK, error: str = ""
    ) -> None:
        """Note the end: completed, or failed when there is a code.

        The signature in the data URL goes: nothing here needs it any more, and it opens photos.

        Raises:
            sqlite3.Error: it is not on the disk, but `get` knows it.
        """
        bare_url = without_secrets(task.request.data_url)
        ended = replace(
            task,
            request=replace(task.request, data_url=bare_url),
            status=PredictionStatus.FAILED if code else PredictionStatus.COMPLETED,
            code=code,
            error=error,
            inference_ms=inference_ms,
        )
        with self._lock:
            self._unwritten[task.id] = ended
            self._write_end(ended)

    def count(self, status: PredictionStatus | None = None) -> int:
        """Return how many tasks there are, of one status or in all."""
        query = "SELECT count(*) FROM tasks"
        if status is None:
            return int(self._read(query)[0][0])
        with self._lock:
            self._settle()
            unwritten = sum(task.status is status for task in self._unwritten.values())
            return int(self._read(f"{query} WHERE status = ?", status.value)[0][0]) + unwritten

    def _settle(self) -> None:
        """Try to write the ends that could not be written before (lock held)."""
        with suppress(sqlite3.Error):  # it was logged when it happened first
            for task in list(self._unwritten.values()):
                self._write_end(task)

    def _write_end(self, task: Task) -> None:
        self._write(
            "UPDATE tasks SET status = ?, data_url = ?, code = ?, error = ?, inference_ms = ?"
            " WHERE id = ?",
            task.status.value,
            task.request.data_url,
            int(task.code),
            task.error,
            task.inference_ms,
            task.id,
        )
        del self._unwritten[task.id]

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _write(self, statement: str, *values: Any) -> None:
        with self._lock, self._connection:
            self._connection.execute(statement, values)


def _task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        request=TrainingRequest(
            model=row["model"],
            data_url=row["data_url"],
            trigger_word=row["trigger_word"],
            steps=row["steps"],
        ),
        output_name=row["output_name"],
        created_at=datetime.fromisoformat(row["created_at"]),
        status=PredictionStatus(row["status"]),
        error=row["error"],
        code=row["code"],
        inference_ms=row["inference_ms"],
    )
