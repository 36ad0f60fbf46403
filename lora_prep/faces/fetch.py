"""Fetch a known pack: its zip, once, into the home folder, whole or not at all.

The zip is not believed: its size is capped, its members are looked at before one is read, and of
them only the two models are taken, by their names, and must hash to what is known of them (or, of
a pack whose hashes nobody publishes, to what came the first time).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from lora_prep.errors import ConfigurationError
from lora_prep.events import Event, Listener, ignore
from lora_prep.faces.declaration import (
    PACK_JSON,
    Declaration,
    DeclaredFile,
    DeclaredSource,
    read_declaration,
)
from lora_prep.faces.download import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, download_zip
from lora_prep.faces.find import fetched_pack
from lora_prep.faces.known import MODEL_ZOO_URL, KnownPack
from lora_prep.faces.packs import FacePack, verify_pack
from lora_prep.faces.terms import require_terms
from lora_prep.faces.unpack import take_models

__all__ = ["Fetched", "fetch_pack"]

PART = ".part-"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A pack that is there and whole; sha256: one hash of both models, as `verify_pack` gives.

    downloaded: False when it was there already.
    """

    pack: FacePack
    sha256: str
    downloaded: bool


def fetch_pack(
    known: KnownPack,
    home: Path,
    *,
    accept_noncommercial: bool,
    base_url: str | None = None,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_timeout_s: float = READ_TIMEOUT_S,
    on_event: Listener = ignore,
) -> Fetched:
    """Fetch a pack into `home`, or find that it is there and whole; a damaged one is mended.

    base_url: where `<name>.zip` lies; InsightFace's own releases by default.

    Raises:
        ConfigurationError: the terms were not accepted, the server has no such file, what it sends
            is not the pack, or it cannot be written.
        TemporaryError: the server did not answer, or broke off.
    """
    folder = known.folder(home)
    require_terms(known.at(folder, known.models, ""), home, accept=accept_noncommercial)
    url = f"{(base_url or MODEL_ZOO_URL).rstrip('/')}/{known.name}.zip"
    with _written(known, folder):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder.parent, on_event):
            if there := _whole(known, home):
                return there
            before = _fetched_before(folder)
            with TemporaryDirectory(dir=folder.parent, prefix=PART) as place:
                archive = Path(place) / "pack.zip"
                sha256 = download_zip(
                    known.name,
                    url,
                    archive,
                    limit_bytes=_limit(known),
                    connect_timeout_s=connect_timeout_s,
                    read_timeout_s=read_timeout_s,
                    on_event=on_event,
                )
                now = datetime.now(UTC).isoformat(timespec="seconds")
                source = DeclaredSource(url, sha256, archive.stat().st_size, now)
                on_event(Event("prepare", f"unpacking {known.name}"))
                new = Path(place) / "pack"
                new.mkdir(mode=0o700)
                take_models(archive, known.models, new)
                _declare(known, before, new, source)
                _put(new, folder)
            pack = fetched_pack(known, home)
            return Fetched(pack, verify_pack(pack), downloaded=True)


def _limit(known: KnownPack) -> int:
    """A tenth more than was published, in case that it is packed anew."""
    return known.archive_bytes + known.archive_bytes // 10


def _declare(
    known: KnownPack, before: Declaration | None, new: Path, source: DeclaredSource
) -> None:
    """Compare the models with what they must be, and write pack.json beside them."""
    pins = (before and before.models) or known.models
    files = []
    for model, pin in zip(known.models, pins, strict=True):
        path = new / model.name
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != (model.sha256 or pin.sha256 or found):
            raise ConfigurationError(
                f"The face pack {known.name!r} that came is not the one that is known.",
                why=f"{model.name} does not match its hash; nothing of it was kept.",
                fix="Try again. If it stays so, the server has other models: get the pack "
                "elsewhere and use it as a folder.",
            )
        files.append(DeclaredFile(model.name, found, path.stat().st_size))
    declaration = Declaration(
        name=known.name,
        metric=known.metric,
        cut=known.cut,
        detection_threshold=known.detection_threshold,
        licence=known.licence,
        noncommercial=known.noncommercial,
        detector=files[0],
        recogniser=files[1],
        source=source,
    )
    with (new / PACK_JSON).open("w", encoding="utf-8") as text:
        text.write(declaration.to_text())
        text.flush()
        os.fsync(text.fileno())


def _put(new: Path, folder: Path) -> None:
    if folder.exists():
        # Each file is what it was at first, so a pack that is half mended is only damaged still.
        for path in new.iterdir():
            path.replace(folder / path.name)
    else:
        new.rename(folder)


def _whole(known: KnownPack, home: Path) -> Fetched | None:
    try:
        pack = fetched_pack(known, home)
        return Fetched(pack, verify_pack(pack), downloaded=False)
    except ConfigurationError:
        return None


def _fetched_before(folder: Path) -> Declaration | None:
    """Return what was fetched into the folder before; refuse a folder that is not ours."""
    if not folder.exists():
        return None
    with suppress(ConfigurationError):
        if declaration := read_declaration(folder):
            return declaration
    raise ConfigurationError(
        f"The folder {folder} is in the way.",
        why=f"It holds no sound {PACK_JSON}, so it cannot be told what was fetched into it.",
        fix=f"Move it away and fetch again, or use it as it is: --face-pack {folder}",
    )


@contextmanager
def _alone(faces: Path, on_event: Listener) -> Iterator[None]:
    """Fetch one at a time, and clear away what a killed one left."""
    with (faces / ".lock").open("w") as lock:
        with suppress(ImportError):  # where there is no flock, two fetches both download
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_event(Event("prepare", "waiting for another fetch"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left in faces.glob(f"{PART}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def _written(known: KnownPack, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        needed = 2 * known.archive_bytes / 1e6
        raise ConfigurationError(
            f"The face pack {known.name!r} cannot be kept in {folder.parent}.",
            why=f"{error.strerror or error}.",
            fix=f"Make {needed:.0f} MB of room there, or set LORA_PREP_HOME to another folder.",
        ) from error
