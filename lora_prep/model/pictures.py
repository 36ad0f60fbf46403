"""What is seen in a picture: the photo, its faces, and what was measured on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

__all__ = [
    "Box",
    "Face",
    "Fingerprint",
    "Framing",
    "Measures",
    "Photo",
]


@dataclass(frozen=True, slots=True)
class Photo:
    """A file that was opened and is a picture.

    name: path below the folder, with "/"; format: what the bytes are, in Pillow's word ("JPEG");
    width_px and height_px: upright; sha256: of the file's bytes; taken_at: what the camera's clock
    said, without a zone; turned_deg: how far clockwise (0, 90, 180, 270) the picture had to be
    turned besides, because its file does not say which side is up.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    format: str
    width_px: int
    height_px: int
    taken_at: datetime | None = None
    turned_deg: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in upright source pixels: left and top edge, width and height."""

    x: float
    y: float
    width: float
    height: float

    def to_json(self) -> list[float]:
        """Return [x, y, width, height], rounded to a tenth of a pixel."""
        return [round(value, 1) for value in (self.x, self.y, self.width, self.height)]


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    score: the detector's own, 0 to 1; landmarks: right eye, left eye, nose, right and left mouth
    corner as (x, y) in upright source pixels, the person's own right and left; embedding: the
    face pack's vector, raw (not normalised), () where it was not worth computing.
    """

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...]
    embedding: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured on a face.

    sharpness: variance of the Laplacian over that of the grey values, x 1000; luma_median: 0 to
    255; clipped_share: part of the face that is black or white, 0 to 1; yaw_deg: 0 is frontal,
    positive when the nose points to the right of the picture.
    """

    sharpness: float
    luma_median: float
    clipped_share: float
    yaw_deg: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a whole picture looks like, to tell copies and to spread the choice.

    pixels_sha256: of the judged copy's pixels, the same for re-tagged copies; phash: 64 bits;
    look: mean colours of a 4 x 4 grid, 48 numbers from 0 to 1, row by row, red, green, blue.
    """

    pixels_sha256: str
    phash: int
    look: tuple[float, ...]


class Framing(StrEnum):
    """How much of the person a crop shows."""

    HEAD_AND_SHOULDERS = "head-and-shoulders"
    CLOSE_UP = "close-up"
    UPPER_BODY = "upper-body"
    MIXED = "mixed"
