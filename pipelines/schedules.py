"""Schedules: what fires when, in the one database of the project, for every worker on it.

A slot fires at most once, whoever looks: `claim` sets the row's last slot only if it still is what
the worker saw, and commits before the worker starts anything. What a worker does with the slots it
has claimed, and that it does not forget them when it dies, is its own affair.

A row holds no path and no name of a machine or a person, except what its owner called it; where
the jobs file lies is in `pipelines.schedule_files`. This module loads SQLAlchemy, which takes
0.15 s: import it where schedules are used.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Float, Integer, String

from lora_prep.database import Layout, open_tables, transaction
from lora_prep.errors import ConfigurationError
from pipelines.due import Cron, Policy, parse_cron
from pipelines.schedule_files import forget_jobs, jobs_file, jobs_sha256, remember_jobs

__all__ = ["Schedule", "Schedules"]

META = sa.MetaData()
ROWS = sa.Table(
    "lora_prep_schedules",
    META,
    Column("name", String, primary_key=True),
    Column("cron", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("max_cost_usd", Float),
    Column("paused", Integer, nullable=False),
    # Seconds since 1970: no database turns them into its own idea of a time zone.
    Column("created_at", Float, nullable=False),
    Column(
        "last_slot", BigInteger, nullable=False
    ),  # whole ones: it is compared with what was seen
    Column("machine", String, nullable=False),
    Column("jobs_sha256", String, nullable=False),
)
VERSIONS = sa.Table(
    "lora_prep_schedules_version",
    META,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
LAYOUT = Layout("list of schedules", META, VERSIONS, version=1)
NAME = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the jobs of a file are to run.

    cron and zone: as `parse_cron` takes them; policy: what becomes of missed slots; max_cost_usd:
    how much one slot may cost; paused: nothing fires; created_at: aware UTC; last_slot: the last
    one that fired, or since when slots count (aware UTC, whole seconds); machine: where it was
    added, and its jobs file lies; jobs_sha256: of that file at that time.
    """

    name: str
    cron: str
    zone: str
    policy: Policy
    max_cost_usd: float | None
    paused: bool
    created_at: datetime
    last_slot: datetime
    machine: str
    jobs_sha256: str

    @property
    def timing(self) -> Cron:
        """The cron line, for `pipelines.due`.

        Raises:
            ConfigurationError: this machine does not know the zone, or the line.
        """
        return parse_cron(self.cron, self.zone)

    @property
    def jobs(self) -> Path | None:
        """Where the jobs file lies; None if it was added on another machine."""
        return jobs_file(self.name, self.jobs_sha256)


class Schedules:
    """The schedules in one database. Nothing is kept open between two calls.

    Every method raises TemporaryError when the database does not answer or cannot be written.
    """

    def __init__(self, where: Path | str, *, clock: Callable[[], float] = time.time) -> None:
        """Open or make the table in a SQLite file (a path) or in any database (a URL).

        Raises:
            ConfigurationError: as `lora_prep.database.open_tables`.
            MissingDependency: the driver is not installed.
            TemporaryError: the database does not answer.
        """
        self._engine = open_tables(where, LAYOUT)
        self._clock = clock

    def add(
        self,
        name: str,
        timing: Cron,
        jobs: Path,
        *,
        policy: Policy,
        machine: str,
        max_cost_usd: float | None = None,
    ) -> Schedule:
        """Add a schedule: slots after the present moment count.

        Args:
            name: 1 to 64 of a-z, 0-9, - and _. It is in the row that others may read.
            timing: when it fires.
            jobs: the jobs file; only its hash goes into the row.
            policy: what becomes of missed slots. `all` fires every one, so it takes a limit.
            machine: an id of this machine that names nobody.
            max_cost_usd: how much one slot may cost.

        Raises:
            ConfigurationError: the name is none or is taken, the limit is none or is missing, or
                the jobs file cannot be read.
        """
        _check(name, policy, max_cost_usd)
        now = self._clock()
        values: dict[str, Any] = {
            "name": name,
            "cron": timing.expression,
            "zone": timing.zone.key,
            "policy": policy.value,
            "max_cost_usd": max_cost_usd,
            "paused": 0,
            "created_at": now,
            "last_slot": math.floor(now),
            "machine": machine,
            "jobs_sha256": jobs_sha256(jobs),
        }
        try:
            with self._transaction() as connection:
                connection.execute(sa.insert(ROWS).values(**values))
                # Before the commit: no row without its file, and no file of another row lost.
                remember_jobs(name, jobs, values["jobs_sha256"])
        except sa.exc.IntegrityError as error:
            raise ConfigurationError(
                f"There is a schedule {name!r} already.",
                why="Each schedule has a name of its own.",
                fix="Give another name, or remove that one first.",
            ) from error
        return _schedule(values)

    def list(self) -> tuple[Schedule, ...]:
        """Return every schedule, by name."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(ROWS)).mappings().all()
        return tuple(sorted((_schedule(row) for row in rows), key=lambda one: one.name))

    def get(self, name: str) -> Schedule | None:
        """Return a schedule by its name."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(ROWS).where(ROWS.c.name == name)).mappings().first()
        return None if row is None else _schedule(row)

    def pause(self, name: str) -> None:
        """Let nothing fire until it is resumed; what is paused stays so.

        Raises:
            ConfigurationError: there is none of this name.
        """
        with self._transaction() as connection:
            _changed(connection, sa.update(ROWS).values(paused=1), name)

    def resume(self, name: str) -> None:
        """Let it fire again; what is not paused stays as it is.

        Slots of the pause do not count as missed, unless the policy is `all`.

        Raises:
            ConfigurationError: there is none of this name.
        """
        now = math.floor(self._clock())
        keeps = (
            (ROWS.c.paused == 0) | (ROWS.c.policy == Policy.ALL.value) | (ROWS.c.last_slot > now)
        )
        last_slot = sa.case((keeps, ROWS.c.last_slot), else_=now)
        with self._transaction() as connection:
            _changed(connection, sa.update(ROWS).values(paused=0, last_slot=last_slot), name)

    def remove(self, name: str) -> None:
        """Remove a schedule, and where its jobs file lies; the jobs file stays.

        Raises:
            ConfigurationError: there is none of this name.
        """
        with self._transaction() as connection:
            _changed(connection, sa.delete(ROWS), name)
        forget_jobs(name)

    def claim(self, name: str, seen_last: datetime, slot: datetime) -> bool:
        """Take a slot: of all workers that saw the same last slot, one gets True, and fires it.

        False: another was faster, or the schedule was paused, resumed or removed meanwhile.

        Args:
            name: of the schedule.
            seen_last: its `last_slot` when the slot was found due; with several slots due, the
                one that was claimed before.
            slot: later than that.
        """
        taken = (
            sa.update(ROWS)
            .where(
                ROWS.c.name == name,
                ROWS.c.paused == 0,
                ROWS.c.last_slot == math.floor(seen_last.timestamp()),
                ROWS.c.last_slot < math.floor(slot.timestamp()),
            )
            .values(last_slot=math.floor(slot.timestamp()))
        )
        with self._transaction() as connection:
            return connection.execute(taken).rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with transaction(self._engine, LAYOUT) as connection:
            yield connection


def _changed(connection: sa.Connection, change: sa.Update | sa.Delete, name: str) -> None:
    if connection.execute(change.where(ROWS.c.name == name)).rowcount == 0:
        names = sorted(connection.scalars(sa.select(ROWS.c.name)))
        raise ConfigurationError(
            f"There is no schedule {name!r}.",
            why="It was not added to this database, or was removed.",
            fix=f"Give one of these: {', '.join(names)}." if names else "Add one first.",
        )


def _check(name: str, policy: Policy, max_cost_usd: float | None) -> None:
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"A schedule cannot be called {name!r}.",
            why="A name is 1 to 64 of the characters a-z, 0-9, - and _.",
            fix="Give such a name, such as 'nightly'.",
        )
    if max_cost_usd is not None and not (math.isfinite(max_cost_usd) and max_cost_usd >= 0):
        raise ConfigurationError(
            f"{max_cost_usd} is no limit of cost.",
            why="It is an amount in USD, 0 or more.",
            fix="Give such an amount, such as 5.",
        )
    if policy is Policy.ALL and max_cost_usd is None:
        raise ConfigurationError(
            "A schedule that makes up for every missed slot needs a limit of cost.",
            why="After a long pause it fires many times in a row, and each may cost money.",
            fix="Set a limit of cost, or use the policy 'latest' or 'none'.",
        )


def _schedule(row: sa.RowMapping | dict[str, Any]) -> Schedule:
    return Schedule(
        name=row["name"],
        cron=row["cron"],
        zone=row["zone"],
        policy=Policy(row["policy"]),
        max_cost_usd=row["max_cost_usd"],
        paused=bool(row["paused"]),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        last_slot=datetime.fromtimestamp(row["last_slot"], UTC),
        machine=row["machine"],
        jobs_sha256=row["jobs_sha256"],
    )
