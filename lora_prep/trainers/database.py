"""The ledger's table of submissions and the statements on it.

It loads SQLAlchemy, whose import takes 0.15 s: import it where a ledger is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, Integer, String, Text

from lora_prep.database import Layout, open_tables, transaction
from lora_prep.trainers.budget import Charge
from lora_prep.trainers.claimer import Claimer
from lora_prep.trainers.submissions import OVER, Conflict, Intent, State, Submission

__all__ = ["Database", "Transaction"]

META = sa.MetaData()
ROWS = sa.Table(
    "lora_prep_submissions",
    META,
    Column("key", String, primary_key=True),
    Column("run_id", String, nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("token", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("model", String, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("dataset_sha256", String, nullable=False),
    Column("bucket", String, nullable=False),
    Column("object_key", String, nullable=False),
    Column("account", String, nullable=False),
    Column("rehearsal", Integer, nullable=False),
    Column("price_usd", Float),
    # The second guard: the request's fingerprint while this row stands for it, else NULL.
    Column("guard", String, unique=True),
    Column("prediction_id", String),
    Column("loras", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("boot_id", String, nullable=False),
    Column("started", String, nullable=False),
    Column("space", String, nullable=False),
    # Seconds since 1970: no database turns them into its own idea of a time zone.
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("posted_at", Float, nullable=False),
    Column("submitted_at", Float),
    Column("completed_at", Float),
    sa.UniqueConstraint("origin", "prediction_id"),
)
VERSIONS = sa.Table(
    "lora_prep_ledger",
    META,
    Column("version", Integer, primary_key=True, autoincrement=False),
)
LAYOUT = Layout("ledger of submissions", META, VERSIONS, version=1)
MONEY_LOCK = 0x10AB  # as `SCHEMA_LOCK`
BATCH = 500  # ids in one question; SQLite's limit is far above


class Database:
    """The table in one database. Nothing is kept open between two transactions."""

    def __init__(self, where: Path | str) -> None:
        """Open or make the table.

        Raises:
            ConfigurationError: the address is none, or not one of SQLite or Postgres; or a newer
                lora_prep made the ledger, which is left as it is.
            MissingDependency: the driver is not installed.
            TemporaryError: the database does not answer.
        """
        self._engine = open_tables(where, LAYOUT)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit what is done inside, or nothing of it.

        Raises:
            Conflict: another row has what must be unique.
            TemporaryError: the database does not answer, is full, or cannot be written.
        """
        try:
            with transaction(self._engine, LAYOUT) as connection:
                yield Transaction(connection)
        except sa.exc.IntegrityError as error:
            raise Conflict("another row has what must be unique") from error


class Transaction:
    """What can be asked and changed within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def read(self, *, key: str) -> Submission | None:
        """Return the row of a key."""
        return self._one(ROWS.c.key == key)

    def read_guard(self, fingerprint: str) -> Submission | None:
        """Return the row that stands for a request."""
        return self._one(ROWS.c.guard == fingerprint)

    def read_prediction(self, origin: str, prediction_id: str) -> Submission | None:
        """Return the row of a prediction."""
        return self._one((ROWS.c.origin == origin) & (ROWS.c.prediction_id == prediction_id))

    def read_all(
        self,
        *,
        run_id: str | None = None,
        origin: str | None = None,
        states: Iterable[State] | None = None,
    ) -> list[Submission]:
        """Return rows, the oldest first."""
        query = sa.select(ROWS).order_by(ROWS.c.created_at, ROWS.c.attempt)
        if run_id is not None:
            query = query.where(ROWS.c.run_id == run_id)
        if origin is not None:
            query = query.where(ROWS.c.origin == origin)
        if states is not None:
            query = query.where(ROWS.c.state.in_([state.value for state in states]))
        return [_submission(row) for row in self._connection.execute(query).mappings()]

    def read_runs(self, run_ids: list[str]) -> list[Submission]:
        """Return the rows of these runs."""
        found: list[Submission] = []
        for start in range(0, len(run_ids), BATCH):
            query = sa.select(ROWS).where(ROWS.c.run_id.in_(run_ids[start : start + BATCH]))
            found += [_submission(row) for row in self._connection.execute(query).mappings()]
        return found

    def owners(self, origin: str, ids: list[str]) -> dict[str, str]:
        """Return the submissions that were sent as these predictions: {prediction id: key}."""
        owned: dict[str, str] = {}
        for start in range(0, len(ids), BATCH):
            query = sa.select(
                ROWS.c.prediction_id, ROWS.c.key
            ).where(
                ROWS.c.origin == origin,
                ROWS.c.object_key != "",  # that of what was merely entered is not known
                ROWS.c.prediction_id.in_(ids[start : start + BATCH]),
            )
            owned.update((row.prediction_id, row.key) for row in self._connection.execute(query))
        return owned

    def durations(self, origin: str, model: str, parameters: str, most: int) -> list[float]:
        """Return how long the last trainings with these parameters took, s."""
        query = (
            sa.select(ROWS.c.completed_at - ROWS.c.submitted_at)
            .where(
                ROWS.c.origin == origin,
                ROWS.c.model == model,
                ROWS.c.parameters == parameters,
                ROWS.c.completed_at.is_not(None),
            )
            .order_by(ROWS.c.completed_at.desc())
            .limit(most)
        )
        return [
            seconds for (seconds,) in self._connection.execute(query) if seconds and seconds > 0
        ]

    def charges(self, *, but_for: str = "", waiting: bool = True) -> list[Charge]:
        """Return what each submission was to cost that was sent, or will be; no rehearsals.

        A training that was entered and turned out to be another submission's is counted as that.
        but_for: the key of one that does not count; waiting: with those that wait to be sent.
        """
        yielded = (ROWS.c.object_key == "") & ROWS.c.prediction_id.is_(None)
        left_out = {State.RELEASED, *(() if waiting else (State.WAITING,))}
        query = sa.select(ROWS.c.posted_at, ROWS.c.price_usd, ROWS.c.state).where(
            ROWS.c.rehearsal == 0,
            ROWS.c.state.not_in([state.value for state in left_out]),
            ROWS.c.key != but_for,
            ~yielded,
        )
        return [
            Charge(_time(row.posted_at), row.price_usd, row.state in OVER)
            for row in self._connection.execute(query)
        ]

    def spend_alone(self) -> None:
        """Let nobody else claim until this transaction ends: a sum must not grow meanwhile.

        SQLite lets nobody in anyway, see `lora_prep.database`.
        """
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MONEY_LOCK)))

    def insert(self, values: Mapping[str, Any]) -> None:
        """Insert a row; a conflict is raised and undoes the transaction."""
        self._connection.execute(sa.insert(ROWS).values(**values))

    def drop_guard(self, fingerprint: str) -> None:
        """Let no row stand for a request any more."""
        self._connection.execute(
            sa.update(ROWS).where(ROWS.c.guard == fingerprint).values(guard=None)
        )

    def change(
        self,
        key: str,
        before: Iterable[State],
        values: Mapping[str, Any],
        *,
        token: str | None = None,
    ) -> bool:
        """Change a row if it is in one of the states, and of this claim: compare and set."""
        query = sa.update(ROWS).where(
            ROWS.c.key == key, ROWS.c.state.in_([state.value for state in before])
        )
        if token is not None:
            query = query.where(ROWS.c.token == token)
        return self._connection.execute(query.values(**values)).rowcount == 1

    def _one(self, condition: sa.ColumnElement[bool]) -> Submission | None:
        row = self._connection.execute(sa.select(ROWS).where(condition)).mappings().first()
        return None if row is None else _submission(row)


def _submission(row: sa.RowMapping) -> Submission:
    return Submission(
        intent=Intent(
            run_id=row["run_id"],
            attempt=row["attempt"],
            origin=row["origin"],
            model=row["model"],
            parameters=json.loads(row["parameters"]),
            dataset_sha256=row["dataset_sha256"],
            bucket=row["bucket"],
            object_key=row["object_key"],
            account=row["account"],
            rehearsal=bool(row["rehearsal"]),
            price_usd=row["price_usd"],
        ),
        state=State(row["state"]),
        token=row["token"],
        claimer=Claimer(row["host"], row["pid"], row["boot_id"], row["started"], row["space"]),
        prediction_id=row["prediction_id"],
        loras=tuple(json.loads(row["loras"])),
        reason=row["reason"],
        created_at=_time(row["created_at"]),
        updated_at=_time(row["updated_at"]),
        posted_at=_time(row["posted_at"]),
        submitted_at=None if row["submitted_at"] is None else _time(row["submitted_at"]),
        completed_at=None if row["completed_at"] is None else _time(row["completed_at"]),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
