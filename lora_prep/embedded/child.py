"""A server as the supervisor sees it: one process at a time, started again when it dies."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.processes import child_environment
from lora_prep.embedded.servers import Server, is_up

__all__ = ["Child", "GivenUpError", "stop"]

log = logging.getLogger(__name__)

_GRACE_S = 3.0  # for a server to end by itself; SeaweedFS takes 1.3 s
_FAILURES, _WINDOW_S = 5, 30.0  # one that dies this often in this time is given up
_FIRST_PAUSE_S = 0.25  # before the second restart in a row; doubles from there


class GivenUpError(Exception):
    """A child died again and again."""


class Child:
    """One server and the process that runs it now."""

    def __init__(self, server: Server, folder: ServicesFolder) -> None:
        self.name = server.name
        self.answers = False
        self._server, self._folder = server, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: deque[float] = deque(maxlen=_FAILURES)
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """Return the process id, None while there is no process."""
        return self._process.pid if self._process else None

    def look_after(self) -> None:
        """Start the process, notice that it answers, or notice that it died."""
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self._start()
        elif (status := self._process.poll()) is not None:
            self._process, self.answers = None, False
            self._mourn(status)
        elif not self.answers:
            self.answers = is_up(self._server)

    def stop(self, action: Callable[[subprocess.Popen[bytes]], None]) -> None:
        """Apply `terminate` or `kill` to the process, if there is one."""
        if self._process:
            action(self._process)

    def wait_until(self, deadline: float) -> None:
        """Wait for the process's end, but not beyond `deadline` (monotonic)."""
        if self._process:
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s does not end by itself", self.name)

    def remove_sockets(self) -> None:
        """Remove what the process leaves outside our folder when it is killed."""
        for path in self._server.sockets:
            path.unlink(missing_ok=True)

    def _start(self) -> None:
        self.remove_sockets()
        with self._folder.open_log(self.name) as output:
            inherited = child_environment(with_proxies=self._server.fetches)
            self._process = subprocess.Popen(
                self._server.command,
                env=inherited | dict(self._server.environment),
                cwd=self._folder.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent() if sys.platform == "linux" else None,
            )
        log.info("%s started as process %d", self.name, self._process.pid)

    def _mourn(self, status: int) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        recent = sum(now - death < _WINDOW_S for death in self._deaths)
        log.warning("%s ended with status %d (%d in %g s)", self.name, status, recent, _WINDOW_S)
        if recent >= _FAILURES:
            raise GivenUpError(
                f"The {self.name} ended {recent} times within {_WINDOW_S:g} s; "
                f"its log is {self._folder.log(self.name)}."
            )
        self._start_at = now + (_FIRST_PAUSE_S * 2 ** (recent - 2) if recent > 1 else 0)


def stop(children: Sequence[Child]) -> None:
    """End the processes: asked first, killed after a grace."""
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        child.stop(subprocess.Popen.terminate)
    for child in children:
        child.wait_until(deadline)
    for child in children:
        child.stop(subprocess.Popen.kill)
        child.wait_until(time.monotonic() + _GRACE_S)
        child.remove_sockets()


def _die_with_parent() -> Callable[[], None]:
    """Return what a child does before it becomes the server: ask for SIGTERM when we are killed.

    Linux only; elsewhere the next command ends what is left. Prepared here, because between fork
    and exec as little as possible should happen.
    """
    prctl, supervisor = ctypes.CDLL(None).prctl, os.getpid()
    pr_set_pdeathsig = 1  # linux/prctl.h

    def ask() -> None:
        prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != supervisor:  # it was killed before we could ask
            os._exit(1)

    return ask
