"""Every limit a photo is held against: its name, unit, reason and source, in one place.

What depends on the crop that is wanted (the smallest face, the smallest photo) comes from the
settings as `Limits`; what depends on eyes and cameras stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CLIPPED_MOST",
    "LUMA_LEAST",
    "LUMA_MOST",
    "SHARPNESS_LEAST",
    "SHARPNESS_SOFT",
    "YAW_MOST_DEG",
    "Limits",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the crop asks of a photo, in upright source pixels.

    min_face_px: height of the face; below it the crop would have to be enlarged.
    min_side_px: shorter side of the photo; below it no crop of the wanted size fits.
    """

    min_face_px: int
    min_side_px: int


SHARPNESS_LEAST = 40.0
"""Variance of the Laplacian over that of the grey values, x 1000. Motion blur measured 27, Gaussian
blur 2 to 14; sharp photos 135 to 207, the smooth skin of the rendered sample people 86 and more."""

SHARPNESS_SOFT = 70.0
"""Below it a usable photo is said to be soft: between the blurred and the sharp ones measured."""

LUMA_LEAST = 35.0
"""Median grey of the face, 0 to 255. Below it the features are noise; the darkest good sample face
has 49 (brown skin in the shade), the too dark one 18."""

LUMA_MOST = 225.0
"""Median grey of the face, 0 to 255. Above it skin has no structure left."""

CLIPPED_MOST = 0.10
"""Share of the face that is black or white, 0 to 1: what was clipped cannot be learnt."""

YAW_MOST_DEG = 75.0
"""Degrees away from frontal. Profiles are wanted; beyond this the face is mostly hair and ear."""
