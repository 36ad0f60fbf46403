"""Commands that the dashboard has begun: processes of their own, which outlive it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO

from lora_prep.errors import TemporaryError
from lora_prep.report.text import visible

__all__ = ["Begun", "Commands"]

MOST_BYTES = 4000  # of what a command said that is shown


@dataclass(frozen=True, slots=True)
class Begun:
    """A command that was begun for a run.

    words: after `lora-prep`; status: its exit status, None while it goes on; said: the end of what
    it has said, once it has ended.
    """

    words: tuple[str, ...]
    status: int | None = None
    said: str = ""


class Commands:
    """The last command of each run; one at a time, but that each of them can be given up."""

    def __init__(self) -> None:
        self._begun: dict[str, Begun] = {}  # by run; one that was given up ends by itself
        self._going_on = 0
        self._lock = threading.Lock()

    def begin(self, run_id: str, words: Sequence[str]) -> Begun:
        """Begin a command for a run.

        It writes to a file, not to us: when the dashboard ends it goes on, and so does what it
        says. The file has no name, so that nothing of it is left.

        Raises:
            TemporaryError: another one is going on for it, or the system has no room for one.
        """
        with self._lock:
            last = self._begun.get(run_id)
            if last and last.status is None and ("cancel" not in words or "cancel" in last.words):
                raise TemporaryError(
                    "Another command goes on for this run.",
                    why=f"lora-prep {' '.join(last.words)}",
                    fix="Wait for its end.",
                )
            process, output = _started(words)
            begun = self._begun[run_id] = Begun(tuple(words))
            self._going_on += 1
        # Without this it would stay behind as a zombie, with its file open, until it is looked at.
        threading.Thread(
            target=self._see_its_end, args=(run_id, begun, process, output), daemon=True
        ).start()
        return begun

    def of(self, run_id: str) -> Begun | None:
        """Return the last command that was begun for a run."""
        return self._begun.get(run_id)

    @property
    def going_on(self) -> int:
        """How many have not ended."""
        return self._going_on

    def _see_its_end(
        self, run_id: str, begun: Begun, process: subprocess.Popen[bytes], output: IO[bytes]
    ) -> None:
        with output:
            status = process.wait()
            ended = replace(begun, status=status, said=_end_of(output))
        with self._lock:
            self._going_on -= 1
            if self._begun[run_id] is begun:
                self._begun[run_id] = ended


def _started(words: Sequence[str]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    output = None
    try:
        output = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the command
        process = subprocess.Popen(
            # -P: a folder of photos may hold a file that is called like a module of ours.
            [sys.executable, "-P", "-m", "lora_prep", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # what ends the dashboard, or its terminal, is not meant for it
        )
    except OSError as error:
        if output:
            output.close()
        raise TemporaryError(
            "The command could not be begun.", why=f"{error.strerror}.", fix="Try again."
        ) from error
    return process, output


def _end_of(output: IO[bytes]) -> str:
    """Return the last lines of a file, without the one that is cut, as they can be shown."""
    size_bytes = output.seek(0, os.SEEK_END)
    begin = output.seek(max(0, size_bytes - MOST_BYTES))
    lines = output.read().decode(errors="replace").splitlines()
    return "\n".join(visible(line) for line in (lines[1:] or lines if begin else lines))
