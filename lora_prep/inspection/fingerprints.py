"""What a picture looks like in a few numbers: to tell copies, and to spread the choice."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING

from lora_prep.model import Box, Fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["perceptual_hash", "picture_fingerprint"]

HASH_SIDE = 8
"""Frequencies a side: 8 x 8 bits."""

SMALL_SIDE = 32
"""Side of the picture that the frequencies are taken of, px."""

LOOK_SIDE = 4


def picture_fingerprint(image: Image.Image) -> Fingerprint:
    """Return the fingerprint of a whole upright RGB picture."""
    import numpy as np
    from PIL import Image

    pixels = hashlib.sha256(f"{image.size}".encode())
    pixels.update(np.asarray(image).data)
    small = image.resize((SMALL_SIDE, SMALL_SIDE), Image.Resampling.BOX)
    look = np.asarray(small.reduce(SMALL_SIDE // LOOK_SIDE)) / 255
    return Fingerprint(
        pixels_sha256=pixels.hexdigest(),
        phash=_hash(small),
        look=tuple(round(float(value), 4) for value in look.ravel()),
    )


def perceptual_hash(image: Image.Image, box: Box) -> int:
    """Return the 64-bit pHash of the part of a picture in `box` (in pixels of `image`).

    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): the 8 x 8
    lowest frequencies of the grey picture at 32 x 32 px; a bit says whether one is above their
    median. The mean (the first frequency) counts as any other.
    """
    from PIL import Image

    left, top = max(0.0, box.x), max(0.0, box.y)
    right = min(float(image.width), box.x + box.width)
    bottom = min(float(image.height), box.y + box.height)
    part = (left, top, max(right, left + 1), max(bottom, top + 1))
    return _hash(image.resize((SMALL_SIDE, SMALL_SIDE), Image.Resampling.BOX, box=part))


def _hash(small: Image.Image) -> int:
    import numpy as np

    basis = _cosines()
    low = basis @ np.asarray(small.convert("L"), dtype=np.float64) @ basis.T
    bits = (low > np.median(low)).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the first rows of the discrete cosine transform (DCT-II), (8, 32)."""
    import numpy as np

    row = np.arange(HASH_SIDE)[:, None]
    column = np.arange(SMALL_SIDE)[None, :]
    return np.cos(math.pi * row * (2 * column + 1) / (2 * SMALL_SIDE))
