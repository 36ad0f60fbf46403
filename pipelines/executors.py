"""Which processes run workflows, and which of them still live: one row each, and a heartbeat.

On this machine the kernel tells at once whether a process lives. Of another machine only its
heartbeat is known: silent for long enough it counts as dead, and what it had in hand is taken over.
One that was only frozen and wakes up finds its runs in other hands; the ledger keeps it from
paying.

A row holds no name: machines are known by a hash.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, String

from lora_prep.database import Layout, open_tables, transaction
from lora_prep.trainers.claimer import Claimer, Liveness, Processes

__all__ = ["Executors"]

META = sa.MetaData()
ROWS = sa.Table(
    "lora_prep_executors",
    META,
    Column("executor_id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String, nullable=False),
    Column("started", String, nullable=False),
    Column("space", String, nullable=False),
    # Seconds since 1970 on the database's clock: those of two machines may differ.
    Column("beat_at", Float, nullable=False),
)
VERSIONS = sa.Table(
    "lora_prep_executors_version",
    META,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
LAYOUT = Layout("list of executors", META, VERSIONS, version=1)
WORKFLOWS, WORKFLOWS_SCHEMA = "workflow_status", "dbos"  # the latter on Postgres
FORGOTTEN_S = 30 * 86400.0  # a row that old names nothing unfinished any more


class Executors:
    """The executors of one database. It holds no connection, and threads may share it."""

    def __init__(
        self, where: Path | str, *, silent_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the list; silent_s: without a heartbeat for so long another machine is dead.

        Raises:
            ConfigurationError, MissingDependency, TemporaryError: as `open_tables`.
        """
        self._engine = open_tables(where, LAYOUT)
        self._silent_s = silent_s
        self._clock = clock
        self._processes = Processes()

    def enter(self, machine: str) -> str:
        """Enter this process as a new executor and return its id."""
        executor_id = f"{machine}-{secrets.token_hex(4)}"
        with transaction(self._engine, LAYOUT) as rows:
            now = self._now(rows)
            rows.execute(sa.delete(ROWS).where(ROWS.c.beat_at < now - FORGOTTEN_S))
            row = {**asdict(self._processes.this()), "executor_id": executor_id, "beat_at": now}
            rows.execute(sa.insert(ROWS).values(row))
        return executor_id

    def beat(self, executor_id: str) -> None:
        """Say that it lives."""
        with transaction(self._engine, LAYOUT) as rows:
            mine = ROWS.c.executor_id == executor_id
            rows.execute(sa.update(ROWS).where(mine).values(beat_at=self._now(rows)))

    def leave(self, executor_id: str) -> None:
        """Say that it has ended: what it leaves behind may be taken over at once."""
        with transaction(self._engine, LAYOUT) as rows:
            rows.execute(sa.delete(ROWS).where(ROWS.c.executor_id == executor_id))

    def living(self) -> frozenset[str]:
        """Return the ids of all that live, as far as this machine can tell."""
        with transaction(self._engine, LAYOUT) as rows:
            now = self._now(rows)
            found = rows.execute(sa.select(ROWS)).mappings().all()
        living = set()
        for row in found:
            claimer = Claimer(**{name: row[name] for name in Claimer.__dataclass_fields__})
            silent = now - row["beat_at"] > self._silent_s
            match self._processes.liveness(claimer):
                case Liveness.ALIVE:
                    living.add(row["executor_id"])
                case Liveness.UNTOLD if not silent:
                    living.add(row["executor_id"])
                case _:
                    pass
        return frozenset(living)

    def knows_workflows(self) -> bool:
        """Whether the engine was ever launched on this database: its tables are there."""
        with transaction(self._engine, LAYOUT) as rows:
            schema = None if rows.dialect.name == "sqlite" else WORKFLOWS_SCHEMA
            return sa.inspect(rows).has_table(WORKFLOWS, schema=schema)

    def _now(self, rows: sa.Connection) -> float:
        if rows.dialect.name != "postgresql":
            return self._clock()
        return float(rows.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
