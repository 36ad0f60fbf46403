"""Where a machine keeps what it knows, and what it is called."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path

from lora_prep.embedded import Lock, is_held
from lora_prep.errors import ConfigurationError
from lora_prep.settings import Settings, home_folder

__all__ = ["database_of", "is_shared", "machine_of", "worker_is_here", "worker_lock"]

DATABASE = "lora_prep.sqlite"
SQLITE = "sqlite:///"
MACHINE = "machine"
WORKER = "worker.lock"
MOMENT_S = 0.01
MOUNTS = Path("/proc/self/mountinfo")
NETWORKS = {
    "9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip


def database_of(settings: Settings) -> Path | str:
    """Return the one database: a file in the home, or the URL of a server.

    Raises:
        ConfigurationError: the file would lie on a network share.
    """
    url = settings.engine.database_url
    where = home_folder() / DATABASE if url is None else url.get_secret_value()
    folder = _folder_of(where)
    if folder and (network := _network_of(folder)):
        raise ConfigurationError(
            f"The database may not lie on a network share: {folder} is one ({network}).",
            why="SQLite's locks do not hold there, so that two machines could pay twice.",
            fix="Set LORA_PREP_HOME to a folder of this machine, or engine.database_url to a "
            "PostgreSQL server.",
        )
    return where


def is_shared(settings: Settings) -> bool:
    """Whether other machines use the same database."""
    url = settings.engine.database_url
    return url is not None and not url.get_secret_value().startswith("sqlite")


def machine_of(settings: Settings) -> str:
    """Return what this machine is called in the database: its name tells nobody anything."""
    if settings.engine.executor_id:
        return settings.engine.executor_id
    path = home_folder() / MACHINE
    for _ in range(2):
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            fresh = path.with_name(f"{MACHINE}.{secrets.token_hex(4)}")
            fresh.write_text(f"m{secrets.token_hex(4)}\n", encoding="utf-8")
            try:
                os.link(fresh, path)  # one of two processes names it
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                fresh.replace(path)
                continue
            fresh.unlink()
    return path.read_text(encoding="utf-8").strip()


def worker_lock() -> Lock | None:
    """Take the place of this home's worker; None: one is there."""
    path = home_folder() / WORKER
    lock = Lock.try_take(path)
    if lock is None:  # who asks whether one is there (`worker_is_here`) holds it for an instant
        time.sleep(MOMENT_S)
        lock = Lock.try_take(path)
    return lock


def worker_is_here() -> bool:
    """Whether a worker runs in this home."""
    return is_held(home_folder() / WORKER)


def _folder_of(where: Path | str) -> Path | None:
    """Return the folder of a database that is a file."""
    if isinstance(where, Path):
        return where.parent
    return Path(where.removeprefix(SQLITE)).parent if where.startswith(SQLITE) else None


def _network_of(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the network file system that a folder lies on; None where it is none, or untold."""
    folder = folder.resolve()
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds: dict[Path, str] = {}
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
        kinds[Path(point)] = after.split()[0]  # the last one mounted there counts
    under = [point for point in kinds if folder == point or point in folder.parents]
    kind = kinds[max(under, key=lambda point: len(point.parts))] if under else ""
    return kind if kind in NETWORKS else None
