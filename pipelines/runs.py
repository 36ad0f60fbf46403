"""A run's folder: everything one command made, and its record.

`runs/<id>/` below the home folder holds report.html, contact_sheet.jpg, manifest.json, crops/,
dataset.zip, lora/, events.jsonl, run.json, and what the report is drawn from: drawing.json and
thumbnails/. run.json is the object that `lora-prep run --json` prints, written after every step, so
that what is known survives a crash at any line.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from lora_prep.embedded import Lock, is_held
from lora_prep.errors import Declined, TemporaryError
from lora_prep.events import Event, Listener
from lora_prep.settings import home_folder
from lora_prep.wording import is_amount

__all__ = [
    "Run",
    "Stamp",
    "all_runs",
    "begun_at",
    "cancelled",
    "every_run",
    "find_run",
    "find_run_of_data",
    "last_run",
    "new_run",
    "run_at",
    "run_by_id",
]

RECORD = "run.json"
LOCK = "lock"
CANCELLED = "cancelled"
EVENTS = "events.jsonl"
TAIL_BYTES = 8192  # the end of it, in which its last lines lie
MOMENT_S = 0.01
_ALONE = threading.local()  # paths: of the runs that this thread has to itself


class Stamp(NamedTuple):
    """A state of a file: when it was written, ns since 1970, its inode and its length."""

    changed_ns: int
    inode: int
    size_bytes: int

    @property
    def changed_at(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.changed_ns / 1e9, UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """A run's id and folder. The folder is made when the first thing is written to it."""

    id: str
    path: Path

    @property
    def report(self) -> Path:
        """The page that shows every photo with its verdict."""
        return self.path / "report.html"

    def make(self) -> None:
        """Make the folder, for its owner alone: it will hold photos of faces."""
        for folder in (self.path.parent, self.path):  # mkdir gives parents the default mode
            folder.mkdir(mode=0o700, exist_ok=True)

    def record(self) -> dict[str, Any]:
        """Return what is known of the run so far; {} before the first step."""
        try:
            record: dict[str, Any] = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return record

    @property
    def submitted(self) -> bool:
        """Whether a training was sent for this run, or may have been."""
        return bool(self.record().get("training"))

    @property
    def stamp(self) -> Stamp | None:
        """What tells one state of its record from another without reading it; None: none is there.

        Of a run that has ended the record is not written again: its stamp says when it ended.
        """
        try:
            seen = os.stat(f"{self.path}/{RECORD}")  # noqa: PTH116  a Path takes longer than it
        except OSError:
            return None
        return Stamp(seen.st_mtime_ns, seen.st_ino, seen.st_size)

    @property
    def is_cancelled(self) -> bool:
        """Whether its owner gave it up, and nobody has gone on with it since."""
        return os.path.exists(f"{self.path}/{CANCELLED}")  # noqa: PTH110  as for the stamp

    def mark_cancelled(self) -> None:
        """Say that its owner gave it up.

        In a file of its own: the record has one writer, and that may be who is told to stop.
        """
        (self.path / CANCELLED).touch(mode=0o600)

    def take_back(self) -> None:
        """Say that it goes on, whatever was said before."""
        (self.path / CANCELLED).unlink(missing_ok=True)

    @property
    def is_held(self) -> bool:
        """Whether a living process has it to itself now."""
        return os.name != "nt" and is_held(self.path / LOCK)

    def last_said(self) -> dict[str, Any] | None:
        """Return the last event, as events.jsonl has it."""
        return next(self.said(), None)

    def said(self, tail_bytes: int | None = TAIL_BYTES) -> Iterator[dict[str, Any]]:
        """Yield the events, the newest first, of the end of events.jsonl; None: of all of it."""
        try:
            with (self.path / EVENTS).open("rb") as file:
                size_bytes = file.seek(0, os.SEEK_END)
                file.seek(0 if tail_bytes is None else max(0, size_bytes - tail_bytes))
                lines = file.read().splitlines()
        except OSError:
            return
        for line in reversed(lines):
            try:
                said = json.loads(line)
            except ValueError:  # it is just being written, or the tail begins within it
                continue
            if isinstance(said, dict) and _is_event(said):
                yield said

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process and thread off this run: its files have one writer at a time.

        It can be nested. Whoever is killed leaves nothing behind: the kernel drops the lock.

        Raises:
            TemporaryError: another process works on this run.
        """
        mine = vars(_ALONE).setdefault("paths", set())
        if self.path in mine or os.name == "nt":  # no flock there
            yield
            return
        self.make()
        lock = Lock.try_take(self.path / LOCK)
        if lock is None:  # who asks whether it is held (`is_held`) holds it for an instant
            time.sleep(MOMENT_S)
            lock = Lock.try_take(self.path / LOCK)
        if lock is None:
            raise TemporaryError(
                f"Another process works on the run {self.id}.",
                why="Two at once would write the same files.",
                fix=f"Wait for it, or end it; then: lora-prep resume {self.id}",
            )
        with lock:
            mine.add(self.path)
            try:
                yield
            finally:
                mine.remove(self.path)

    def update(self, **facts: Any) -> None:
        """Add facts to the record: a mapping is merged into what it was, None takes a fact out."""
        self.make()
        record = {"schema": 1, "run": self.id} | self.record()
        for name, value in facts.items():
            old = record.get(name)
            if isinstance(value, Mapping) and isinstance(old, dict):
                record[name] = old | dict(value)
            elif value is None:
                record.pop(name, None)
            else:
                record[name] = value
        part = self.path / f"{RECORD}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)
            file.flush()
            os.fsync(file.fileno())  # the prediction id must outlive a power cut
        part.replace(self.path / RECORD)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add how long a stage took, s, to the record; nothing when it fails."""
        began = time.monotonic()
        yield
        self.update(seconds={stage: round(time.monotonic() - began, 2)})

    def listener(self, also: Listener) -> Listener:
        """Return a listener that passes every event on and writes what is new to events.jsonl.

        Of a count that goes on (bytes, photos, seconds) one event a second is written.
        """
        last: tuple[str, str] | None = None
        written_at = 0.0

        def listen(event: Event) -> None:
            nonlocal last, written_at
            also(event)
            now, what = time.monotonic(), (event.stage, event.message)
            if self.path.exists() and (what != last or now - written_at >= 1):
                last, written_at = what, now
                line = {"time": datetime.now(UTC).isoformat(), **asdict(event)}
                with (self.path / EVENTS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")

        return listen


@lru_cache(maxsize=10_000)  # a page asks for those of every run, every two seconds
def begun_at(run_id: str) -> datetime | None:
    """Return when a run was begun: its id says so."""
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def new_run() -> Run:
    """Return a run with a new id: sortable by time, random at the end, without any name."""
    run_id = f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"
    return Run(run_id, _runs_folder() / run_id)


def run_at(run_id: str) -> Run:
    """Return the run of an id, whether this machine has anything of it or not."""
    return Run(run_id, _runs_folder() / run_id)


def last_run() -> Run | None:
    """Return the newest run that has a report."""
    runs = sorted(_runs_folder().glob("*/report.html"), reverse=True)
    return Run(runs[0].parent.name, runs[0].parent) if runs else None


def all_runs() -> Iterator[Run]:
    """Yield every run that has a readable record, the newest first."""
    yield from (run for run, _ in _records())


def every_run() -> list[Run]:
    """Return every run that has a folder, the newest first; not each has a record."""
    folder = _runs_folder()
    try:
        names = os.listdir(folder)  # noqa: PTH208  each Path would be made twice
    except FileNotFoundError:
        return []
    return [Run(name, folder / name) for name in sorted(names, reverse=True)]


def run_by_id(run_id: str) -> Run | None:
    """Return a run of this machine by its id; an id that is none is not looked for on disk."""
    path = _runs_folder() / run_id
    return (
        Run(run_id, path) if re.fullmatch(r"[0-9a-z][0-9a-z-]*", run_id) and path.is_dir() else None
    )


def find_run(*, prediction_id: str) -> Run | None:
    """Return the run that submitted a prediction."""
    for run, record in _records():
        if (record.get("training") or {}).get("prediction_id") == prediction_id:
            return run
    return None


def find_run_of_data(data_url: str) -> Run | None:
    """Return the run that uploaded the zip a data URL leads to, whatever host serves it."""
    path = unquote(urlsplit(data_url).path)
    for run, record in _records():
        uploaded = (record.get("dataset") or {}).get("object", "").removeprefix("s3:/")
        key = uploaded.partition("/")[2].partition("/")[2]
        if key and path in (uploaded, f"/{key}"):
            return run
    return None


def cancelled(run_id: str) -> Declined:
    """Return the error of a run that was cancelled."""
    return Declined(
        f"The run {run_id} was cancelled.",
        why="Somebody said: lora-prep cancel.",
        fix=f"Go on all the same: lora-prep resume {run_id}",
    )


def _is_event(said: Mapping[str, Any]) -> bool:
    texts = (said.get("time"), said.get("stage"), said.get("message"), said.get("unit", ""))
    return all(isinstance(one, str) for one in texts) and all(
        is_amount(said.get(name)) for name in ("done", "total")
    )


def _records() -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield every run that has a readable record, the newest first."""
    for run in every_run():
        try:
            record = run.record()
        except (OSError, ValueError):
            continue  # one damaged record must not hide the others
        if record and isinstance(record, dict):
            yield run, record


def _runs_folder() -> Path:
    return home_folder() / "runs"
