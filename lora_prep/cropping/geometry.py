"""Where to cut: a square inside the picture, never enlarged, padded, mirrored or rotated."""

from __future__ import annotations

import math

from lora_prep.model import Box

__all__ = ["crop_box", "smallest_face_px"]

BOX_PER_FACE = 2.2
"""Side of the square over the height of the face box: head and shoulders. At a face share of a
half, hair is cut off; all close-ups teach a body that falls apart below the neck."""

CENTRE_UP = 0.08
"""How far the square's centre lies above the face's, in face heights: room for hair."""

MIN_FACE_PX = 160
"""Height below which a face has too little detail to learn, whatever the framing."""


def crop_box(face: Box, width_px: int, height_px: int) -> Box:
    """Return the square to cut around `face` from a picture of this size, in whole pixels.

    The square is moved inside the picture first and shrunk only when it is larger than the
    picture's shorter side.
    """
    side = int(min(BOX_PER_FACE * face.height, width_px, height_px))
    centre_x = face.x + face.width / 2
    centre_y = face.y + face.height / 2 - CENTRE_UP * face.height
    left = min(max(round(centre_x - side / 2), 0), width_px - side)
    top = min(max(round(centre_y - side / 2), 0), height_px - side)
    return Box(left, top, side, side)


def smallest_face_px(min_size_px: int) -> int:
    """Return the smallest face height whose crop still reaches `min_size_px`."""
    return max(MIN_FACE_PX, math.ceil(min_size_px / BOX_PER_FACE))
