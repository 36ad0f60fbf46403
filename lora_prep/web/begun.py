"""Commands that the dashboard has begun: processes of their own, which outlive it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

from lora_prep.errors import TemporaryError

__all__ = ["Begun", "Commands"]

MOST_BYTES = 4000  # of what a command said that is shown


@dataclass(frozen=True, slots=True)
class Begun:
    """A command that was begun for a run.

    words: after `lora-prep`; at: when (aware UTC); output: the file that it writes to.
    """

    words: tuple[str, ...]
    at: datetime
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def status(self) -> int | None:
        """Its exit status; None while it goes on."""
        return self.process.poll()

    @property
    def said(self) -> str:
        """The end of what it has said."""
        file = self.output.fileno()
        begin = max(0, os.fstat(file).st_size - MOST_BYTES)
        # pread: the place in the file is the command's, and moving it would move its writing.
        lines = os.pread(file, MOST_BYTES, begin).decode(errors="replace").splitlines()
        return "\n".join(lines[1:] if begin else lines)


class Commands:
    """The last command of each run; one at a time, but that each of them can be given up."""

    def __init__(self) -> None:
        self._begun: dict[str, Begun] = {}  # by run; one that was given up ends by itself
        self._lock = threading.Lock()

    def begin(self, run_id: str, words: Sequence[str]) -> Begun:
        """Begin a command for a run.

        It writes to a file, not to us: when the dashboard ends it goes on, and so does what it
        says. The file has no name, so that nothing of it is left.

        Raises:
            TemporaryError: another one is going on for it.
        """
        with self._lock:
            last = self._begun.get(run_id)
            if last and last.status is None and ("cancel" not in words or "cancel" in last.words):
                raise TemporaryError(
                    "Another command goes on for this run.",
                    why=f"lora-prep {' '.join(last.words)}",
                    fix="Wait for its end.",
                )
            output = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the command
            process = subprocess.Popen(
                [sys.executable, "-m", "lora_prep", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C ends the dashboard, not what was begun
            )
            begun = Begun(tuple(words), datetime.now(UTC), process, output)
            self._begun[run_id] = begun
            return begun

    def of(self, run_id: str) -> Begun | None:
        """Return the last command that was begun for a run."""
        return self._begun.get(run_id)

    @property
    def going_on(self) -> int:
        """How many have not ended."""
        return sum(one.status is None for one in self._begun.values())
