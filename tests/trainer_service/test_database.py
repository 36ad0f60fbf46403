"""The SQLite file: what an older version left is kept, what a newer one wrote is left alone."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lora_prep.errors import ConfigurationError
from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.listing import ListQuery
from lora_prep.trainer_service.tasks import Counts, Task, TaskTable

VERSION_1 = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, data_url TEXT NOT NULL, trigger_word TEXT NOT NULL,
    steps INTEGER NOT NULL, output_name TEXT NOT NULL, status TEXT NOT NULL,
    created_at TEXT NOT NULL, error TEXT NOT NULL, code INTEGER NOT NULL,
    inference_ms INTEGER NOT NULL
) STRICT
"""
MODEL = "wavespeed-ai/wan-14b-trainer"


def old_table(path: Path, *statuses: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(VERSION_1)
        connection.execute("PRAGMA user_version = 1")
        for number, status in enumerate(statuses):
            created_at = f"2026-01-0{number + 1}T00:00:00.000000Z"
            row = (f"{number:032x}", MODEL, "http://host/a.zip", 'Zoë "x"', 1500, f"{number}.st")
            values = (*row, status, created_at, "", 0, 12)
            connection.execute(f"INSERT INTO tasks VALUES ({', '.join('?' * 11)})", values)
    connection.close()


def test_the_tasks_of_version_1_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite"
    old_table(path, "completed", "failed", "processing")
    for _ in range(2):  # the second time there is nothing to change
        database = Database(path)
        table = TaskTable(database)
        table.adopt("me")
        kept = table.get(f"{0:032x}")
        assert kept == Task(
            id=f"{0:032x}",
            owner="me",
            model=MODEL,
            inputs={"data": "http://host/a.zip", "trigger_word": 'Zoë "x"', "steps": 1500},
            outputs=("0.st",),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            status=PredictionStatus.COMPLETED,
            inference_ms=12,
        )
        assert table.counts("me") == Counts(accepted=3, completed=1, failed=1)
        assert [task.id for task in table.unfinished()] == [f"{2:032x}"]
        database.close()


def test_an_empty_table_of_version_1(tmp_path: Path) -> None:
    old_table(tmp_path / "tasks.sqlite")
    database = Database(tmp_path / "tasks.sqlite")
    table = TaskTable(database)
    table.adopt("me")
    assert table.counts("me") == table.counts("other") == Counts()
    database.close()


def test_a_newer_table_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        Database(path)
    assert "99" in caught.value.why


def test_pages_of_one_moment_overlap_nowhere_and_the_age_decides(tmp_path: Path) -> None:
    database = Database(tmp_path / "tasks.sqlite")
    table = TaskTable(database)
    now = datetime(2026, 1, 9, tzinfo=UTC)
    inputs = {"data": "http://host/a.zip"}
    for number in range(9):
        created_at = now - timedelta(days=7 if number < 3 else 1)
        table.add(Task(f"{number:032x}", "me", MODEL, inputs, (), created_at))
    assert {task.id for task in table.expire(now)} == {f"{number:032x}" for number in range(3)}
    pages = [table.page("me", ListQuery(page=page, page_size=4)) for page in (1, 2)]
    assert [total for _, total in pages] == [6, 6]
    assert len({task.id for tasks, _ in pages for task in tasks}) == 6
    assert table.counts("me").accepted == 9
    database.close()
