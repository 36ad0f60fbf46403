"""How far the archive of one training has come, on disk: `archive.json` in the folder of its files.

    submitted -> completed -> downloaded -> uploaded -> verified -> manifest -> cleaned

A state is written when what it says is done and durable, so a crash at any line repeats one step at
most; every step may be repeated. No link is written down.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from lora_prep.archive.part import sync_folder
from lora_prep.model import LoraFacts, Role

__all__ = [
    "ArchiveState",
    "Journal",
    "KeptFile",
    "note_cleaned",
    "note_submitted",
    "read_journal",
    "start_over",
    "starts_over",
    "write_durably",
    "write_journal",
]

JOURNAL = "archive.json"


class ArchiveState(StrEnum):
    """The states, in their order.

    completed: the provider has a result; downloaded: every file is here, whole and checked;
    uploaded: and in the bucket; verified: the bucket gives back the same bytes; manifest: the
    sidecar, which says so, is in the bucket; cleaned: the data set's zip is gone from it.
    """

    SUBMITTED = "submitted"
    COMPLETED = "completed"
    DOWNLOADED = "downloaded"
    UPLOADED = "uploaded"
    VERIFIED = "verified"
    MANIFEST = "manifest"
    CLEANED = "cleaned"


_ORDER = list(ArchiveState)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file of a training. stem: its local name without the ending; key: in the bucket."""

    stem: str
    role: Role
    facts: LoraFacts
    key: str
    etag: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """How far it has come. deadline: when the provider forgets the result, None: not known yet."""

    prediction_id: str
    state: ArchiveState
    deadline: datetime | None = None
    files: tuple[KeptFile, ...] = ()

    def has(self, state: ArchiveState) -> bool:
        """Whether a state was reached."""
        return _ORDER.index(self.state) >= _ORDER.index(state)

    def at(self, state: ArchiveState, files: Sequence[KeptFile] | None = None) -> Journal:
        """Return the journal with a state reached; one that was reached before stays."""
        reached = max(self.state, state, key=_ORDER.index)
        return replace(self, state=reached, files=self.files if files is None else tuple(files))


def note_submitted(folder: Path, prediction_id: str) -> None:
    """Write down that a training was submitted, unless its archive has come further already."""
    if _of(folder, prediction_id) is None:
        write_journal(folder, Journal(prediction_id, ArchiveState.SUBMITTED))


def note_cleaned(folder: Path) -> None:
    """Write down that the photos are gone from the bucket, where the LoRA is in it."""
    journal = read_journal(folder)
    if journal and journal.has(ArchiveState.MANIFEST):
        write_journal(folder, journal.at(ArchiveState.CLEANED))


def start_over(folder: Path, prediction_id: str) -> None:
    """Let the archive of a training begin again, with what is in the folder or at the provider.

    Nothing is deleted, here or in the bucket: what is whole is kept, and read back again.
    """
    journal = _of(folder, prediction_id) or Journal(prediction_id, ArchiveState.COMPLETED)
    again = ArchiveState.DOWNLOADED if journal.files else ArchiveState.COMPLETED
    write_journal(folder, replace(journal, state=again))


def starts_over(folder: Path) -> bool:
    """Whether the archive has files here at most, also where it had come further once."""
    journal = read_journal(folder)
    begun = {ArchiveState.COMPLETED, ArchiveState.DOWNLOADED}
    return journal is not None and journal.state in begun


def read_journal(folder: Path) -> Journal | None:
    """Return the journal of a folder; None when there is none that makes sense."""
    try:
        values = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        deadline = values["deadline"]
        return Journal(
            values["prediction_id"],
            ArchiveState(values["state"]),
            deadline and datetime.fromisoformat(deadline),
            tuple(_file(file) for file in values["files"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_journal(folder: Path, journal: Journal) -> None:
    """Write the journal; it outlives a power cut, and is never torn."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    values = {
        "schema": 1,
        "prediction_id": journal.prediction_id,
        "state": journal.state.value,
        "deadline": journal.deadline and journal.deadline.isoformat(),
        "files": [asdict(file) for file in journal.files],
    }
    write_durably(folder / JOURNAL, json.dumps(values, indent=2))


def write_durably(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def _of(folder: Path, prediction_id: str) -> Journal | None:
    journal = read_journal(folder)
    return journal if journal and journal.prediction_id == prediction_id else None


def _file(values: dict[str, Any]) -> KeptFile:
    return KeptFile(**{**values, "facts": LoraFacts.from_json(values["facts"])})
