"""What the workers do when a backend or the disk lets them down."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lora_prep.model import PredictionStatus, TrainingRequest
from lora_prep.trainer_service.tasks import Task, TaskTable
from lora_prep.trainer_service.workers import Train, Workers

from .helpers import WAIT_S

SECRET_URL = "http://user:word@host/a.zip?X-Amz-Signature=topsecret"


def task(number: int) -> Task:
    request = TrainingRequest("model", SECRET_URL, "p3r5on", 2000)
    return Task(f"{number:032x}", request, f"{number}.safetensors", datetime.now(UTC))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[TaskTable]:
    table = TaskTable(tmp_path / "tasks.sqlite")
    yield table
    table.close()


@pytest.fixture
def do(table: TaskTable) -> Iterator[Callable[[Train, Task], Task]]:
    started: list[Workers] = []

    def do(train: Train, given: Task) -> Task:
        ended = threading.Event()
        finish = table.finish

        def noticed(*arguments: object, **named: object) -> None:
            try:
                finish(*arguments, **named)  # type: ignore[arg-type]
            finally:
                ended.set()

        table.finish = noticed  # type: ignore[method-assign]
        table.add(given)
        started.append(Workers(table, train))
        started[-1].start()
        assert ended.wait(WAIT_S)
        found = table.get(given.id)
        assert found
        return found

    yield do
    for workers in started:
        workers.stop()


def test_a_backend_that_breaks_fails_the_task_and_tells_no_secret(
    do: Callable[[Train, Task], Task], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(task: Task, stopping: threading.Event) -> None:
        raise ZeroDivisionError(task.request.data_url)

    with caplog.at_level(logging.INFO):
        failed = do(broken, task(1))
    assert (failed.status, failed.code) == (PredictionStatus.FAILED, 5000)
    assert "topsecret" not in failed.error + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert failed.request.data_url == "http://host/a.zip"


def test_a_stop_leaves_the_task_unfinished(table: TaskTable) -> None:
    begun = threading.Event()

    def slow(task: Task, stopping: threading.Event) -> None:
        begun.set()
        stopping.wait(WAIT_S)

    table.add(task(1))
    workers = Workers(table, slow)
    workers.start()
    assert begun.wait(WAIT_S)
    workers.stop()
    assert [left.status for left in table.unfinished()] == [PredictionStatus.PROCESSING]


def test_a_table_that_cannot_be_written_costs_no_worker(
    table: TaskTable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    begin = table.begin

    def full(task_id: str) -> None:
        if task_id != task(9).id:
            raise sqlite3.OperationalError("database or disk is full")
        begin(task_id)

    monkeypatch.setattr(table, "begin", full)
    workers = Workers(table, lambda task, stopping: done.set())
    for number in range(10):
        table.add(task(number))
    workers.start()
    assert done.wait(WAIT_S)
    workers.stop()
    assert caplog.text.count("disk is full") == 9
