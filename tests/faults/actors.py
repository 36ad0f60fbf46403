"""The processes of the campaign: the service, and the clients that are killed.

Both are forked from one warm process, which has imported all they need: a client that starts in
0.05 s instead of 1.5 s can be killed a thousand times. What they run is the command line's own
`main`, with an environment, an output and a working folder of their own. This module is loaded by
the warm process, so it must import all that a client would.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any

import boto3.s3.transfer  # noqa: F401
import httpx  # noqa: F401

import lora_prep.cli.resuming
import lora_prep.trainer_service.server
import lora_prep.trainers.database  # noqa: F401
from lora_prep.cli.dispatch import dispatch
from lora_prep.trainer_service.__main__ import main as serve

__all__ = ["forked"]


def forked(target: str, *arguments: Any) -> ForkServerProcess:
    """Start an actor of this module by its name."""
    process = _context().Process(target=globals()[target], args=arguments)
    process.start()
    return process


def service(words: list[str], environment: dict[str, str], log: Path) -> None:
    """Be `python -m lora_prep.trainer_service`."""
    _settle(environment, log, log, log.parent)
    sys.argv = ["trainer_service", *words]
    os._exit(serve())


def client(
    words: list[str],
    environment: dict[str, str],
    stdout: Path,
    stderr: Path,
    file: str,
    line: int,
) -> None:
    """Be `lora-prep`, killed at the line-th line that runs of a file; 0 for never."""
    _settle(environment, stdout, stderr, stdout.parent)
    if line:
        sys.settrace(_killing(file, line))
    status = dispatch(words)
    sys.stdout.flush()
    sys.stderr.flush()
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


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
