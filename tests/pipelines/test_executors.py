"""Who lives: the kernel tells of this machine, of another one only its heartbeat."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lora_prep.database import transaction
from pipelines.executors import FORGOTTEN_S, LAYOUT, ROWS, Executors
from tests.trainers.databases import DATABASES, new_database

SILENT_S = 60.0


class Clock:
    """A clock that is wrong by a day, which a database with a clock of its own must not mind."""

    now = 86_400.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return new_database(request.param, tmp_path)


@pytest.fixture
def executors(where: Path | str, clock: Clock) -> Executors:
    return Executors(where, silent_s=SILENT_S, clock=clock)


def change(executors: Executors, executor_id: str, **values: Any) -> None:
    """Change a row, as another machine or the past would have written it."""
    with transaction(executors._engine, LAYOUT) as rows:
        changed = rows.execute(
            sa.update(ROWS).where(ROWS.c.executor_id == executor_id).values(**values)
        )
        assert changed.rowcount == 1


def age(executors: Executors, executor_id: str, by_s: float) -> None:
    """Let its last sign of life be so much older."""
    change(executors, executor_id, beat_at=ROWS.c.beat_at - by_s)


def a_dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_who_enters_lives_until_it_leaves(executors: Executors, where: Path | str) -> None:
    one, two = executors.enter("m1"), executors.enter("m1")
    assert one != two
    assert one.startswith("m1-")
    assert executors.living() == {one, two}
    assert Executors(where, silent_s=SILENT_S).living() == {one, two}
    executors.leave(one)
    executors.leave(one)
    assert executors.living() == {two}


def test_of_this_machine_the_kernel_tells(executors: Executors) -> None:
    silent, dead, reused, before = (executors.enter("m1") for _ in range(4))
    age(executors, silent, SILENT_S * 1000)
    change(executors, dead, pid=a_dead_pid())
    change(executors, reused, started="1")  # its pid is another process's by now
    change(executors, before, boot_id="of the last boot")
    assert executors.living() == {silent}  # it may be frozen, and is not dead


@pytest.mark.parametrize("other", [{"host": "another"}, {"space": "of a container"}])
def test_another_machine_lives_while_it_is_heard(
    executors: Executors, other: dict[str, str]
) -> None:
    theirs = executors.enter("m2")
    change(executors, theirs, pid=a_dead_pid(), **other)  # pids of there mean nothing here
    assert executors.living() == {theirs}
    age(executors, theirs, SILENT_S - 5)
    assert executors.living() == {theirs}
    age(executors, theirs, 10)
    assert executors.living() == set()
    executors.beat(theirs)  # it was frozen and wakes up
    assert executors.living() == {theirs}
    executors.leave(theirs)
    executors.beat(theirs)
    assert executors.living() == set()


def test_signs_of_life_have_the_clock_of_the_database(
    executors: Executors, where: Path | str, clock: Clock
) -> None:
    """On SQLite that is this machine's; with a server those of machines may differ."""
    theirs = executors.enter("m2")
    change(executors, theirs, host="another")
    clock.now += SILENT_S + 1
    later = {theirs} if isinstance(where, str) else set()
    assert executors.living() == later


def test_what_is_long_gone_is_forgotten(executors: Executors) -> None:
    long_gone, gone = executors.enter("m2"), executors.enter("m3")
    age(executors, long_gone, FORGOTTEN_S + 60)
    age(executors, gone, FORGOTTEN_S - 60)
    executors.enter("m1")
    with transaction(executors._engine, LAYOUT) as rows:
        left = set(rows.scalars(sa.select(ROWS.c.executor_id)))
    assert long_gone not in left
    assert gone in left


def test_a_row_names_nobody(executors: Executors) -> None:
    executors.enter("m1")
    with transaction(executors._engine, LAYOUT) as rows:
        (row,) = rows.execute(sa.select(ROWS)).mappings().all()
    assert os.uname().nodename not in {str(value) for value in row.values()}
    assert row["pid"] == os.getpid()
