"""Where progress goes: to a line for each stage on a terminal, to plain lines elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from lora_prep.events import Event

__all__ = ["Ending", "PlainLines", "Progress"]

Ending = Literal["done", "failed", "stopped"]


class Progress(Protocol):
    """Shows events, and leaves the screen to whoever else writes on it."""

    def show(self, event: Event) -> None:
        """Show an event."""

    def say(self, text: str) -> None:
        """Print one line that stays."""

    def settle(self) -> None:
        """Leave the stages shown so far as done: an answer comes next."""

    def held(self) -> AbstractContextManager[None]:
        """Take what moves off the screen for the time of a block."""

    def end(self, ending: Ending) -> None:
        """Leave what runs as it ended; nothing moves from here on."""


class PlainLines:
    """For logs and pipes: a line when something new is done, none for every step of it."""

    def __init__(self) -> None:
        self._last = ("", "")

    def show(self, event: Event) -> None:
        """Print the event unless it only counts on."""
        now = (event.stage, event.message)
        if event.kind != "progress" or now != self._last:
            self.say(f"{event.stage}: {event.message}")
        self._last = now

    def say(self, text: str) -> None:
        """Print one line."""
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()

    def settle(self) -> None:
        """Nothing is redrawn."""

    def held(self) -> AbstractContextManager[None]:
        """Nothing moves."""
        return nullcontext()

    def end(self, ending: Ending) -> None:
        """Nothing is left on the screen."""
