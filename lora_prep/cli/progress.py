"""Draw progress on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from lora_prep.events import Event

__all__ = ["Progress", "make_progress"]


class Progress(Protocol):
    """Where events go: a live line, or plain lines."""

    def show(self, event: Event) -> None:
        """Show an event."""

    def say(self, text: str) -> None:
        """Print one line that stays."""

    def close(self) -> None:
        """Leave the screen clean."""


def make_progress() -> Progress:
    """Return the live line when stderr is a terminal that can redraw, else plain lines."""
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return LiveLine() if live else PlainLines()


class PlainLines:
    """For logs and pipes: a line when something new is done, none for every step of it."""

    def __init__(self) -> None:
        self._last = ("", "")

    def show(self, event: Event) -> None:
        """Print the event unless it only counts on."""
        now = (event.stage, event.message)
        if event.kind == "note" or now != self._last:
            self.say(f"{event.stage}: {event.message}")
        self._last = now

    def say(self, text: str) -> None:
        """Print one line."""
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Nothing is left on the screen."""


class LiveLine:
    """For terminals: one line that is redrawn, above it the notes that stay."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)  # honours NO_COLOR
        self._status = self._console.status("")
        self._shown = False

    def show(self, event: Event) -> None:
        """Redraw the line, or print a note above it."""
        from rich.markup import escape

        if event.kind == "note":
            self._console.print(f"[green]✓[/green] {event.stage:<8} {escape(event.message)}")
            return
        if not self._shown:
            self._status.start()
            self._shown = True
        self._status.update(f"{event.stage:<8} {escape(event.message)}{_amount(event)}")

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self._console.print(text, markup=False)

    def close(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._status.stop()
            self._shown = False


def _amount(event: Event) -> str:
    if event.done is None:
        return ""
    match event.unit:
        case "s":
            minutes, seconds = divmod(event.done, 60)
            return f", {minutes} min {seconds} s" if minutes else f", {seconds} s"
        case "bytes":
            total = f" of {event.total / 1e6:.0f}" if event.total else ""
            return f", {event.done / 1e6:.0f}{total} MB"
        case "items":
            return f", {event.done} of {event.total}" if event.total else f", {event.done}"
