"""The processes of the campaign: the service, and the clients that are killed.

All but the cold clients are forked from one warm process, which has imported all they need: what
starts in 0.05 s instead of 1.5 s can be killed a thousand times. What they run is the command
line's own `main`, with an environment, an output and a working folder of their own. The warm
process loads this module, so it imports all that a client would.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import boto3.s3.transfer  # noqa: F401
import httpx  # noqa: F401

import lora_prep.cli.resuming
import lora_prep.trainer_service.server
import lora_prep.trainers.database  # noqa: F401
from lora_prep.cli.dispatch import dispatch
from lora_prep.trainer_service.__main__ import main as serve

__all__ = ["Actor", "cold", "service", "warm"]


class Actor(Protocol):
    """What can be watched and killed."""

    @property
    def exitcode(self) -> int | None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def kill(self) -> None: ...


def service(words: list[str], environment: dict[str, str], log: Path) -> Actor:
    """Start `python -m lora_prep.trainer_service`."""
    return _forked(_service, words, environment, log)


def warm(
    words: list[str], environment: dict[str, str], stdout: Path, stderr: Path, file: str, line: int
) -> Actor:
    """Start `lora-prep`, killed at the line-th line that runs of a file; 0 for never."""
    return _forked(_client, words, environment, stdout, stderr, file, line)


def cold(
    words: list[str], environment: dict[str, str], stdout: Path, stderr: Path, file: str, line: int
) -> Actor:
    """Start `lora-prep` as its user does, in a Python of its own."""
    command = [sys.executable, "-m", "lora_prep", *words]
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return _Cold(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
            )
        )


class _Cold:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()


def _forked(target: Callable[..., None], *arguments: Any) -> Actor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def _service(words: list[str], environment: dict[str, str], log: Path) -> None:
    _settle(environment, log, log, log.parent)
    sys.argv = ["trainer_service", *words]
    os._exit(serve())


def _client(
    words: list[str],
    environment: dict[str, str],
    stdout: Path,
    stderr: Path,
    file: str,
    line: int,
) -> None:
    _settle(environment, stdout, stderr, stdout.parent)
    if line:
        sys.settrace(_killing(file, line))
    status = dispatch(words)
    sys.stdout.flush()
    sys.stderr.flush()
    # multiprocessing's fork server says 255 when it has missed the end of one of many children.
    stdout.with_suffix(".status").write_text(str(status))
    os._exit(status)


def _killing(file: str, line: int) -> Any:
    count = 0

    def local(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return local

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename.endswith(file) else None

    return trace


def _settle(environment: dict[str, str], stdout: Path, stderr: Path, folder: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
