"""Where to cut: a square inside the picture, never enlarged, padded, mirrored or rotated.

It is known before a photo is chosen whether it can be cropped at all, so this lies below
inspection and selection; `cropping` only makes the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product

from lora_prep.model import Box, Framing

__all__ = ["FRAMINGS", "MIN_FACE_PX", "crop_box", "smallest_face_px"]

FRAMINGS = {Framing.CLOSE_UP: 1.6, Framing.HEAD_AND_SHOULDERS: 2.2, Framing.UPPER_BODY: 4.0}
"""Side of the square over the height of the face box. At a face share of a half, hair is cut off;
all close-ups teach a body that falls apart below the neck."""

CENTRE_DOWN = {1.6: -0.08, 2.2: -0.08, 4.0: 0.9}
"""How far the centre of a square lies below the face's, by the side of the square, both in face
heights: a little above it leaves room for hair; the upper body begins a face height above the eyes
and ends at the waist. What lies between is interpolated: a square that had to shrink is placed as
one of its own size, or an upper body would lose its head."""

MIN_FACE_PX = 160
"""Height below which a face has too little detail to learn, whatever the framing; sharpness is
measured at that size too."""

HEAD_ASIDE, HEAD_UP, HEAD_DOWN = 0.10, 0.30, 0.05
"""The head around a face box, in face heights: hair and chin, which a tighter crop must not cut."""

OTHER_FACE_MARGIN = 0.15
"""What is kept clear around another face, in its height: hair and an ear tell of a person too."""

TIGHTER = 0.95
"""Factor from one square that is tried to the next."""


def crop_box(
    face: Box, width_px: int, height_px: int, framing: Framing, others: Sequence[Box] = ()
) -> Box | None:
    """Return the square to cut around `face` from a picture of this size, in whole pixels.

    The square is moved inside the picture first and shrunk only when it is larger than the
    picture's shorter side. Where it would show one of the `others`, it is moved aside, and shrunk
    as far as the head allows; None when no square shows this face alone.
    """
    obstacles = [_grown(other) for other in others]
    head = _head(face, width_px, height_px)
    least = math.ceil(max(head.width, head.height))
    side = int(min(FRAMINGS[framing] * face.height, width_px, height_px))
    while True:
        box = _usual(face, head, side, width_px, height_px)
        if not any(_overlap(box, other) for other in obstacles):
            return box
        if moved := _moved_aside(box, head, obstacles, width_px, height_px):
            return moved
        if side <= least:
            return None
        side = max(least, int(side * TIGHTER))


def smallest_face_px(min_size_px: int, framing: Framing) -> int:
    """Return the smallest face height whose crop still reaches `min_size_px`.

    Mixed takes what fits any of its framings.
    """
    widest = max(FRAMINGS.values()) if framing is Framing.MIXED else FRAMINGS[framing]
    return max(MIN_FACE_PX, math.ceil(min_size_px / widest))


def _usual(face: Box, head: Box, side: int, width_px: int, height_px: int) -> Box:
    """Return where a square of this size lies when nothing is in its way."""
    centre_x = face.x + face.width / 2
    centre_y = face.y + face.height * (0.5 + _centre_down(side / face.height))
    left = _start(centre_x, side, (head.x, head.x + head.width), width_px)
    top = _start(centre_y, side, (head.y, head.y + head.height), height_px)
    return Box(left, top, side, side)


def _centre_down(side: float) -> float:
    """Return how far a square of this size is centred below the face, both in face heights."""
    points = sorted(CENTRE_DOWN.items())
    for (narrow, begin), (wide, end) in pairwise(points):
        if side <= wide:
            return begin + (end - begin) * max(0.0, side - narrow) / (wide - narrow)
    return points[-1][1]


def _start(centre: float, side: int, head: tuple[float, float], length_px: int) -> int:
    """Return where a square begins on one axis: about its centre, with the head if that fits."""
    first, last = math.ceil(head[1] - side), math.floor(head[0])
    start = round(centre - side / 2)
    if first <= last:
        start = min(max(start, first), last)
    return min(max(start, 0), length_px - side)


def _moved_aside(
    box: Box, head: Box, obstacles: Sequence[Box], width_px: int, height_px: int
) -> Box | None:
    """Return the square of this size nearest to `box` that shows the head and no obstacle.

    Of all free places the nearest touches an obstacle or the limits of moving, so that only those
    have to be looked at.
    """
    side = box.width
    beside = [(other.x, other.x + other.width) for other in obstacles]
    above = [(other.y, other.y + other.height) for other in obstacles]
    lefts = _places(box.x, side, (head.x, head.x + head.width), width_px, beside)
    tops = _places(box.y, side, (head.y, head.y + head.height), height_px, above)
    free = [
        Box(left, top, side, side)
        for left, top in product(lefts, tops)
        if not any(_overlap(Box(left, top, side, side), other) for other in obstacles)
    ]
    return min(free, key=lambda place: _way(place, box), default=None)


def _places(
    wanted: float,
    side: float,
    head: tuple[float, float],
    length_px: int,
    obstacles: Sequence[tuple[float, float]],
) -> list[float]:
    """Return the starts, on one axis, of squares that hold the head and stay in the picture."""
    first = max(0, math.ceil(head[1] - side))
    last = min(math.floor(head[0]), length_px - int(side))
    edges = [
        place for begin, end in obstacles for place in (math.ceil(end), math.floor(begin - side))
    ]
    return [place for place in (wanted, first, last, *edges) if first <= place <= last]


def _way(one: Box, other: Box) -> tuple[float, float, float]:
    return (math.hypot(one.x - other.x, one.y - other.y), one.x, one.y)


def _head(face: Box, width_px: int, height_px: int) -> Box:
    """Return the head around a face box, cut off where the picture ends."""
    left = max(0.0, face.x - HEAD_ASIDE * face.height)
    top = max(0.0, face.y - HEAD_UP * face.height)
    right = min(float(width_px), face.x + face.width + HEAD_ASIDE * face.height)
    bottom = min(float(height_px), face.y + (1 + HEAD_DOWN) * face.height)
    return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


def _grown(box: Box) -> Box:
    margin = OTHER_FACE_MARGIN * box.height
    return Box(box.x - margin, box.y - margin, box.width + 2 * margin, box.height + 2 * margin)


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )
