"""What has come so far of a file: `<name>.part`, and in `<name>.part.json` what it is a part of.

A part may be gone on with only while the server proves that the file is still the same one: by its
ETag, or where it has none by its Last-Modified. The link is not written down: it is a secret.

Bytes are hashed on their way to the disk, by a thread of its own: hashlib lets go of the
interpreter, so hashing costs no time while a network, a disk and a second core are there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

__all__ = ["Note", "Part", "sync_folder"]

BLOCK = 1 << 20  # bytes: what comes in pieces of 64 kB is written and hashed in blocks of this


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

    @contextmanager
    def growing(self, begin: int) -> Iterator[_Growing]:
        """Open the part to add bytes after its first `begin` ones; all that came is kept."""
        with (
            FileIO(self.path, "r+b" if begin else "w+b") as file,
            ThreadPoolExecutor(1, "sha256") as hashing,
        ):
            growing = _Growing(file, hashing)
            try:
                yield growing
            finally:
                growing.flush()

    def sha256(self) -> str:
        """Return the hash of what has come, in hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def finish(self) -> None:
        """Give the whole file its name; it survives a power cut from here on."""
        with self.path.open("r+b") as file:  # Windows syncs what may be written only
            os.fsync(file.fileno())
        self.path.replace(self.whole)
        self.note_path.unlink(missing_ok=True)
        sync_folder(self.whole.parent)


class _Growing:
    """A part that is open; bytes are added at its end."""

    def __init__(self, file: FileIO, hashing: ThreadPoolExecutor) -> None:
        self._file = file
        self._digest = hashlib.file_digest(file, "sha256")  # of what is there; at its end now
        self._hashing = hashing
        self._hashed: Future[None] | None = None
        # One is filled while the other one is hashed. Made once: fresh memory for every block
        # costs a fifth of the whole time in page faults.
        self._block, self._other = memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK))
        self._filled = 0

    def add(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            OSError: the disk did not take them.
        """
        left = memoryview(piece)
        while left:
            end = min(self._filled + len(left), BLOCK)
            taken = end - self._filled
            self._block[self._filled : end] = left[:taken]
            left, self._filled = left[taken:], end
            if self._filled == BLOCK:
                self.flush()

    def flush(self) -> None:
        """Write what is gathered.

        Raises: as `add`.
        """
        block, self._filled = self._block[: self._filled], 0
        left = block
        while left:
            left = left[self._file.write(left) or 0 :]
        self._wait()
        self._hashed = self._hashing.submit(self._digest.update, block)
        self._block, self._other = self._other, self._block

    def sha256(self) -> str:
        """Return the hash of the whole part, in hexadecimal digits."""
        self.flush()
        self._wait()
        return str(self._digest.hexdigest())

    def _wait(self) -> None:
        if self._hashed:
            self._hashed.result()


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
