"""Photos that every machine reaches: a folder here, or a prefix of a bucket, fetched for a while.

What is fetched is read only and stays as long as it is looked at. The bucket's keys become file
names, so each is checked: none may lead out of the folder that it is fetched into.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lora_prep.embedded import STORE_BUCKET
from lora_prep.errors import ConfigurationError, NoPhotos, StorageError, TemporaryError
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import StoredObject
from lora_prep.photos import FoundFile
from lora_prep.photos.decode import LARGEST_BYTES
from lora_prep.photos.kinds import PHOTO_SUFFIXES, is_system_file
from lora_prep.settings import EMBEDDED, PROVIDER_STORE, Settings
from lora_prep.stores import S3Store, StoreAccess
from pipelines.backends import connect_store
from pipelines.job_folders import S3, name_of

__all__ = ["fetched", "is_in_a_bucket", "subfolders"]

SUFFIXES = {*PHOTO_SUFFIXES, ".heif", ".hif", ".jpe", ".jfif", ".gif", ".bmp", ".txt", ""}
"""What photos and captions are called; inspection goes by the bytes, as everywhere."""
LARGEST_FOLDER_BYTES = 20_000_000_000
LARGEST_FOLDER_OBJECTS = 10_000
"""Far more than one person's photos: somebody named a whole bucket."""
SPARE_BYTES = 1_000_000_000  # what the disk must have left for crops and the zip
LONGEST_NAME_BYTES = 255  # of a file, on nearly every file system
AT_ONCE = 4
ATTEMPTS = 3  # boto3 does not retry a body that was cut
PHOTOS, INCOMING, SEEN = "photos", "incoming", "seen.jsonl"


def is_in_a_bucket(folder: Path | str) -> bool:
    """Whether a folder of photos is a prefix of a bucket."""
    return str(folder).startswith(S3)


@contextmanager
def fetched(
    folder: str, to: Path, settings: Settings, on_event: Listener = ignore
) -> Iterator[Path]:
    """Give a folder of this machine as it is, and one of a bucket as a copy below `to`.

    The copy is named as the prefix's last part, is its owner's alone, and is removed at the end;
    after a kill the next call with the same `to` goes on with what had come. `to` is one caller's
    at a time.

    Raises:
        NoPhotos: nothing at that prefix can be a photo.
        ConfigurationError: there is far more than one person's photos.
        StorageError, CredentialsError: the bucket cannot be read.
        TemporaryError: the disk has no room.
    """
    if not is_in_a_bucket(folder):
        yield Path(folder)
        return
    try:
        with _opened(folder, settings, on_event) as store:
            copy = _copied(store, _Place(to, name_of(folder)), on_event)
        yield copy
    finally:
        _remove(to)


def subfolders(url: str, settings: Settings, on_event: Listener = ignore) -> tuple[str, ...]:
    """Return the names of the folders at s3://bucket/prefix, sorted: for `jobs.expand`.

    Raises:
        StorageError, CredentialsError: the bucket cannot be listed.
    """
    with _opened(url, settings, on_event) as store:
        return tuple(sorted(store.folders()))


# ── which store ───────────────────────────────────────────────────────────────────────────────


@contextmanager
def _opened(url: str, settings: Settings, on_event: Listener) -> Iterator[S3Store]:
    """Open a bucket to read from, with the endpoint and the key of the settings.

    It is not tried out as the one that LoRAs are kept in: a key that only reads must do.
    """
    wanted = settings.store
    access = StoreAccess.from_url(
        url, endpoint_url=wanted.endpoint_url, region=wanted.region, profile=wanted.profile
    )
    if wanted.url in (EMBEDDED, PROVIDER_STORE) and access.bucket == STORE_BUCKET:
        with connect_store(settings, on_event) as own:
            yield S3Store(replace(own.access, prefix=access.prefix))
        return
    yield S3Store(access)


# ── what is copied ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a copy lies: photos/<name>/, beside it what is coming in and a list of what came."""

    to: Path
    name: str

    @property
    def copy(self) -> Path:
        return self.to / PHOTOS / (self.name if _is_safe(self.name) else PHOTOS)

    @property
    def incoming(self) -> Path:
        return self.to / INCOMING

    @property
    def seen(self) -> Path:
        return self.to / SEEN

    def make(self) -> None:
        for folder in (self.to, self.copy.parent, self.copy, self.incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.to.chmod(0o700)  # also one that was there: it will hold photos of faces


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An object that is copied. name: its path below the copy."""

    name: str
    object: StoredObject


def _copied(store: S3Store, place: _Place, on_event: Listener) -> Path:
    wanted, others = _wanted(store)
    _check_size(wanted, store.access.url)
    try:
        place.make()
        seen = _seen(place.seen)
        for path in _files_below(place.copy):
            if path.relative_to(place.copy).as_posix() not in {one.name for one in wanted}:
                path.unlink()  # of a call that was killed; it is gone from the bucket
        missing = [one for one in wanted if not _is_there(one, place, seen)]
        _check_room(sum(one.object.size_bytes for one in missing), place.to)
        _fetch(store, missing, place, on_event)
    except OSError as error:
        raise TemporaryError(
            "The photos could not be written to the disk.",
            why=f"{error.strerror or type(error).__name__}.",
            fix="Make room or give permission in LORA_PREP_HOME, then try again.",
        ) from error
    size = sum(one.object.size_bytes for one in wanted)
    stay = f"; {others} other objects stay there" if others else ""
    message = f"{len(wanted)} files from the bucket, {size / 1e6:.1f} MB{stay}"
    on_event(Event("prepare", message, kind="note"))
    return place.copy


def _wanted(store: S3Store) -> tuple[list[_Wanted], int]:
    """Return what may be a photo or a caption, and how many other objects there are."""
    here, wanted, others = store.key(""), {}, 0
    for number, (stored, _) in enumerate(store.listed("")):
        if number >= LARGEST_FOLDER_OBJECTS:
            raise _too_much(store.access.url, f"more than {LARGEST_FOLDER_OBJECTS} objects")
        name = stored.key.removeprefix(here)
        if name and not name.endswith("/"):  # some tools put an empty object for each folder
            if _may_be_a_photo(name) and 0 < stored.size_bytes <= LARGEST_BYTES:
                wanted[name] = _Wanted(name, stored)
            else:
                others += 1
    # A bucket may hold both a and a/b; a disk cannot.
    folders = {str(parent) for name in wanted for parent in PurePosixPath(name).parents}
    kept = [one for name, one in wanted.items() if name not in folders]
    if not kept:
        raise NoPhotos(
            f"There is no photo in {store.access.url}.",
            why=f"{others} other objects are there." if others else "Nothing is there.",
            fix="Check the spelling of bucket and prefix, and put at least 10 photos there.",
        )
    return kept, others + len(wanted) - len(kept)


def _may_be_a_photo(name: str) -> bool:
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts)  # "." and ".." among them
    if hidden or not all(map(_is_safe, parts)) or is_system_file(FoundFile(name, Path(name))):
        return False
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _is_safe(part: str) -> bool:
    """Say whether a part of a key names a file or a folder, on any system."""
    if part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST_NAME_BYTES:
        return False
    return not any(sign in part for sign in "/\\:\0\r\n")  # ":" is a drive or a stream on Windows


def _check_size(wanted: Sequence[_Wanted], url: str) -> None:
    size = sum(one.object.size_bytes for one in wanted)
    if size > LARGEST_FOLDER_BYTES:
        raise _too_much(url, f"{size / 1e9:.1f} GB")


def _too_much(url: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is too much in {url} to be one person's photos.",
        why=f"It holds {what}.",
        fix="Name the prefix of one person; for many, s3://bucket/prefix/* in a jobs file.",
    )


def _check_room(size_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size_bytes + SPARE_BYTES > free:
        raise TemporaryError(
            "There is no room for the photos on the disk.",
            why=f"{size_bytes / 1e6:.0f} MB are to come, {free / 1e6:.0f} MB are free, and "
            f"{SPARE_BYTES / 1e6:.0f} MB are to stay so.",
            fix="Make room where LORA_PREP_HOME is, then try again.",
        )


# ── copying ───────────────────────────────────────────────────────────────────────────────────


def _seen(path: Path) -> dict[str, str]:
    """Return the ETag that each file had that came before; a line that was cut counts for none."""
    seen: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):
                name, etag = json.loads(line)
                seen[name] = etag
    return seen


def _is_there(one: _Wanted, place: _Place, seen: dict[str, str]) -> bool:
    path = place.copy / one.name
    if one.object.etag is None or seen.get(one.name) != one.object.etag:
        return False
    return path.is_file() and path.stat().st_size == one.object.size_bytes


def _fetch(store: S3Store, missing: Sequence[_Wanted], place: _Place, on_event: Listener) -> None:
    """Copy the objects, a few at a time, and write down each one that has come."""

    def fetch(number: int) -> _Wanted:
        one, part = missing[number], place.incoming / str(number)
        _read(store, one.object, part)
        path = place.copy / one.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.replace(path)
        return one

    total, done = sum(one.object.size_bytes for one in missing), 0
    pool = ThreadPoolExecutor(AT_ONCE, "photos")
    try:
        with place.seen.open("a", encoding="utf-8") as seen:
            for one in pool.map(fetch, range(len(missing))):
                seen.write(json.dumps([one.name, one.object.etag]) + "\n")
                seen.flush()
                done += one.object.size_bytes
                on_event(Event("prepare", "fetching photos", done=done, total=total, unit="bytes"))
    finally:
        pool.shutdown(cancel_futures=True)


def _read(store: S3Store, stored: StoredObject, path: Path) -> None:
    for attempt in range(ATTEMPTS):
        try:
            _read_once(store, stored, path)
        except StorageError:
            if attempt + 1 == ATTEMPTS:
                raise
        else:
            return


def _read_once(store: S3Store, stored: StoredObject, path: Path) -> None:
    """Write an object's bytes to `path`, never more than it was listed with."""
    length = 0
    with path.open("wb") as file:
        for chunk in store.read(stored.key):
            length += len(chunk)
            if length > stored.size_bytes:
                break
            file.write(chunk)
    if length != stored.size_bytes:
        raise StorageError(
            f"A photo in the bucket {stored.bucket} is not what the bucket's list says.",
            why=f"The list says {stored.size_bytes} bytes, {length} came.",
            fix="Wait until nobody changes the photos there, then try again.",
        )


def _files_below(folder: Path) -> list[Path]:
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]


def _remove(to: Path) -> None:
    """Remove what was made in `to`, and `to` itself if nothing else is there."""
    for folder in (PHOTOS, INCOMING):
        shutil.rmtree(to / folder, ignore_errors=True)
    with suppress(OSError):
        (to / SEEN).unlink(missing_ok=True)
        to.rmdir()
