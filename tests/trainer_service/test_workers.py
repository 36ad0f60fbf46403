"""What the workers do when a backend or the disk lets them down."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.tasks import Task, TaskTable
from lora_prep.trainer_service.workers import MAX_STARTS, Running, Work, Workers

from .helpers import WAIT_S

SECRET_URL = "http://user:word@host/a.zip?X-Amz-Signature=topsecret"


def task(number: int, owner: str = "me", **more: Any) -> Task:
    inputs = {"data": SECRET_URL, "trigger_word": "p3r5on", "steps": 2000}
    output = f"{number}.safetensors"
    now = datetime.now(UTC)
    return Task(f"{number:032x}", owner, "model", inputs, (output,), now, **more)


def workers_of(table: TaskTable, work: Work, *, per_owner: int = 3) -> Workers:
    return Workers(table, work, threads=4, per_owner=per_owner, on_end=lambda task: None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "tasks.sqlite")
    yield database
    database.close()


@pytest.fixture
def table(database: Database) -> TaskTable:
    return TaskTable(database)


@pytest.fixture
def do(table: TaskTable) -> Iterator[Callable[[Work, Task], Task]]:
    started: list[Workers] = []

    def do(work: Work, given: Task) -> Task:
        ended = threading.Event()
        finish = table.finish

        def noticed(*arguments: object, **named: object) -> None:
            try:
                finish(*arguments, **named)  # type: ignore[arg-type]
            finally:
                ended.set()

        table.finish = noticed  # type: ignore[method-assign]
        table.add(given)
        started.append(workers_of(table, work))
        started[-1].start()
        assert ended.wait(WAIT_S)
        found = table.get(given.id)
        assert found
        return found

    yield do
    for workers in started:
        workers.stop()


def test_a_backend_that_breaks_fails_the_task_and_tells_no_secret(
    do: Callable[[Work, Task], Task], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(task: Task, running: Running) -> None:
        raise ZeroDivisionError(task.inputs["data"])

    with caplog.at_level(logging.INFO):
        failed = do(broken, task(1))
    assert (failed.status, failed.code) == (PredictionStatus.FAILED, 5000)
    assert "topsecret" not in failed.error + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert failed.inputs["data"] == "http://host/a.zip"


def test_a_stop_leaves_the_task_unfinished(table: TaskTable) -> None:
    begun = threading.Event()

    def slow(task: Task, running: Running) -> None:
        begun.set()
        running.stop.wait(WAIT_S)

    table.add(task(1))
    workers = workers_of(table, slow)
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
    workers = workers_of(table, lambda task, running: done.set())
    for number in range(10):
        table.add(task(number))
    workers.start()
    assert done.wait(WAIT_S)
    deadline = time.monotonic() + WAIT_S  # the other workers may still be noting their failures
    while table.counts("me").failed < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers.stop()
    assert caplog.text.count("OperationalError: database or disk is full") == 9
    ended = [table.get(task(number).id) for number in range(9)]
    assert {one.status for one in ended if one} == {PredictionStatus.FAILED}
    assert all("disk is full" in one.error for one in ended if one)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret/place")


def test_an_end_that_cannot_be_written_is_told_and_written_later(
    do: Callable[[Work, Task], Task],
    database: Database,
    table: TaskTable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    writing = database.writing
    disk_is_full = False

    @contextmanager
    def sometimes() -> Iterator[sqlite3.Connection]:
        if disk_is_full:
            raise sqlite3.OperationalError("database or disk is full")
        with writing() as connection:
            yield connection

    def begin(task_id: str) -> None:
        nonlocal disk_is_full
        disk_is_full = True

    monkeypatch.setattr(table, "begin", begin)
    monkeypatch.setattr(database, "writing", sometimes)
    failed = do(full, task(1))
    assert (failed.status, failed.code) == (PredictionStatus.FAILED, 5000)
    assert "failed: No space left on device;" in failed.error
    assert "secret" not in failed.error + failed.inputs["data"]
    assert table.counts("me").failed == 1
    assert len(table.unfinished()) == 1

    disk_is_full = False
    assert table.get(task(1).id) == failed
    assert table.unfinished() == []
    assert table.counts("me").failed == 1
    database.close()
    reopened = Database(tmp_path / "tasks.sqlite")
    assert TaskTable(reopened).get(task(1).id) == failed
    reopened.close()


def test_each_owner_has_its_own_room_and_nobody_waits_behind_another(table: TaskTable) -> None:
    release = threading.Event()
    under_way: list[str] = []

    def slow(given: Task, running: Running) -> None:
        under_way.append(given.owner)
        release.wait(WAIT_S)

    for number in range(6):
        table.add(task(number, owner="busy"))
    table.add(task(6, owner="late"))
    workers = workers_of(table, slow, per_owner=2)
    workers.start()
    deadline = time.monotonic() + WAIT_S
    while len(under_way) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # a fourth would have been taken by now
    assert sorted(under_way) == ["busy", "busy", "late"]
    release.set()
    while table.counts("busy").completed < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers.stop()
    assert table.counts("busy").completed == 6
    assert table.counts("late").completed == 1


def test_a_task_that_was_in_hand_at_every_death_is_given_up(
    do: Callable[[Work, Task], Task], table: TaskTable
) -> None:
    tried: list[str] = []
    given_up = do(lambda task, running: tried.append(task.id), task(1, starts=MAX_STARTS))
    assert (given_up.status, given_up.code) == (PredictionStatus.FAILED, 1403)
    assert "ended 5 times" in given_up.error
    assert not tried


def test_what_was_deleted_while_it_waited_is_not_begun(table: TaskTable) -> None:
    first, second = threading.Event(), threading.Event()

    def work(given: Task, running: Running) -> None:
        (first if given.id == task(1).id else second).set()
        running.stop.wait(WAIT_S)

    table.add(task(1))
    workers = workers_of(table, work, per_owner=1)
    workers.start()
    assert first.wait(WAIT_S)
    table.add(task(2))
    workers.add(task(2))
    assert table.delete("me", [task(2).id]) != []
    assert table.delete("other", [task(1).id]) == []
    workers.cancel(task(1).id)
    deadline = time.monotonic() + WAIT_S
    while table.counts("me").completed < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    workers.stop()
    assert not second.is_set()
    assert table.counts("me").accepted == 2
