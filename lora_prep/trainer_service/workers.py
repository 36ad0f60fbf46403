"""The threads that take tasks and record how they end; who waits, and for whose task."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.protocol import TaskCode, TaskError
from lora_prep.trainer_service.tasks import Task, TaskTable

__all__ = ["MAX_STARTS", "Running", "Work", "Workers"]

logger = logging.getLogger(__name__)

MAX_STARTS: Final = 5
"""A task that was in hand each time the service died this often is not tried again: it may be what
kills it."""
STOP_WAIT_S: Final = 0.1  # for each thread: the whole service stops within 2 s


@dataclass
class Running:
    """A task in hand. stop: set to end it early; progress: 0 to 1, as its backend reports it."""

    stop: threading.Event = field(default_factory=threading.Event)
    progress: float = 0.0


Work = Callable[[Task, Running], None]


class Workers:
    """A few daemon threads and a queue for each owner.

    An owner's tasks are taken in the order they came, at most `per_owner` at a time; owners take
    turns, so that a long queue of one does not hold up another. Daemons, because a stop does not
    wait for a training: a task in hand is recorded as unfinished already, and is done again from
    its start when the service is started next.
    """

    def __init__(
        self,
        table: TaskTable,
        work: Work,
        *,
        threads: int,
        per_owner: int,
        on_end: Callable[[Task], None],
    ) -> None:
        self._table = table
        self._work = work
        self._on_end = on_end
        self._per_owner = per_owner
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Task]] = {}
        self._taken: Counter[str] = Counter()
        self._running: dict[str, Running] = {}
        self._stopping = False
        self._recording = threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, name=f"trainer-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Take up what the last run left unfinished, then whatever is added."""
        for task in self._table.unfinished():
            self.add(task)
        for thread in self._threads:
            thread.start()

    def add(self, task: Task) -> None:
        """Queue a task that is already in the table."""
        with self._changed:
            self._waiting.setdefault(task.owner, deque()).append(task)
            self._changed.notify()

    def cancel(self, task_id: str) -> None:
        """Tell the backend to let go of a task; what the table says of it is the caller's."""
        with self._changed:
            if running := self._running.get(task_id):
                running.stop.set()

    def progress(self, task_id: str) -> float | None:
        """Return how far a task in hand has come, 0 to 1; None when it is not in hand."""
        with self._changed:
            running = self._running.get(task_id)
            return running.progress if running else None

    def stop(self) -> None:
        """Take and record nothing more; the table may be closed afterwards."""
        with self._recording, self._changed:
            self._stopping = True
            for running in self._running.values():
                running.stop.set()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(STOP_WAIT_S)

    def _serve(self) -> None:
        while task := self._take():
            try:
                self._do(task, self._running[task.id])
            except sqlite3.Error as error:  # a full disk; the table tries again at the next look
                logger.error("task %s: its state could not be written: %s", task.id, error)
            finally:
                self._let_go(task)
                self._on_end(task)

    def _take(self) -> Task | None:
        """Wait for a task whose owner has room, and take it; None when the service ends."""
        with self._changed:
            while not self._stopping:
                for owner, queue in self._waiting.items():
                    if self._taken[owner] < self._per_owner:
                        task = queue.popleft()
                        del self._waiting[owner]
                        if queue:  # at the end of the line: the others come first now
                            self._waiting[owner] = queue
                        self._taken[owner] += 1
                        self._running[task.id] = Running()
                        return task
                self._changed.wait()
            return None

    def _let_go(self, task: Task) -> None:
        with self._changed:
            del self._running[task.id]
            self._taken[task.owner] -= 1
            self._changed.notify()

    def _do(self, task: Task, running: Running) -> None:
        began = time.monotonic()
        status, code, sentence = PredictionStatus.FAILED, TaskCode.OK, ""
        try:
            if not self._begin(task):
                return
            if task.starts >= MAX_STARTS:
                reason = f"The service ended {task.starts} times while it worked on this task."
                raise TaskError(TaskCode.NOT_EXECUTED, reason)
            self._work(task, running)
            status = PredictionStatus.COMPLETED
        except TaskError as error:
            code, sentence = error.code, error.sentence
        except Exception as error:  # noqa: BLE001 - a task must end, whatever its backend does
            reason = _reason(error)
            code = TaskCode.INTERNAL
            sentence = f"The trainer service failed{reason}; its log says where."
            places = "".join(traceback.format_tb(error.__traceback__))
            logger.error("task %s: %s%s at\n%s", task.id, type(error).__name__, reason, places)
        spent_ms = round((time.monotonic() - began) * 1000)
        with self._recording:
            if not self._stopping:
                self._table.finish(task, status, inference_ms=spent_ms, code=code, error=sentence)

    def _begin(self, task: Task) -> bool:
        """Note that the task is taken; False when there is nothing to do any more."""
        with self._recording:
            if self._stopping:
                return False
            kept = self._table.get(task.id)
            if kept is None or kept.status.terminal:  # deleted or cancelled while it waited
                return False
            self._table.begin(task.id)
            return True


def _reason(error: Exception) -> str:
    """Return what the disk said, as in ": No space left on device"; nothing for other errors.

    Their texts may quote the data URL, which is secret.
    """
    if isinstance(error, sqlite3.Error):
        return f": {error}"
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
