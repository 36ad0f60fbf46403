"""The SQLite file of a state folder: one connection that every thread shares, and its tables.

version 1 held tasks of one key and one model; version 2 owners, any trainer's inputs, several
outputs, webhooks and their deliveries, and counts that outlive the tasks.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lora_prep.errors import ConfigurationError

__all__ = ["Database"]

VERSION: Final = 2
LOCK_WAIT_S: Final = 3.0  # a predecessor that was told to stop is gone after 2 s

_TABLES: Final = (
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        inputs TEXT NOT NULL,
        outputs TEXT NOT NULL,
        webhook TEXT NOT NULL,
        origin TEXT NOT NULL,
        price REAL NOT NULL,
        starts INTEGER NOT NULL,
        status TEXT NOT NULL,
        created_at TEXT NOT NULL,
        error TEXT NOT NULL,
        code INTEGER NOT NULL,
        inference_ms INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX tasks_listed ON tasks (owner, created_at DESC, id)",
    "CREATE INDEX tasks_by_age ON tasks (created_at)",
    """
    CREATE TABLE counts (
        owner TEXT PRIMARY KEY,
        accepted INTEGER NOT NULL DEFAULT 0,
        completed INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        spent REAL NOT NULL DEFAULT 0
    ) STRICT
    """,
    """
    CREATE TABLE deliveries (
        id TEXT PRIMARY KEY,
        task_id TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        due_at TEXT NOT NULL
    ) STRICT
    """,
)

_FROM_VERSION_1: Final = (
    """
    INSERT INTO tasks SELECT id, '', model,
        json_object('data', data_url, 'trigger_word', trigger_word, 'steps', steps),
        json_array(output_name), '', '', 0.0, 0, status, created_at, error, code, inference_ms
    FROM tasks_1
    """,
    """
    INSERT INTO counts (owner, accepted, completed, failed)
    SELECT '', count(*), ifnull(sum(status = 'completed'), 0), ifnull(sum(status = 'failed'), 0)
    FROM tasks_1
    """,
    "DROP TABLE tasks_1",
)


class Database:
    """The open file. It belongs to one process; every method may be called from any thread.

    Raises:
        ConfigurationError: another process holds it, or a newer lora_prep wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._connection = sqlite3.connect(path, timeout=LOCK_WAIT_S, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            # The exclusive lock keeps a second service from doing the same tasks; the operating
            # system frees it however this process ends. FULL: an accepted task survives a
            # power cut too, which WAL alone does not promise.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate(path)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise ConfigurationError(
                f"The task table {path} cannot be used.",
                why=f"{error}; one trainer service works on a state folder at a time.",
                fix="Stop the other service, or start this one with another --state-folder.",
            ) from error
        except ConfigurationError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self.lock:
            self._connection.close()

    def read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return every row of a query."""
        with self.lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open one transaction: all of it is on the disk when the block ends, or none of it."""
        with self.lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    def _migrate(self, path: Path) -> None:
        [[version]] = self.read("PRAGMA user_version")
        if version > VERSION:
            raise ConfigurationError(
                f"The task table {path} cannot be used.",
                why=f"A newer lora_prep wrote it (version {version}; this one knows {VERSION}).",
                fix="Upgrade lora_prep, or give another --state-folder.",
            )
        with self.writing() as connection:
            if version == 1:
                connection.execute("ALTER TABLE tasks RENAME TO tasks_1")
            if version < VERSION:
                for statement in _TABLES:
                    connection.execute(statement)
            if version == 1:
                for statement in _FROM_VERSION_1:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
