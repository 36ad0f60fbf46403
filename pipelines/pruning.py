"""Letting go of runs that ended long ago: their photos' crops, reports and rows of the engine.

Never of one of which anything is left to do, or whose LoRA the provider may still have and nobody
has archived. The ledger is not touched: what was paid for stays known.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lora_prep.errors import TemporaryError
from lora_prep.settings import Settings, home_folder
from pipelines.looking import Looker, Row
from pipelines.runs import Run, run_by_id

__all__ = ["Old", "old_runs", "prune"]

PRUNED = "pruned"
"""Folder of what is being removed: a run whose removal was cut off is none any more."""
OVER = frozenset({None, "archived", "failed", "refused", "released", "cancelled"})


@dataclass(frozen=True, slots=True)
class Old:
    """A run that ended long ago. status: how it ended; size_bytes: of its folder."""

    run: str
    name: str | None
    status: str | None
    ended_at: datetime
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the run as `runs prune --json` prints it."""
        return {
            "run": self.run,
            "name": self.name,
            "status": self.status,
            "ended_at": self.ended_at.isoformat(),
            "bytes": self.size_bytes,
        }


def old_runs(looker: Looker, settings: Settings, *, older_than: timedelta) -> list[Old]:
    """Return the runs of this machine that may be removed, the oldest first.

    Raises:
        TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
    """
    now = datetime.now(UTC)
    found = [
        (row, run)
        for row in looker.rows()
        if row.here and (run := run_by_id(row.run)) and _is_over(row, settings, now, older_than)
    ]
    held = looker.held(run for _, run in found)
    old = [
        Old(row.run, row.name, row.status, row.changed_at, _size_bytes(run.path))
        for row, run in found
        if row.run not in held and row.changed_at
    ]
    return sorted(old, key=lambda one: one.ended_at)


def prune(looker: Looker, old: Sequence[Old]) -> Iterator[Old]:
    """Remove runs, and yield each that is gone; one that somebody goes on with meanwhile stays.

    Raises:
        TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
        OSError: a folder cannot be removed.
    """
    client = looker.known.client() if old else None
    for one in old:
        run = run_by_id(one.run)
        if run is None or not _still_is(run, one):
            continue
        try:
            with run.alone():
                if client:  # first: a folder that is still there is found again
                    client.forget([one.run])
                _remove(run)
        except TemporaryError:
            if run.is_held:
                continue
            raise
        yield one
    shutil.rmtree(home_folder() / PRUNED, ignore_errors=True)  # also what was cut off before


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _is_over(row: Row, settings: Settings, now: datetime, older_than: timedelta) -> bool:
    if not row.ended or row.held or row.changed_at is None:
        return False
    return now - row.changed_at > older_than and not _may_be_at_provider(row, settings, now)


def _may_be_at_provider(row: Row, settings: Settings, now: datetime) -> bool:
    """Whether the provider may have a LoRA that is in no archive, or may come to have it."""
    if row.status == "archived":
        return False
    if row.expires_at and row.expires_at > now:
        return True
    if row.provider_state in OVER or row.changed_at is None:
        return False
    from lora_prep.archive import KEPT_FOR

    trained_at = row.changed_at + timedelta(seconds=settings.trainer.wait_s)
    return row.expires_at is None and trained_at + KEPT_FOR > now


def _still_is(run: Run, one: Old) -> bool:
    return run.stamp is not None and run.stamp.changed_at == one.ended_at


def _remove(run: Run) -> None:
    """Take a run away at once, then delete it: what is half deleted must not look like a run."""
    pruned = home_folder() / PRUNED
    pruned.mkdir(mode=0o700, exist_ok=True)
    gone = pruned / run.id
    shutil.rmtree(gone, ignore_errors=True)
    run.path.rename(gone)
    shutil.rmtree(gone)


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
