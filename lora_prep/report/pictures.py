"""The pictures in the report: small JPEGs without metadata, as data: URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.framing import crop_box
from lora_prep.model import Box, Crop, Framing, Photo
from lora_prep.photos import UnreadablePhoto, open_upright

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Pictures", "thumbnail_of"]

THUMBNAIL_SIDE_PX = 368
"""Longer side of an embedded picture, at most: nearly twice the width of a card, for
dense screens, and as long as the previews of crops are."""

SMALL_SIDE_PX = 288
"""The same for a photo beside its crop, or beside another photo."""

FACE_SIDE_PX = 192
"""The same for a face alone, on a small card."""

FACE_ENOUGH_PX = 120
"""A photo is decoded so that the face alone has this side at least; its half costs a quarter."""

THUMBNAIL_QUALITY = 80
"""JPEG quality: 10 to 20 kB a picture, so that 60 photos stay far below 5 MB."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Finds the picture to show. preview_of: where a small one of a photo may lie already.

    What lies in a cache is no more trusted than a photo: it is decoded, and only its pixels are
    embedded. Where it is missing or damaged, the photo or the crop itself is decoded. Everything
    returns None where there is nothing to show.
    """

    preview_of: Callable[[Photo], Path] | None = None

    def of_photo(self, photo: Photo, *, small: bool = False) -> str | None:
        """Return the whole photo, upright; small: it stands beside a picture that matters more."""
        image = _opened(self.preview_of(photo)) if self.preview_of else None
        side_px = SMALL_SIDE_PX if small else THUMBNAIL_SIDE_PX
        return _embedded(image or _opened(photo.path, photo.turned_deg), side_px)

    def of_crop(self, crop: Crop) -> str | None:
        """Return the training picture."""
        return _embedded(_opened(crop.preview) or _opened(crop.path))

    def of_face(self, photo: Photo, face: Box) -> str | None:
        """Return the face and a little around it, else the whole photo."""
        box = crop_box(face, photo.width_px, photo.height_px, Framing.CLOSE_UP)
        longer = max(photo.width_px, photo.height_px)
        if box is None or not box.width:
            return self.of_photo(photo)
        image = _opened(photo.path, photo.turned_deg, round(longer * FACE_ENOUGH_PX / box.width))
        if image is None and self.preview_of:
            image = _opened(self.preview_of(photo))  # small, and better than nothing
        if image is None:
            return None
        scale = max(image.size) / longer
        edges = (box.x, box.y, box.x + box.width, box.y + box.width)
        left, top, right, bottom = (round(edge * scale) for edge in edges)
        return _embedded(image.crop((left, top, right, bottom)), FACE_SIDE_PX)


def thumbnail_of(photo: Photo) -> bytes | None:
    """Return a small JPEG of a photo, upright and without metadata; None if it cannot be read."""
    image = _opened(photo.path, photo.turned_deg)
    return _jpeg(image, THUMBNAIL_SIDE_PX) if image else None


def _opened(
    path: Path, turned_deg: int = 0, least_side_px: int = THUMBNAIL_SIDE_PX
) -> Image.Image | None:
    try:
        return open_upright(path, least_side_px=least_side_px, turned_deg=turned_deg)
    except UnreadablePhoto:
        return None


def _embedded(image: Image.Image | None, side_px: int = THUMBNAIL_SIDE_PX) -> str | None:
    """Return the picture as a data: URI, at most `side_px` long; never enlarged."""
    if image is None:
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(image, side_px)).decode('ascii')}"


def _jpeg(image: Image.Image, side_px: int) -> bytes:
    image.thumbnail((side_px, side_px))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=THUMBNAIL_QUALITY)
    return out.getvalue()
