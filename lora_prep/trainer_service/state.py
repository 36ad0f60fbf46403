"""The folder that outlives a restart: the task table, outputs, uploads, and two secrets.

It holds the links to people's photos and the key of the service, so it is its owner's alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

__all__ = ["StateFolder", "open_state_folder"]


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The places inside the folder; `open_state_folder` makes them."""

    path: Path

    @property
    def database(self) -> Path:
        """The task table."""
        return self.path / "tasks.sqlite"

    @property
    def downloads(self) -> Path:
        """Where data sets lie, nameless, while they are counted."""
        return self.path / "downloads"

    @property
    def outputs(self) -> Path:
        """The LoRA files, until their links expire."""
        return self.path / "outputs"

    @property
    def media(self) -> Path:
        """What clients uploaded, until its links expire."""
        return self.path / "media"

    @property
    def key_file(self) -> Path:
        """The key that clients send when the environment gives none."""
        return self.path / "api_key"

    def api_key(self) -> str:
        """Return the kept key; the first call makes it."""
        return _kept_secret(self.key_file)

    def link_secret(self) -> bytes:
        """Return the secret behind links and webhook signatures; the first call makes it."""
        return _kept_secret(self.path / "link_secret").encode()

    def clean(self) -> None:
        """Remove what a killed process left: data sets and half-written outputs.

        Call it only while holding the task table, so that no other process is at work here.
        """
        parts = (*self.outputs.glob("*.part"), *self.media.glob("*.part"))
        for leftover in (*self.downloads.iterdir(), *parts):
            leftover.unlink()


def open_state_folder(path: Path) -> StateFolder:
    """Make the folder (0700) if it is not there yet, and its places."""
    state = StateFolder(path.absolute())
    state.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (state.downloads, state.outputs, state.media):
        place.mkdir(mode=0o700, exist_ok=True)
    return state


def _kept_secret(path: Path) -> str:
    """Return the secret in the file; make both first if there is none.

    It is written beside and linked into place: a reader finds a whole secret or none, and of two
    processes that start together one wins and both use its secret.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    return path.read_text(encoding="ascii").strip()
