"""The threads that take tasks and record how they end."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

from lora_prep.trainer_service.protocol import TaskCode, TaskError
from lora_prep.trainer_service.tasks import Task, TaskTable

__all__ = ["Train", "Workers"]

logger = logging.getLogger(__name__)

Train = Callable[[Task, threading.Event], None]
"""A backend: do the task and leave its output, or raise `TaskError`; return early, with whatever
there is, once the event is set. Doing a task twice must do no harm."""

WORKERS: Final = 4
STOP_WAIT_S: Final = 0.1  # for each thread: the whole service stops within 2 s


class Workers:
    """A few daemon threads and their queue.

    Daemons, because a stop does not wait for a training: a task in hand is recorded as unfinished
    already, and is done again from its start when the service is started next.
    """

    def __init__(self, table: TaskTable, train: Train) -> None:
        self._table = table
        self._train = train
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._recording = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"trainer-{number}", daemon=True)
            for number in range(WORKERS)
        ]

    def start(self) -> None:
        """Take up what the last run left unfinished, then whatever is added."""
        for task in self._table.unfinished():
            self._queue.put(task)
        for thread in self._threads:
            thread.start()

    def add(self, task: Task) -> None:
        """Queue a task that is already in the table."""
        self._queue.put(task)

    def stop(self) -> None:
        """Take and record nothing more; the table may be closed afterwards."""
        with self._recording:
            self._stopping.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(STOP_WAIT_S)

    def _work(self) -> None:
        while task := self._queue.get():
            try:
                self._do(task)
            except sqlite3.Error as error:  # a full disk; the table tries again at the next look
                logger.error("task %s: its state could not be written: %s", task.id, error)

    def _do(self, task: Task) -> None:
        began = time.monotonic()
        code, sentence = TaskCode.OK, ""
        try:
            if not self._record(lambda: self._table.begin(task.id)):
                return
            self._train(task, self._stopping)
        except TaskError as error:
            code, sentence = error.code, error.sentence
        except Exception as error:  # noqa: BLE001 - a task must end, whatever its backend does
            reason = _reason(error)
            code = TaskCode.INTERNAL
            sentence = f"The trainer service failed{reason}; its log says where."
            places = "".join(traceback.format_tb(error.__traceback__))
            logger.error("task %s: %s%s at\n%s", task.id, type(error).__name__, reason, places)
        spent_ms = round((time.monotonic() - began) * 1000)
        self._record(
            lambda: self._table.finish(task, inference_ms=spent_ms, code=code, error=sentence)
        )

    def _record(self, change: Callable[[], None]) -> bool:
        """Make a change to the table unless the service is stopping; say whether it was made."""
        with self._recording:
            if self._stopping.is_set():
                return False
            change()
            return True


def _reason(error: Exception) -> str:
    """Return what the disk said, as in ": No space left on device"; nothing for other errors.

    Their texts may quote the data URL, which is secret.
    """
    if isinstance(error, sqlite3.Error):
        return f": {error}"
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
