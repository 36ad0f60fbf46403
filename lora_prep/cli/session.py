"""One command's talk with its user: data on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from json import dumps
from typing import Annotated, Any, TextIO

from cyclopts import Parameter

from lora_prep.cli.exit_status import INTERRUPTED, UNEXPECTED, exit_status
from lora_prep.cli.progress import PlainLines, Progress
from lora_prep.errors import LoraPrepError, unforeseen
from lora_prep.events import Event
from lora_prep.redaction import RedactingFilter, redacted

__all__ = ["Session", "SessionParameter", "make_progress", "shown"]

CANNOT_REDRAW = {"dumb", "unknown"}  # values of TERM


def make_progress() -> Progress:
    """Return lines that are redrawn where stderr is a terminal that can do so, else plain ones."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in CANNOT_REDRAW:
        return PlainLines()
    from lora_prep.cli.terminal import StageLines  # it needs rich

    return StageLines()


@dataclass(slots=True)
class Session:
    """What a command says and returns.

    json: stdout gets one object and nothing else; debug: tracebacks and the log go to stderr.
    `result` gives the object of `--json`; it is asked for at the end, also after an error, so
    that a failure carries all that is known. `interruption` says why it matters that the command
    was interrupted, and what to do. `status` is what a command that raises nothing ends with.
    """

    json: bool = False
    debug: bool = False
    result: Callable[[], dict[str, Any]] = field(default=lambda: {"schema": 1})
    interruption: Callable[[], tuple[str, str]] = field(
        default=lambda: ("You interrupted it.", "Run the same command again.")
    )
    progress: Progress = field(default_factory=make_progress)
    status: int = 0

    def on_event(self, event: Event) -> None:
        """Draw progress on stderr."""
        self.progress.show(replace(event, message=shown(event.message)))

    def say(self, text: str) -> None:
        """Say one line to the person, on stderr."""
        self.progress.say(text)

    def answer(self, text: str) -> None:
        """Print data for people on stdout; with --json it is left to the object."""
        if not self.json:
            self.progress.settle()
            _write(sys.stdout, f"{text}\n")

    def answer_so_far(self, text: str) -> None:
        """Print data while the stage that gives it goes on."""
        if not self.json:
            with self.progress.held():
                _write(sys.stdout, f"{text}\n")
                sys.stdout.flush()

    def facts(self, facts: Sequence[tuple[str, object]]) -> None:
        """Print labelled values on stdout, aligned; on a terminal they are set off."""
        width = max(len(label) for label, _ in facts) + 2
        if not self.json and sys.stdout and sys.stdout.isatty():
            from lora_prep.cli.terminal import print_facts  # it needs rich

            self.progress.settle()
            print_facts(facts, width)
        else:
            self.answer("\n".join(f"{label:<{width}}{value}" for label, value in facts))

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody at a terminal who may be asked."""
        return not self.json and sys.stdin.isatty() and sys.stderr.isatty()

    def agrees(self, question: str) -> bool:
        """Ask the person at the terminal; what is not a yes is a no."""
        with self.progress.held():
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            if not answer.endswith("\n"):  # Ctrl-D: the terminal has begun no new line
                sys.stderr.write("\n")
            return answer.strip().lower() in {"y", "yes"}

    def run(self, command: Callable[[], None]) -> int:
        """Run a command, print what it has to say, and return the exit status."""
        self._set_up_logging()
        try:
            try:
                status = self._run(command)
            finally:
                self.progress.end("failed")  # nothing moves any more, whatever ended it
            if sys.stdout:
                sys.stdout.flush()
        except OSError:
            return UNEXPECTED  # nobody reads stdout or stderr any more: nobody to tell
        return status

    def _run(self, command: Callable[[], None]) -> int:
        try:
            command()
        except LoraPrepError as error:
            return self._fail(error.to_json(), exit_status(error))
        except KeyboardInterrupt:
            why, fix = self.interruption()
            interrupted = {"code": "interrupted", "message": "Stopped.", "why": why, "fix": fix}
            return self._fail({**interrupted, "retryable": True}, INTERRUPTED)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  the last door: never a bare traceback
            return self._fail(unforeseen(error).to_json(), UNEXPECTED)
        self.progress.end("done")
        self._print_object(self.result())
        return self.status

    def _fail(self, error: Mapping[str, str | bool], status: int) -> int:
        self.progress.end("stopped" if status == INTERRUPTED else "failed")
        if self.debug:
            _write(sys.stderr, redact_lines(traceback.format_exc()))
        for line in (error["message"], error["why"], error["fix"], f"[{error['code']}]"):
            self.say(shown(str(line)))
        self._print_object({**self.result(), "error": error})
        return status

    def _print_object(self, value: dict[str, Any]) -> None:
        if self.json:
            # ASCII: valid whatever the terminal's encoding and whatever bytes a file name holds.
            _write(sys.stdout, dumps(value, indent=2) + "\n")

    def _set_up_logging(self) -> None:
        handler = _Said(self.progress)
        handler.addFilter(RedactingFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        level = logging.INFO if self.debug else logging.ERROR
        logging.basicConfig(handlers=[handler], level=level, force=True)


class _Said(logging.Handler):
    """Says log records as everything else is said, so that they do not cut through a live line."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        try:
            self._progress.say(self.format(record))
        except Exception:  # noqa: BLE001  as every handler of logging: no record ends a command
            self.handleError(record)


SessionParameter = Annotated[Session, Parameter(parse=False)]


def shown(text: str) -> str:
    """Return what may hold a file name for a terminal: on one line, control characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _write(stream: TextIO | None, text: str) -> None:
    """Write to a stream that may be closed, what it cannot encode (odd file names) as escapes."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def redact_lines(text: str) -> str:
    """Redact a traceback line by line, keeping its shape."""
    lines = text.splitlines()
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    return "".join(
        f"{indent}{redacted(line)}\n" for indent, line in zip(indents, lines, strict=True)
    )
