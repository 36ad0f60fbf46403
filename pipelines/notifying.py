"""Tell a command of the user's own how a run ended: mail, chat, a pager, whatever it is.

The command (`notify.command`) gets one JSON object on its stdin (docs/schemas/notification.json)
and decides where it goes; so nothing in that object names a person, a folder or a photo, and no
link in it opens without a key. Whatever the command does, the run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import IO, Any, Literal

from lora_prep.redaction import redacted
from lora_prep.settings import API_KEY_VARIABLE, PREFIX, SECRET_NAME, Settings, home_folder
from pipelines.runs import Run

__all__ = ["Happening", "Notice", "notice_of", "notify"]

Happening = Literal["done", "failed", "needs_attention", "expiring"]

SPOKEN = frozenset(
    {
        *("credentials", "storage", "training_failed", "dataset_not_fetched", "no_outputs"),
        *("submission_unknown", "needs_attention", "archive_failed", "result_expired"),
        *("lora_invalid", "lora_broken", "declined", "temporary", "too_many_requests"),
    }
)
"""Codes of errors whose words are passed on. Those of the others are about somebody's folder and
photos, whose names say who is meant; a code that is new here is one of the others."""
ABSOLUTE = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?[/\\][^\s\"',;]+")
HIDDEN = "[hidden]"
TAIL_BYTES = 4096  # of what the command wrote to stderr: as much as a pipe gives at once
DRAIN_S = 1.0  # for the rest of it; a child that the command left behind may hold it open

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a command is told of a run.

    event: what happened; status: the run's own; loras and error: as the run's record holds them;
    expires_at: until when the provider keeps a result that is not archived.
    """

    event: Happening
    run: str
    status: str | None = None
    loras: tuple[Mapping[str, Any], ...] = ()
    error: Mapping[str, Any] | None = None
    expires_at: datetime | None = None

    def to_json(self, private: Sequence[str] = ()) -> dict[str, Any]:
        """Return the object that the command gets; none of the `private` texts is in it."""
        return {
            "schema": 1,
            "event": self.event,
            "run": self.run,
            "status": self.status,
            "loras": [
                {"url": lora["url"].partition("?")[0], "sha256": lora["sha256"]}
                for lora in self.loras
            ],
            "error": self.error and _words(self.error, self.run, private),
            "expires_at": self.expires_at and self.expires_at.isoformat(),
        }


def notice_of(run: Run, event: Happening) -> Notice:
    """Return what is to be told of a run, from its record."""
    record = run.record()
    expires_at = record.get("expires_at")
    return Notice(
        event,
        run.id,
        status=record.get("status"),
        loras=tuple(record.get("loras") or ()),
        error=record.get("error"),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )


def notify(event: Notice, settings: Settings) -> None:
    """Run the user's command with the notice on its stdin, and wait for it.

    It never fails: a command that is missing, fails or hangs is a warning in the log, and one that
    hangs is killed with its children. What it writes is not shown.
    """
    command = shlex.split(settings.notify.command)
    if not command:
        return
    home = os.path.expanduser("~")  # noqa: PTH111  Path's own raises where there is none
    message = json.dumps(event.to_json((str(home_folder()), home)))
    command[0] = os.path.expanduser(command[0])  # noqa: PTH111
    try:
        wrong = _run(command, f"{message}\n".encode(), settings.notify.timeout_s)
    except (OSError, ValueError) as error:  # it is not there, is no program, has an odd argument
        wrong = f"{error}"
    if wrong:
        # Its arguments may hold a key, so only the program is named.
        said = redacted(wrong)
        _log.warning("%s was not told of the run %s: %s", Path(command[0]).name, event.run, said)


# ── the words ─────────────────────────────────────────────────────────────────────────────────


def _words(error: Mapping[str, Any], run: str, private: Sequence[str]) -> dict[str, str]:
    code = str(error.get("code"))
    if code not in SPOKEN:
        return {
            "code": code,
            "message": f"The run {run} ended with an error.",
            "why": "Its words may name people, folders and photos; they stay on its machine.",
            "fix": f"Look at it there: lora-prep status {run}",
        }
    names = ("message", "why", "fix")
    return {"code": code, **{name: _sayable(str(error.get(name)), private) for name in names}}


def _sayable(text: str, private: Sequence[str]) -> str:
    for one in filter(lambda one: len(one) > 1, private):  # a system's user may live in "/"
        text = text.replace(one, f"/{HIDDEN}")  # first: a blank in it would end it below
    return ABSOLUTE.sub(HIDDEN, redacted(text))


# ── the command ───────────────────────────────────────────────────────────────────────────────


def _run(command: Sequence[str], message: bytes, timeout_s: float) -> str:
    """Run a command to its end; return what went wrong, "" if nothing did."""
    with tempfile.TemporaryFile() as stdin:
        # A file, not a pipe: a command that does not read it cannot make us wait or fail.
        stdin.write(message)
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
    said = _Tail(process.stderr)
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout_s:g} s and was killed"
    finally:
        if process.returncode is None:  # also when we are interrupted
            _kill(process)
    return f"it ended with status {status}: {said.text()}" if status else ""


class _Tail:
    """The end of what a command writes: it may write gigabytes, and must not wait for a reader."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self._kept: deque[bytes] = deque(maxlen=2)
        self._thread = Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes] | None) -> None:
        if pipe is not None:
            with pipe, suppress(OSError):
                while data := os.read(pipe.fileno(), TAIL_BYTES):
                    self._kept.append(data)

    def text(self) -> str:
        """Return it, as far as it has come."""
        self._thread.join(DRAIN_S)
        return b"".join(self._kept).decode(errors="replace").strip() or "it said nothing"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and all that it started, which are a process group of their own."""
    if os.name == "nt":  # there are none there
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """Return our environment without our own keys; the AWS_* ones may be what it sends with."""
    ours = (PREFIX, API_KEY_VARIABLE)
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith(ours) and (SECRET_NAME.search(name) or "://" in value))
    }
