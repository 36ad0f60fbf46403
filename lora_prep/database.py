"""Tables in the one database of the project: a SQLite file by path, Postgres by URL.

This module loads SQLAlchemy, which takes 0.15 s: import it where a table is opened.

Every transaction opens a connection of its own: nothing is shared over a fork, and none is kept.
SQLite: WAL, writers queue up at BEGIN IMMEDIATE, and synchronous=FULL, because a row that a power
cut takes back would let the same training be paid again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lora_prep.errors import ConfigurationError, MissingDependency, TemporaryError
from lora_prep.redaction import redacted

__all__ = ["Layout", "open_tables", "transaction"]

SCHEMA_LOCK = 0x10AA  # any number of our own, for Postgres's advisory locks
BUSY_S = 30.0


@dataclass(frozen=True, slots=True)
class Layout:
    """Tables that belong together, and the version of their columns.

    name: what errors call them, "ledger of submissions"; tables: all of them, also `versions`,
    whose single row lets a later lora_prep know what it finds and an earlier one keep off;
    version: a change that the present code could not read or keep raises it.
    """

    name: str
    tables: sa.MetaData
    versions: sa.Table
    version: int


def open_tables(where: Path | str, layout: Layout) -> sa.Engine:
    """Open tables, and make them where they are missing. Nothing is kept open.

    Raises:
        ConfigurationError: the address is none, or not one of SQLite or Postgres; or a newer
            lora_prep made the tables, which are left as they are.
        MissingDependency: the driver is not installed.
        TemporaryError: the database does not answer.
    """
    url = _url(where, layout)
    sqlite = url.get_backend_name() == "sqlite"
    try:
        arguments = {"timeout": BUSY_S} if sqlite else {"connect_timeout": int(BUSY_S)}
        # Who waited for a lock reads what the others committed meanwhile, whatever is usual there.
        level = {} if sqlite else {"isolation_level": "READ COMMITTED"}
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=arguments, **level)
    except ImportError as error:
        raise MissingDependency(
            f"The driver of the database of the {layout.name} is not installed.",
            why=f"{error}.",
            fix="pip install 'psycopg[binary]'",
        ) from error
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    with transaction(engine, layout) as connection:
        if not sqlite:  # there BEGIN IMMEDIATE is the lock: one process at a time opens it
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SCHEMA_LOCK)))
        _make_tables(connection, layout)
    return engine


@contextmanager
def transaction(engine: sa.Engine, layout: Layout) -> Iterator[sa.Connection]:
    """Commit what is done inside, or nothing of it.

    Raises:
        sqlalchemy.exc.IntegrityError: another row has what must be unique; what that means only
            the caller knows.
        TemporaryError: the database does not answer, is full, or cannot be written.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.IntegrityError:
        raise
    except sa.exc.SQLAlchemyError as error:
        words = str(error).partition("\n")[0]
        raise TemporaryError(
            f"The {layout.name} cannot be used.",
            why=f"{redacted(words)}.",
            fix="See that its database is there and can be written; then try again.",
        ) from error


def _make_tables(connection: sa.Connection, layout: Layout) -> None:
    """Make what is missing, unless a newer lora_prep made what is there."""
    layout.versions.create(connection, checkfirst=True)
    version = connection.scalar(sa.select(layout.versions.c.version))
    if version is None:
        connection.execute(sa.insert(layout.versions).values(version=layout.version))
    elif version > layout.version:
        raise ConfigurationError(
            f"The {layout.name} was made by a newer lora_prep.",
            why=f"Its version is {version}; this lora_prep knows version {layout.version}.",
            fix="Update lora_prep; or set engine.database_url to another database.",
        )
    layout.tables.create_all(connection)


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ARG001
    connection.isolation_level = None  # BEGIN is ours: the driver's own comes too late
    deadline = time.monotonic() + BUSY_S
    while True:
        try:  # switching to WAL does not wait for other connections by itself
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _url(where: Path | str, layout: Layout) -> sa.URL:
    if isinstance(where, Path):
        _make_private(where, layout)
        return sa.URL.create("sqlite", database=str(where))
    try:
        url = sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise _no_url("It is no URL of a database", layout) from error
    if url.drivername in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg")
    match url.get_backend_name():
        case "postgresql":
            return url
        case "sqlite" if url.database and url.database != ":memory:":
            _make_private(Path(url.database), layout)
            return url
        case "sqlite":
            raise _no_url("It names no file, and what is in memory protects nothing", layout)
        case other:
            raise _no_url(f"{other!r} is neither sqlite nor postgresql", layout)


def _make_private(path: Path, layout: Layout) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The file of the {layout.name} cannot be made.",
            why=f"{error.strerror}: {path}.",
            fix="Set engine.database_url to a file that you may write.",
        ) from error


def _no_url(why: str, layout: Layout) -> ConfigurationError:
    return ConfigurationError(
        f"The database of the {layout.name} cannot be used.",
        why=f"{why}.",
        fix="Set engine.database_url to sqlite:///path or postgresql://host/name.",
    )
