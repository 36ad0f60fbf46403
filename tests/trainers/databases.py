"""Every database that the ledger can be tested on here: SQLite always, Postgres where it is."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest


def _control() -> str | None:
    """Return pg_ctl: on the path, or where Debian keeps it, the newest."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which("pg_ctl") or shutil.which("pg_ctl", path=":".join(map(str, places)))


def _may_be_started() -> bool:
    """Postgres refuses to be root; its own user may stand in."""
    unprivileged = os.getuid() != 0 or "postgres" in {user.pw_name for user in pwd.getpwall()}
    return bool(_control() and find_spec("psycopg") and unprivileged)


KINDS = ["sqlite", "postgres"] if _may_be_started() else ["sqlite"]
DATABASES = [
    pytest.param(kind, marks=[] if kind == "sqlite" else pytest.mark.slow) for kind in KINDS
]


def new_database(kind: str, folder: Path) -> Path | str:
    """Return where a ledger with nothing in it is."""
    if kind == "sqlite":
        return folder / f"{uuid4().hex[:8]}.sqlite"
    name = f"test_{uuid4().hex[:8]}"
    _psql(f"CREATE DATABASE {name}")
    return f"postgresql://tester@/{name}?host={_cluster()}"


@cache
def _cluster() -> Path:
    """Start a server of our own, on a Unix socket in a folder of its own; root may not be it."""
    control = str(_control())
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # socket paths are short
    owner = {"user": "postgres"} if os.getuid() == 0 else {}
    if owner:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **owner}
    subprocess.run([control, "initdb", "-D", data, "-o", "-U tester -A trust -N"], **quiet)
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    log = folder / "log"
    subprocess.run([control, "start", "-w", "-D", data, "-l", log, "-o", options], **quiet)

    def stop() -> None:
        subprocess.run([control, "stop", "-m", "immediate", "-D", data], **quiet)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return folder


def _psql(statement: str) -> None:
    import psycopg

    with psycopg.connect(
        f"postgresql://tester@/postgres?host={_cluster()}", autocommit=True
    ) as connection:
        connection.execute(statement)  # type: ignore[arg-type]
