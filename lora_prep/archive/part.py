"""What has come so far of a file: `<name>.part`, and in `<name>.part.json` what it is a part of.

A part may be gone on with only while the server proves that the file is still the same one: by its
ETag, or where it has none by its Last-Modified. The link is not written down: it is a secret.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Note", "Part", "sync_folder"]


@dataclass(frozen=True, slots=True)
class Note:
    """What the server said of the file. validator: what If-Range takes; total: bytes in all."""

    validator: str | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of the file that `whole` will be."""

    whole: Path

    @property
    def path(self) -> Path:
        """Where the bytes are that have come."""
        return self.whole.with_name(f"{self.whole.name}.part")

    @property
    def note_path(self) -> Path:
        """Where the note lies."""
        return self.whole.with_name(f"{self.whole.name}.part.json")

    def state(self) -> tuple[int, Note | None]:
        """Return how many bytes can be kept, and the note; (0, None) when none can."""
        try:
            note = Note(**json.loads(self.note_path.read_text(encoding="utf-8")))
            have = self.path.stat().st_size
        except (OSError, ValueError, TypeError):
            return 0, None
        usable = note.validator and (note.total is None or have <= note.total)
        return (have, note) if usable else (0, None)

    def remember(self, note: Note) -> None:
        """Write the note, before the first byte that it is about."""
        new = self.note_path.with_name(f"{self.note_path.name}.new")
        new.write_text(json.dumps(asdict(note)), encoding="utf-8")
        new.replace(self.note_path)

    def drop(self) -> None:
        """Forget what has come."""
        # The bytes first: a note without bytes is harmless, bytes with another note are not.
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the whole file its name; it survives a power cut from here on."""
        with self.path.open("r+b") as file:  # Windows syncs what may be written only
            os.fsync(file.fileno())
        self.path.replace(self.whole)
        self.note_path.unlink(missing_ok=True)
        sync_folder(self.whole.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
