"""A command at a terminal of its own, and what its user sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte
from pyte.screens import Char

ROWS = 30
FAINT = "faint"
OTHERS = {"COLORTERM", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR"}
END_S = 120  # longer than any command that is looked at


def own_environment(**changes: str) -> dict[str, str]:
    """Return this environment without what speaks of another terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in OTHERS}
    return kept | {"TERM": "xterm-256color"} | changes


class Emulator(pyte.HistoryScreen):
    """A terminal; pyte itself does not know faint text, here it has a colour of its own."""

    def select_graphic_rendition(self, *attributes: int, **options: bool) -> None:
        super().select_graphic_rendition(*attributes, **options)
        if attributes[:1] == (2,):
            self.cursor.attrs = self.cursor.attrs._replace(fg=FAINT)


class Terminal:
    """A process on a pseudo terminal whose output an emulator draws."""

    def __init__(
        self,
        words: Sequence[str | Path],
        *,
        columns: int = 80,
        rows: int = ROWS,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            list(map(str, words)), stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
            env=dict(own_environment() if environment is None else environment),
            start_new_session=True, preexec_fn=_controls,
        )  # fmt: skip
        os.close(theirs)
        self.screen = Emulator(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""

    def type(self, text: str) -> None:
        """Type text; "\\x03" is Ctrl-C."""
        os.write(self._ours, text.encode())

    def read(self, wait_s: float = 0.1) -> bool:
        """Draw what has come; False: nothing more will."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return True
        try:
            came = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.raw += came
        self._stream.feed(came)
        return bool(came)

    def until(self, seen: str | Callable[[list[str]], bool]) -> None:
        """Read until a text is on the screen, or what is there is as wished."""
        until_s = time.monotonic() + END_S
        while not (seen in self.text if isinstance(seen, str) else seen(self.lines)):
            assert time.monotonic() < until_s, self.text
            assert self.read(), self.text

    def ended(self) -> int:
        """Read to the end and return the exit status."""
        until_s = time.monotonic() + END_S
        while self.read():
            assert time.monotonic() < until_s, self.text
        return self.process.wait(END_S)

    @property
    def cells(self) -> list[list[Char]]:
        """What was written, by line and column, with what has scrolled away."""
        above, screen = self.screen.history.top, self.screen
        lines = [*above, *(screen.buffer[row] for row in range(screen.lines))]
        return [[line[column] for column in range(screen.columns)] for line in lines]

    @property
    def lines(self) -> list[str]:
        """The lines that were written, without the empty ones at the end."""
        lines = ["".join(cell.data for cell in line).rstrip() for line in self.cells]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(
    *words: str | Path,
    columns: int = 80,
    rows: int = ROWS,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Terminal]:
    """Yield a command that runs at a terminal; it is ended with the block."""
    opened = Terminal(words, columns=columns, rows=rows, environment=environment, cwd=cwd)
    try:
        yield opened
    finally:
        opened.close()


def _controls() -> None:
    """Make the terminal the one that Ctrl-C comes from."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
