"""One command's talk with its user: data on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Annotated, Any, TextIO

from cyclopts import Parameter

from lora_prep.cli.exit_status import INTERRUPTED, UNEXPECTED, exit_status
from lora_prep.cli.progress import Progress, make_progress
from lora_prep.errors import LoraPrepError, unforeseen
from lora_prep.events import Event
from lora_prep.redaction import RedactingFilter, redacted

__all__ = ["Session", "SessionParameter", "shown"]


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
        self.progress.show(event)

    def say(self, text: str) -> None:
        """Say one line to the person, on stderr."""
        self.progress.say(text)

    def answer(self, text: str) -> None:
        """Print data for people on stdout; with --json it is left to the object."""
        if not self.json:
            self.progress.close()
            _write(sys.stdout, f"{text}\n")

    def run(self, command: Callable[[], None]) -> int:
        """Run a command, print what it has to say, and return the exit status."""
        self._set_up_logging()
        try:
            status = self._run(command)
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
        self.progress.close()
        self._print_object(self.result())
        return self.status

    def _fail(self, error: Mapping[str, str | bool], status: int) -> int:
        self.progress.close()
        if self.debug:
            _write(sys.stderr, redact_lines(traceback.format_exc()))
        four_lines = [error["message"], error["why"], error["fix"], f"[{error['code']}]"]
        _write(sys.stderr, "".join(f"{shown(str(line))}\n" for line in four_lines))
        self._print_object({**self.result(), "error": error})
        return status

    def _print_object(self, value: dict[str, Any]) -> None:
        if self.json:
            # ASCII: valid whatever the terminal's encoding and whatever bytes a file name holds.
            _write(sys.stdout, dumps(value, indent=2) + "\n")

    def _set_up_logging(self) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(RedactingFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        level = logging.INFO if self.debug else logging.ERROR
        logging.basicConfig(handlers=[handler], level=level, force=True)


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
