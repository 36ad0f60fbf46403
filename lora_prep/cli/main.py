"""The entry point. The overview is drawn here, without loading anything that takes time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn

from lora_prep import __version__
from lora_prep.cli.commands import COMMANDS, GROUPS
from lora_prep.cli.exit_status import DONE, INTERRUPTED, UNEXPECTED

__all__ = ["main", "overview"]


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        # An end that is asked for (a supervisor, a shutdown) is told like Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        status = _run(arguments)
        if _still_working():
            os._exit(status)
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # before any work had begun: there is nothing to tell


def _still_working() -> bool:
    """Whether threads are left that the end of the interpreter would wait for.

    What they do can be gone on with: a stage of a run that outlasted `engine.drain_s`.
    """
    if "pipelines.engine" not in sys.modules:
        return False
    return any(
        not one.daemon for one in threading.enumerate() if one is not threading.main_thread()
    )


def _run(arguments: list[str]) -> int:
    if arguments in ([], ["--help"], ["-h"], ["--version"]):
        text = f"lora-prep {__version__}\n" if arguments == ["--version"] else overview()
        try:
            print(text, end="", flush=True)  # noqa: T201  the one thing this command is for
        except OSError:
            return UNEXPECTED  # nobody reads it
        return DONE
    from lora_prep.cli.dispatch import dispatch

    return dispatch(arguments)


def overview() -> str:
    """Return the text of `lora-prep --help`, made from the table of commands."""
    lines = [
        "lora-prep: from a folder of photos of one person to a verified Wan LoRA in your own",
        "bucket, with one command; never paying twice, never losing a result.",
        "",
        "  lora-prep run FOLDER",
        "",
        "Without an account this is a rehearsal: everything is real but the training.",
    ]
    width = max(len(command.usage) for command in COMMANDS)
    for group in GROUPS:
        lines += ["", f"{group}:"]
        lines += [
            f"  {command.usage:<{width}}  {command.summary}"
            for command in COMMANDS
            if command.group == group
        ]
    lines += [
        "",
        "Every command: --help, --json (one object on stdout), --debug.",
        "Exit status: 0 done, 1 unexpected, 2 usage or configuration, 3 photos not usable,",
        "4 credentials, 5 storage, 6 training failed, 7 submission unknown, 8 archive failed,",
        "9 declined, 75 try again later, 130 interrupted.",
        "",
    ]
    return "\n".join(lines)
