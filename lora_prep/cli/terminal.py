"""A terminal: a line for each stage, alive while it runs, left with a tick when it has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import fill as fill_text
from typing import Literal, get_args

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from lora_prep.cli.progress import Ending
from lora_prep.events import Event, Stage
from lora_prep.wording import amount, span

__all__ = ["StageLines", "print_facts"]

Mark = Ending | Literal["warning"]
Words = tuple[str, ...]

ECHO = len("^C")  # what the terminal itself writes at the end of the line; it must not wrap there
WIDTH = 100  # columns: further away the eye loses the line on the way to its time
ROOMY = 72  # columns from which on there is room for a bar
BAR = 20
FRAMES_PER_S = 10
EXACT_S = 10  # below, tenths of a second count
STAGES: tuple[Stage, ...] = get_args(Stage)
STAGE_WIDTH = max(map(len, STAGES)) + 1
INDENT = STAGE_WIDTH + 3  # of what is said beneath a line
STYLES: dict[Mark, str] = {
    "done": "green", "failed": "bold red", "stopped": "yellow", "warning": "bold yellow",
}  # fmt: skip
MARKS: dict[Mark, str] = {"done": "✓", "failed": "✗", "stopped": "■", "warning": "!"}
ASCII_MARKS: dict[Mark, str] = {"done": "+", "failed": "x", "stopped": "-", "warning": "!"}


class StageLines:
    """For terminals: what runs is redrawn at the bottom, what has ended stays above it.

    A stage ends when it says so (an event of the kind "done"), or when another one is under way.
    Events may come from any thread.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)  # honours NO_COLOR
        self._plain = self._console.options.ascii_only
        self._cut: OverflowMethod = "crop" if self._plain else "ellipsis"
        self._spinner = Spinner("line" if self._plain else "dots", style="cyan")
        self._lock = threading.RLock()
        self._lines: dict[Stage, _Line] = {}  # replaced and never changed: it is drawn in a thread
        self._heard_s = time.monotonic()
        self._live: Live | None = None
        self._held = False
        self._over = False

    def show(self, event: Event) -> None:
        """Draw the event into the line of its stage, and leave the lines that it brings to an end.

        What another stage only notes ends none: after a training that fails is cleaned up, too.
        """
        with self._lock:
            now_s = time.monotonic()
            if self._over and event.kind == "progress":  # of a thread that has not heard of the end
                return
            if event.kind == "warning":
                self._leave_ended()
                self._print("warning", event.stage, event.message)
                return
            left = [line for line in self._lines.values() if line.gives_way_to(event)]
            lines = {line.stage: line for line in self._lines.values() if line not in left}
            began_s = self._heard_s if event.kind == "done" else now_s
            line = lines.get(event.stage) or _Line(event.stage, began_s)
            self._heard_s = now_s
            self._lines = lines | {event.stage: line.heard(event, now_s)}
            for one in left:
                went_back = STAGES.index(one.stage) > STAGES.index(event.stage)
                self._leave(one, "stopped" if went_back else "done")
            if self._over:
                self.settle()
            self._draw()

    def say(self, text: str) -> None:
        """Print words that stay, above what runs; an address in them is not broken."""
        with self._lock:
            self._leave_ended()
            fill = partial(fill_text, width=self._console.width, break_long_words=False)
            lines = [fill(line, break_on_hyphens=False) for line in text.splitlines()]
            self._console.print(self._text("\n".join(lines)), soft_wrap=True)

    def settle(self) -> None:
        """Leave every line as done."""
        with self._lock:
            self._leave_all("done")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Leave the screen to a question or an answer, without stopping who sends events."""
        with self._lock:
            self._leave_ended()
            self._held = True
            self._draw()
        try:
            yield
        except KeyboardInterrupt:
            self._console.line()  # after the question
            raise
        finally:
            with self._lock:
                self._held = False
                self._draw()

    def end(self, ending: Ending) -> None:
        """Leave the lines of what runs as it ended, and the cursor where it was."""
        with self._lock:
            if self._held:
                self._console.line()  # after a question in another thread
            self._held, self._over = False, True
            self._leave_all(ending)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    def _leave_ended(self) -> None:
        ended = [line for line in self._lines.values() if line.over]
        self._lines = {line.stage: line for line in self._lines.values() if not line.over}
        self._draw()
        for line in ended:
            self._leave(line, "done")

    def _leave_all(self, ending: Ending) -> None:
        lines, self._lines = self._lines, {}
        self._draw()
        for line in lines.values():
            self._leave(line, ending)

    def _leave(self, line: _Line, ending: Ending) -> None:
        took = _time((line.ended_s or time.monotonic()) - line.began_s)
        words, notes = line.last()
        self._print("done" if line.over else ending, line.stage, words, took, notes)

    def _print(
        self, mark: Mark, stage: Stage, words: str, took: RenderableType = "", notes: Words = ()
    ) -> None:
        """Print a line that stays; it is wrapped, so that nothing of it is lost."""
        columns = [*_head_columns(), Column(ratio=1, overflow="fold"), _time_column()]
        row = _grid(columns, [self._mark(mark), stage, self._text(words), took])
        self._console.print(self._narrowed(Group(row, *map(self._note, notes))))

    def _draw(self) -> None:
        """Begin to redraw what runs, or take it off the screen."""
        wanted = bool(self._lines) and not (self._held or self._over)
        if wanted and self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._running,
                refresh_per_second=FRAMES_PER_S,
                transient=True,
                redirect_stdout=False,  # it may lead to a file
            )
            self._live.start(refresh=True)
        elif not wanted and self._live:
            live, self._live = self._live, None
            live.stop()

    def _running(self) -> RenderableType:
        """Return what is redrawn: a line for each stage and note, none longer than the screen."""
        drawn: list[RenderableType] = []
        for line in self._lines.values():
            words, notes = line.now()
            drawn.append(self._row(line, words))
            drawn += [self._note(note, cut=True) for note in notes]
        return self._narrowed(Group(*drawn))

    def _row(self, line: _Line, words: str) -> RenderableType:
        """Return the line of a stage; where there is little room only its words are cut."""
        mark = self._mark("done") if line.over else self._spinner
        columns = [*_head_columns(), Column(ratio=1, no_wrap=True, overflow=self._cut)]
        cells: list[RenderableType] = [mark, line.stage, self._text(words)]
        doing = line.doing
        if doing and doing.done is not None and doing.unit != "s" and not line.over:
            if doing.total and self._console.width >= ROOMY:
                columns.append(Column(width=BAR))
                cells.append(_bar(doing.done, doing.total))
            at_most = amount(doing.total or doing.done, doing.total, doing.unit)
            columns.append(Column(width=len(at_most), justify="right", no_wrap=True))
            cells.append(amount(doing.done, doing.total, doing.unit))
        passed_s = (line.ended_s or time.monotonic()) - line.began_s
        return _grid([*columns, _time_column()], [*cells, _time(passed_s)])

    def _note(self, words: str, *, cut: bool = False) -> RenderableType:
        text = self._text(words)
        text.stylize("dim")
        text.no_wrap, text.overflow = cut, self._cut if cut else "fold"
        return Padding(text, (0, 0, 0, INDENT))

    def _mark(self, mark: Mark) -> RenderableType:
        return Text((ASCII_MARKS if self._plain else MARKS)[mark], style=STYLES[mark])

    def _narrowed(self, drawn: RenderableType) -> RenderableType:
        return Constrain(drawn, min(WIDTH, self._console.width - ECHO))

    def _text(self, words: str) -> Text:
        """Return words as this terminal can show them, so that they are as wide as counted."""
        encoding = self._console.encoding
        return Text(words.encode(encoding, "backslashreplace").decode(encoding))


@dataclass(frozen=True, slots=True)
class _Line:
    """What a stage has said. ended: its closing words; notes: what else stays."""

    stage: Stage
    began_s: float
    doing: Event | None = None
    ended: str | None = None
    ended_s: float | None = None
    notes: Words = ()

    def heard(self, event: Event, now_s: float) -> _Line:
        """Return the line after one more event."""
        match event.kind:
            case "progress":
                waited_s = event.done or 0 if event.unit == "s" else 0  # begun in another process
                return replace(self, doing=event, began_s=min(self.began_s, now_s - waited_s))
            case "done" if self.ended is None:
                return replace(self, ended=event.message, ended_s=now_s)
            case _:
                return replace(self, notes=(*self.notes, event.message))

    @property
    def over(self) -> bool:
        """Whether it has said how it ended."""
        return self.ended is not None

    def gives_way_to(self, event: Event) -> bool:
        """Whether the event ends the line: its stage begins anew, or another one does."""
        if event.stage == self.stage:
            return self.over and event.kind == "progress"
        return self.over or event.kind == "progress"

    def now(self) -> tuple[str, Words]:
        """Return what it does, or how it ended, and what is said beneath."""
        if self.doing and not self.over:
            return self.doing.message, self.notes
        return self.last()

    def last(self) -> tuple[str, Words]:
        """Return its closing words, or for want of them its last note, and what is said beneath."""
        if self.ended is not None:
            return self.ended, self.notes
        if self.notes or not self.doing:
            return self.notes[-1], self.notes[:-1]
        return self.doing.message, ()


def print_facts(facts: Sequence[tuple[str, object]], width: int) -> None:
    """Print labelled values on stdout, which is a terminal; a path below the home begins with ~."""
    console = Console(highlight=False)
    console.line()
    for label, value in facts:
        shown = f"{label:<{width}}{_short(value) if isinstance(value, Path) else value}"
        text = Text(shown.encode(console.encoding, "backslashreplace").decode(console.encoding))
        text.stylize("bold cyan", 0, len(label))
        console.print(text, soft_wrap=True)


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _bar(done: int, total: int) -> RenderableType:
    return ProgressBar(total, done, width=BAR, complete_style="cyan", finished_style="cyan")


def _grid(columns: Sequence[Column], cells: Sequence[RenderableType]) -> Table:
    grid = Table.grid(*columns, padding=(0, 1, 0, 0), expand=True)
    grid.add_row(*cells)
    return grid


def _head_columns() -> list[Column]:
    return [Column(width=1), Column(width=STAGE_WIDTH)]


def _time_column() -> Column:
    return Column(justify="right", no_wrap=True)


def _time(seconds: float) -> RenderableType:
    return Text(f"{seconds:.1f} s" if seconds < EXACT_S else span(seconds), style="dim")
