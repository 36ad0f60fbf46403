"""Which way is up: from the stored pixels to the upright picture, and boxes back again."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from lora_prep.model import Box

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Turn", "stored_box", "turn", "turns_of", "upright_box"]


class Turn(Enum):
    """A turn or mirroring of pixels, by the name of Pillow's own."""

    FLIP_LEFT_RIGHT = "FLIP_LEFT_RIGHT"
    FLIP_TOP_BOTTOM = "FLIP_TOP_BOTTOM"
    ROTATE_90 = "ROTATE_90"  # anticlockwise
    ROTATE_180 = "ROTATE_180"
    ROTATE_270 = "ROTATE_270"
    TRANSPOSE = "TRANSPOSE"
    TRANSVERSE = "TRANSVERSE"


_BY_ORIENTATION = {  # EXIF 2.32, 4.6.4
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
_CLOCKWISE = {90: Turn.ROTATE_270, 180: Turn.ROTATE_180, 270: Turn.ROTATE_90}
_INVERSE = {Turn.ROTATE_90: Turn.ROTATE_270, Turn.ROTATE_270: Turn.ROTATE_90}
_SWAPPING = frozenset({Turn.ROTATE_90, Turn.ROTATE_270, Turn.TRANSPOSE, Turn.TRANSVERSE})


def turns_of(orientation: int, turned_deg: int) -> tuple[Turn, ...]:
    """Return what makes the stored pixels upright: the EXIF orientation, then `turned_deg`."""
    both = (_BY_ORIENTATION.get(orientation), _CLOCKWISE.get(turned_deg))
    return tuple(one for one in both if one)


def turn(image: Image.Image, turns: Sequence[Turn]) -> Image.Image:
    """Return the turned picture. Only the pixels are turned: no odd EXIF entry can matter."""
    from PIL import Image

    for one in turns:
        image = image.transpose(Image.Transpose[one.name])
    return image


def stored_box(box: Box, turns: Sequence[Turn], width_px: int, height_px: int) -> Box:
    """Return where a box of the upright picture (of this size) lies in the stored pixels."""
    width, height = width_px, height_px
    for one in reversed(turns):
        box = _undone(box, one, width, height)
        if one in _SWAPPING:
            width, height = height, width
    return box


def upright_box(box: Box, turns: Sequence[Turn], width_px: int, height_px: int) -> Box:
    """Return where a box of the stored pixels (of this size) lies in the upright picture."""
    width, height = width_px, height_px
    for one in turns:
        box = _undone(box, _INVERSE.get(one, one), width, height)
        if one in _SWAPPING:
            width, height = height, width
    return box


def _undone(box: Box, one: Turn, width: int, height: int) -> Box:
    """Return where the box was before one turn; width and height are those after it."""
    right, bottom = width - box.x - box.width, height - box.y - box.height
    match one:
        case Turn.FLIP_LEFT_RIGHT:
            return Box(right, box.y, box.width, box.height)
        case Turn.FLIP_TOP_BOTTOM:
            return Box(box.x, bottom, box.width, box.height)
        case Turn.ROTATE_180:
            return Box(right, bottom, box.width, box.height)
        case Turn.ROTATE_90:
            return Box(bottom, box.x, box.height, box.width)
        case Turn.ROTATE_270:
            return Box(box.y, right, box.height, box.width)
        case Turn.TRANSPOSE:
            return Box(box.y, box.x, box.height, box.width)
        case Turn.TRANSVERSE:
            return Box(bottom, right, box.height, box.width)
