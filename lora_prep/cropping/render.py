"""Cut the squares and write them as JPEG without any metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from lora_prep.cropping.geometry import crop_box
from lora_prep.errors import DatasetError
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Box, Crop, Verdict
from lora_prep.photos import UnreadablePhoto, open_upright

__all__ = ["crop_photos"]

JPEG_QUALITY = 95
JPEG_SUBSAMPLING = 0  # 4:4:4: keeps the colour of skin at full resolution


def crop_photos(
    kept: Sequence[Verdict], folder: Path, *, size_px: int, on_event: Listener = ignore
) -> tuple[Crop, ...]:
    """Write one square JPEG per kept photo into `folder` as 0001.jpg, 0002.jpg, ...

    A crop is `size_px` on each side, or smaller where the photo is: never enlarged. The names are
    neutral; what they were made of is in the returned values and stays on this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    crops = []
    for number, verdict in enumerate(kept, start=1):
        crops.append(_crop_photo(verdict, folder / f"{number:04d}.jpg", size_px))
        on_event(Event("prepare", "cropping", done=number, total=len(kept)))
    return tuple(crops)


def _crop_photo(verdict: Verdict, path: Path, size_px: int) -> Crop:
    if verdict.photo is None or verdict.face is None:
        raise ValueError(f"{verdict.name} has no face to crop")
    photo = verdict.photo
    box = crop_box(verdict.face.box, photo.width_px, photo.height_px)
    try:
        jpeg, side_px = _render(photo.path, box, size_px)
    except UnreadablePhoto as unreadable:
        raise DatasetError(
            f"{photo.name} could be read when it was inspected and cannot be read now.",
            why=unreadable.reason.hint,
            fix="Leave the folder alone while it is prepared, and run the command again.",
        ) from unreadable
    path.write_bytes(jpeg)
    return Crop(
        name=path.name,
        path=path,
        source=photo.name,
        source_sha256=photo.sha256,
        box=box,
        size_px=side_px,
        sha256=hashlib.sha256(jpeg).hexdigest(),
    )


def _render(source: Path, box: Box, size_px: int) -> tuple[bytes, int]:
    from PIL import Image

    left, top, side = int(box.x), int(box.y), int(box.width)
    square = open_upright(source).crop((left, top, left + side, top + side))
    if side > size_px:
        square = square.resize((size_px, size_px), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    square.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING, optimize=False)
    return out.getvalue(), square.width
