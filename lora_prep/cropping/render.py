"""Cut the squares and write them as JPEG without any metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lora_prep.errors import DatasetError
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Box, Crop, Photo, Verdict
from lora_prep.photos import UnreadablePhoto, open_crop
from lora_prep.workers import side_by_side

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["crop_photos"]

JPEG_QUALITY = 95
JPEG_SUBSAMPLING = 0  # 4:4:4: keeps the colour of skin at full resolution

PREVIEW_SIDE_PX = 368
"""Side of the small copy: the widest cell of the contact sheet."""

PREVIEW_QUALITY = 80

VERSION = 2
"""Raised with every change of the pixels or bytes of a crop, so that no cached one is used."""


class _Jpeg(NamedTuple):
    """The bytes of a picture and their SHA-256, which is wanted twice and takes a while."""

    data: bytes
    sha256: str


def crop_photos(
    kept: Sequence[Verdict],
    folder: Path,
    *,
    size_px: int,
    captions: Mapping[str, str] | None = None,
    cache: Path | None = None,
    workers: int = 0,
    on_event: Listener = ignore,
) -> tuple[Crop, ...]:
    """Write one square JPEG per kept photo into `folder` as 0001.jpg, 0002.jpg, ...

    A crop is `size_px` on each side, or smaller where the photo is: never enlarged. The names are
    neutral and follow the hashes of the photos, so that the same photos give the same files
    whatever they are called; what they were made of is in the returned values and stays on this
    machine. A small copy of each goes to `folder`/previews. captions: texts by the photo's name.
    workers: photos cropped side by side, 0 is one per core. cache: a folder of crops made before.
    """
    previews = folder / "previews"
    previews.mkdir(parents=True, exist_ok=True)
    if cache:
        with suppress(OSError):  # a cache that cannot be kept is no reason to fail
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    ordered = sorted(kept, key=lambda verdict: verdict.photo.sha256 if verdict.photo else "")

    def crop(task: tuple[int, Verdict]) -> Crop:
        number, verdict = task
        caption = (captions or {}).get(verdict.name)
        return _crop_photo(verdict, folder / f"{number:04d}.jpg", size_px, caption, cache)

    return tuple(
        side_by_side(
            crop,
            list(enumerate(ordered, start=1)),
            workers=workers,
            on_done=lambda done: on_event(
                Event("prepare", "cropping", done=done, total=len(ordered))
            ),
        )
    )


def _crop_photo(
    verdict: Verdict, path: Path, size_px: int, caption: str | None, cache: Path | None
) -> Crop:
    photo, box = verdict.photo, verdict.crop
    if photo is None or box is None:
        raise ValueError(f"{verdict.name} has no face to crop")
    try:
        jpeg, preview = _cached(photo, box, size_px, cache)
    except UnreadablePhoto as unreadable:
        raise DatasetError(
            f"{photo.name} could be read when it was inspected and cannot be read now.",
            why=unreadable.reason.hint,
            fix="Leave the folder alone while it is prepared, and run the command again.",
        ) from unreadable
    path.write_bytes(jpeg.data)
    preview_path = path.parent / "previews" / path.name
    preview_path.write_bytes(preview.data)
    return Crop(
        name=path.name,
        path=path,
        preview=preview_path,
        source=photo.name,
        source_sha256=photo.sha256,
        box=box,
        size_px=min(size_px, int(box.width)),
        sha256=jpeg.sha256,
        caption=caption,
    )


def _cached(photo: Photo, box: Box, size_px: int, cache: Path | None) -> tuple[_Jpeg, _Jpeg]:
    """Return the crop and its preview as JPEG, from the cache if they were made before."""
    if cache is None:
        return _render(photo, box, size_px)
    from PIL import __version__ as pillow

    what = f"{VERSION} {pillow} {photo.sha256} {photo.turned_deg} {box.to_json()} {size_px}"
    entry = cache / f"{hashlib.sha256(what.encode()).hexdigest()}.jpg"
    preview = entry.with_suffix(".preview.jpg")
    try:
        known = _sealed(entry), _sealed(preview)
    except (OSError, ValueError):
        known = _render(photo, box, size_px)
        with suppress(OSError):
            _seal(entry, known[0])
            _seal(preview, known[1])
    return known


def _sealed(path: Path) -> _Jpeg:
    """Return the picture of a cache entry, whose first 32 bytes are the hash of the others."""
    entry = path.read_bytes()
    jpeg = _hashed(entry[32:])
    if bytes.fromhex(jpeg.sha256) != entry[:32]:
        raise ValueError("the entry is damaged")
    with suppress(OSError):  # a cache that may only be read is of use too
        path.touch()
    return jpeg


def _seal(path: Path, jpeg: _Jpeg) -> None:
    part = path.with_name(f".part-{path.name}")
    part.write_bytes(bytes.fromhex(jpeg.sha256) + jpeg.data)
    part.replace(path)


def _render(photo: Photo, box: Box, size_px: int) -> tuple[_Jpeg, _Jpeg]:
    from PIL import Image

    square = open_crop(photo, box, size_px)
    # Halved by area first, where that leaves enough: a third of the time of the filter alone.
    preview = square.reduce(2) if square.width >= 2 * PREVIEW_SIDE_PX else square.copy()
    preview.thumbnail((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX), Image.Resampling.HAMMING)
    return _jpeg(square, JPEG_QUALITY, JPEG_SUBSAMPLING), _jpeg(preview, PREVIEW_QUALITY)


def _jpeg(image: Image.Image, quality: int, subsampling: int = -1) -> _Jpeg:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=subsampling, optimize=False)
    return _hashed(out.getvalue())


def _hashed(data: bytes) -> _Jpeg:
    return _Jpeg(data, hashlib.sha256(data).hexdigest())
