"""`<home>/services/`: every file of the embedded services, readable by their owner alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["LOG_LIMIT_BYTES", "ServicesFolder", "write_private"]

LOG_LIMIT_BYTES = 1_000_000  # a log larger than this is begun anew at the next start


class ServicesFolder:
    """The paths below `<home>/services/`.

    gate: held for moments by whoever starts or stops something; supervisor_lock: held by the
    supervisor for its life; state: what it does now; wiring: ports and keys, kept for good;
    held: exists between `start_services` and `stop_services`; clients: one lease per client;
    store and trainer: what the two servers keep.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gate = path / "gate.lock"
        self.supervisor_lock = path / "supervisor.lock"
        self.state = path / "supervisor.json"
        self.wiring = path / "services.json"
        self.held = path / "held"
        self.clients = path / "clients"
        self.logs = path / "logs"
        self.store = path / "store"
        self.trainer = path / "trainer"

    @classmethod
    def make(cls, home: Path) -> ServicesFolder:
        """Return the folder, made if need be, each part for its owner alone."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Resolved, because processes are later recognised by the paths on their command lines.
        folder = cls(home.resolve() / "services")
        for part in (folder.path, folder.clients, folder.logs, folder.store, folder.trainer):
            part.mkdir(mode=0o700, exist_ok=True)
            part.chmod(0o700)
        return folder

    def log(self, name: str) -> Path:
        """Return the log of "supervisor", "store" or "trainer"."""
        return self.logs / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """Open a log (0600) for a child process to append to."""
        path = self.log(name)
        too_large = path.exists() and path.stat().st_size > LOG_LIMIT_BYTES
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if too_large else 0)
        return os.fdopen(os.open(path, flags, 0o600), "wb")

    def read_state(self) -> dict[str, Any]:
        """Return what the supervisor last wrote; empty if it has written nothing."""
        try:
            state: dict[str, Any] = json.loads(self.state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return state


def write_private(path: Path, text: str) -> None:
    """Write a file (0600) so that a reader sees the old or the new one, never a part.

    Raises:
        OSError: it cannot be written, the disk is full; nothing of it is left.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
