"""One command's talk with its user: data on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from json import dumps
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.exit_status import INTERRUPTED, UNEXPECTED, exit_status
from lora_prep.cli.progress import Progress, make_progress
from lora_prep.errors import LoraPrepError
from lora_prep.events import Event
from lora_prep.redaction import RedactingFilter, redacted

__all__ = ["Session", "SessionParameter"]


@dataclass(slots=True)
class Session:
    """What a command says and returns.

    json: stdout gets one object and nothing else; debug: tracebacks and the log go to stderr.
    `result` gives the object of `--json`; it is asked for at the end, also after an error, so
    that a failure carries all that is known. `resume` gives the command that takes up what an
    interruption leaves running, if anything.
    """

    json: bool = False
    debug: bool = False
    result: Callable[[], dict[str, Any]] = field(default=lambda: {"schema": 1})
    resume: Callable[[], str | None] = field(default=lambda: None)
    progress: Progress = field(default_factory=make_progress)

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
            sys.stdout.write(printable(f"{text}\n", sys.stdout.encoding))

    def run(self, command: Callable[[], None]) -> int:
        """Run a command, print what it has to say, and return the exit status."""
        self._set_up_logging()
        try:
            command()
        except LoraPrepError as error:
            return self._fail(error.to_json(), exit_status(error))
        except KeyboardInterrupt:
            return self._fail(self._interruption(), INTERRUPTED)
        except BrokenPipeError:
            return UNEXPECTED  # whoever read stdout has left: nobody to tell
        except Exception as error:  # noqa: BLE001  the last door: never a bare traceback
            return self._fail(_unexpected(error), UNEXPECTED)
        self.progress.close()
        self._print_object(self.result())
        return 0

    def _fail(self, error: dict[str, str | bool], status: int) -> int:
        self.progress.close()
        if self.debug:
            sys.stderr.write(redact_lines(traceback.format_exc()))
        four_lines = [error["message"], error["why"], error["fix"], f"[{error['code']}]"]
        text = "".join(f"{line}\n" for line in four_lines)
        sys.stderr.write(printable(text, sys.stderr.encoding))
        self._print_object({**self.result(), "error": error})
        return status

    def _interruption(self) -> dict[str, str | bool]:
        resume = self.resume()
        return {
            "code": "interrupted",
            "message": "Stopped waiting." if resume else "Stopped.",
            "why": "You interrupted it; the training itself goes on."
            if resume
            else "You interrupted it; nothing was submitted.",
            "fix": f"Get the result with: {resume}" if resume else "Run the same command again.",
            "retryable": True,
        }

    def _print_object(self, value: dict[str, Any]) -> None:
        if self.json:
            # ASCII: valid whatever the terminal's encoding and whatever bytes a file name holds.
            sys.stdout.write(dumps(value, indent=2) + "\n")

    def _set_up_logging(self) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(RedactingFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        level = logging.INFO if self.debug else logging.ERROR
        logging.basicConfig(handlers=[handler], level=level, force=True)


SessionParameter = Annotated[Session, Parameter(parse=False)]


def printable(text: str, encoding: str | None) -> str:
    """Return `text` with what the stream cannot encode (odd file names) written as escapes."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def redact_lines(text: str) -> str:
    """Redact a traceback line by line, keeping its shape."""
    lines = text.splitlines()
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    return "".join(
        f"{indent}{redacted(line)}\n" for indent, line in zip(indents, lines, strict=True)
    )


def _unexpected(error: Exception) -> dict[str, str | bool]:
    return {
        "code": "unexpected",
        "message": "Something went wrong that lora-prep did not expect.",
        "why": f"{type(error).__name__}: {redacted(str(error))}",
        "fix": "Run it again with --debug and report what it prints.",
        "retryable": False,
    }
