"""Take the two models out of a zip that nobody vouches for."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lora_prep.errors import ConfigurationError
from lora_prep.faces.packs import ModelPair

__all__ = ["take_models"]

MAX_MEMBERS = 100
MAX_MODEL_BYTES = 512 << 20
"""Twice the largest known model (glintr100, 261 MB)."""

MAX_TOTAL_BYTES = 1 << 30
"""Twice the largest known pack, unpacked."""

CHUNK_BYTES = 1 << 20
ENCRYPTED = 0x1
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def take_models(archive: Path, models: ModelPair, folder: Path) -> None:
    """Unpack two models, wherever in the zip they lie, flat into a folder.

    Every member is looked at first: one that would be dangerous to unpack condemns the zip, even
    though nothing is ever written under a name that the zip gives.

    Raises:
        ConfigurationError: it is no sound zip, or not one of these two models.
        OSError: a model cannot be written.
    """
    with _sound():
        opened = zipfile.ZipFile(archive)
    with opened as source:
        members = source.infolist()
        _require(len(members) <= MAX_MEMBERS, f"it has {len(members)} members")
        for member in members:
            _require_harmless(member)
        total = sum(member.file_size for member in members)
        _require(total <= MAX_TOTAL_BYTES, f"it would unpack to {total / 1e6:.0f} MB")
        for model in models:
            named = [one for one in members if PurePosixPath(one.filename).name == model.name]
            _require(len(named) == 1, f"it holds {model.name} {len(named)} times")
            with (folder / model.name).open("wb") as file:
                for chunk in _chunks(source, named[0]):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())


def _require_harmless(member: zipfile.ZipInfo) -> None:
    path = PurePosixPath(member.filename)
    kind = stat.S_IFMT(member.external_attr >> 16)
    outside = path.is_absolute() or ".." in path.parts or {"\\", ":", "\0"} & set(member.filename)
    name = f"its member {member.filename[:80]!r}"
    _require(not outside, f"{name} would lie outside")
    _require(kind in (0, stat.S_IFREG, stat.S_IFDIR), f"{name} is no plain file")
    _require(not member.flag_bits & ENCRYPTED, f"{name} is encrypted")
    _require(member.compress_type in METHODS, f"{name} is packed in an unusual way")
    _require(member.file_size <= MAX_MODEL_BYTES, f"{name} is too large")


def _chunks(source: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with _sound(), source.open(member) as packed:
        while chunk := packed.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _sound() -> Iterator[None]:
    """Say of whatever zipfile raises over broken bytes that the zip is not sound."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise _unsound(f"{type(error).__name__}: {error}") from error


def _require(holds: bool, why_not: str) -> None:
    if not holds:
        raise _unsound(why_not)


def _unsound(why: str) -> ConfigurationError:
    return ConfigurationError(
        "What came is not a face pack.",
        why=f"The zip cannot be used: {why.rstrip('.')}.",
        fix="Try again; if it stays so, get the pack elsewhere and use it as a folder.",
    )
