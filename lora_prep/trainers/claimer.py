"""Who claimed a submission, and whether that process can still be sending it.

A pid alone proves nothing: pids are used again. The boot and the start time of the process tell;
where they cannot be read, or on another machine, the answer is UNTOLD and never DEAD.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["Claimer", "Liveness", "Processes"]

PROC = Path("/proc")
ENDED = {"Z", "X"}  # a zombie sends nothing any more, even if nobody ever reaps it


class Liveness(Enum):
    """Whether a claimer lives. UNTOLD: this machine cannot know."""

    ALIVE = "alive"
    DEAD = "dead"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Claimer:
    """One process of one boot of one machine.

    host: a hash, since names of machines often are names of people; started: the kernel's start
    time of the process; space: its pid namespace. "" where the system does not tell.
    """

    host: str
    pid: int
    boot_id: str
    started: str
    space: str


class Processes:
    """Names the present process, and tells whether another lives."""

    def this(self) -> Claimer:
        """Return the present process."""
        pid = os.getpid()
        return Claimer(
            host=_host(),
            pid=pid,
            boot_id=_text(PROC / "sys/kernel/random/boot_id"),
            started=_started(pid) or "",
            space=_link(PROC / "self/ns/pid"),
        )

    def liveness(self, claimer: Claimer) -> Liveness:
        """Tell whether the process that claimed can still act."""
        this = self.this()
        if claimer == this:
            return Liveness.ALIVE
        if claimer.host != this.host:
            return Liveness.UNTOLD
        if claimer.boot_id != this.boot_id:
            return Liveness.DEAD if claimer.boot_id and this.boot_id else Liveness.UNTOLD
        if claimer.space != this.space:
            return Liveness.UNTOLD
        if not _exists(claimer.pid):
            return Liveness.DEAD
        started = _started(claimer.pid)
        if started == "" or not claimer.started:
            return Liveness.ALIVE
        return Liveness.ALIVE if started == claimer.started else Liveness.DEAD


class _Sending:
    """The claims that this process is working on: a live pid alone does not say which."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: set[tuple[int, str]] = set()

    def begin(self, token: str) -> None:
        with self._lock:
            self._tokens.add((os.getpid(), token))  # a forked child has the set, not the claim

    def end(self, token: str) -> None:
        with self._lock:
            self._tokens.discard((os.getpid(), token))

    def __contains__(self, token: str) -> bool:
        with self._lock:
            return (os.getpid(), token) in self._tokens


SENDING = _Sending()


def _host() -> str:
    name = f"{socket.gethostname()}\0{_text(Path('/etc/machine-id'))}"
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None: it ended; "": untold."""
    stat = _text(PROC / str(pid) / "stat")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    if len(fields) < 20:
        return ""
    return None if fields[0] in ENDED else fields[19]


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    if os.name == "nt":
        return True  # there, signal 0 is a Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there and belongs to someone else
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
