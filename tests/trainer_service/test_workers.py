"""What the workers do when a backend or the disk lets them down."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
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
    deadline = time.monotonic() + WAIT_S  # the other workers may still be noting their failures
    while table.count(PredictionStatus.FAILED) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers.stop()
    assert caplog.text.count("OperationalError: database or disk is full") == 9
    ended = [table.get(task(number).id) for number in range(9)]
    assert {one.status for one in ended if one} == {PredictionStatus.FAILED}
    assert all("disk is full" in one.error for one in ended if one)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/place")


def test_an_end_that_cannot_be_written_is_told_and_written_later(
    do: Callable[[Train, Task], Task],
    table: TaskTable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    write = table._write
    disk_is_full = True

    def sometimes(statement: str, *values: object) -> None:
        if disk_is_full and task(1).output_name not in values:
            raise sqlite3.OperationalError("database or disk is full")
        write(statement, *values)

    monkeypatch.setattr(table, "begin", lambda task_id: None)
    monkeypatch.setattr(table, "_write", sometimes)
    failed = do(full, task(1))
    assert (failed.status, failed.code) == (PredictionStatus.FAILED, 5000)
    assert "failed: No space left on device;" in failed.error
    assert "secret" not in failed.error + failed.request.data_url
    assert table.count(PredictionStatus.FAILED) == 1
    assert len(table.unfinished()) == 1

    disk_is_full = False
    assert table.get(task(1).id) == failed
    assert table.unfinished() == []
    table.close()
    reopened = TaskTable(tmp_path / "tasks.sqlite")
    assert reopened.get(task(1).id) == failed
    reopened.close()
