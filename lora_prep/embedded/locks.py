"""`flock`: the kernel drops it when its holder dies, so no lock and no lease is ever stale.

A pid in a file proves nothing (pids are used again); a held lock proves a live holder.
"""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self
from uuid import uuid4

from lora_prep.errors import ConfigurationError, TemporaryError

__all__ = ["Lock", "is_held", "live_leases", "take_lease"]

_RETRY_S = 0.02


class Lock:
    """A lock file that this process holds, until `release` or death."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def try_take(cls, path: Path) -> Self | None:
        """Take the lock if it is free."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if _try_flock(descriptor, exclusive=True):
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    @classmethod
    def take(cls, path: Path, timeout_s: float) -> Self:
        """Take the lock, waiting for its holder.

        Raises:
            TemporaryError: it was not free within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while (lock := cls.try_take(path)) is None:
            if time.monotonic() > deadline:
                raise TemporaryError(
                    "The embedded services are busy.",
                    why=f"Another command held {path} for {timeout_s:g} s.",
                    fix="Try again; if it stays so, end the other lora-prep command.",
                )
            time.sleep(_RETRY_S)
        return lock

    def is_still_there(self) -> bool:
        """Whether the path still leads to the locked file: if not, the lock excludes nobody."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let the next one in."""
        # Closing would not do: a process that was forked meanwhile has the lock too.
        _fcntl().flock(self.descriptor, _fcntl().LOCK_UN)
        os.close(self.descriptor)

    def hand_over(self) -> None:
        """Leave the lock to the child process that got the descriptor; free it if none did."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock.

    Asks with a shared lock, so that two who ask do not take each other for the holder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_flock(descriptor, exclusive=False)
    finally:
        os.close(descriptor)


def take_lease(folder: Path) -> Lock:
    """Leave a file in `folder` that says, for as long as this process lives: I am a client."""
    name = f"{os.getpid()}-{uuid4().hex[:8]}"
    # Locked before it gets its name: nobody can see it free and take it for a dead client's.
    hidden = folder / f".{name}"
    lease = Lock.try_take(hidden)
    assert lease is not None, "a fresh random name cannot be locked"  # noqa: S101
    lease.path = hidden.rename(folder / name)
    return lease


def live_leases(folder: Path) -> int:
    """Count the clients that live, and remove the leases of those that do not."""
    live = 0
    for path in folder.glob("[!.]*"):
        if is_held(path):
            live += 1
        else:
            path.unlink(missing_ok=True)
    return live


def _try_flock(descriptor: int, *, exclusive: bool) -> bool:
    fcntl = _fcntl()
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fcntl() -> ModuleType:
    try:
        return importlib.import_module("fcntl")
    except ImportError as error:
        raise ConfigurationError(
            "The embedded services do not run on Windows itself.",
            why="They rely on file locks and signals that only POSIX systems have.",
            fix="Use lora-prep inside WSL, or set store.url and trainer.base_url to real services.",
        ) from error
