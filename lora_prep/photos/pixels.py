"""The stored pixels of a picture, or of a part of it, at the scale that is needed."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.model import Box
from lora_prep.opencv import load_opencv
from lora_prep.photos.colours import mixable
from lora_prep.workers import core_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["free_buffers", "load_part", "power_of_two_below"]

WIDE_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's grey modes with more than 8 bits, which convert() would clip instead of scale."""

JPEG_FORMATS = frozenset({"JPEG", "MPO"})
JPEG_LARGEST_REDUCTION = 8

LARGEST_KEPT_BYTES = 20_000_000
"""Size of a buffer that is kept for the next JPEG: half of 26 MP. One for a whole photo is freed:
it is needed now and then, and would lie there until the end."""

PIXELS_LOST = "premature end"
"""In libjpeg's words: a sync or a card lost a part, though the file may end as it should. Other
complaints, as of extraneous bytes, are made of sound photos too."""

_thread = threading.local()
_spare_buffers: list[NDArray[np.uint8]] = []
_full_decodes = threading.BoundedSemaphore(max(1, core_count() // 2))


def power_of_two_below(ratio: float) -> int:
    """Return the largest power of two that is not above `ratio`; 1 at least."""
    return 1 << (int(ratio).bit_length() - 1) if ratio >= 1 else 1


def free_buffers() -> None:
    """Give back the room for whole photos that was kept for the next one."""
    _spare_buffers.clear()


def load_part(
    image: Image.Image, path: Path, box: Box, reduction: int, *, look_closer: bool = False
) -> tuple[Image.Image, Box]:
    """Return the pixels of `box` (stored, not turned) reduced by a power of two.

    image: just opened, not loaded; path: of the same file. The second value is what the pixels
    really cover, in stored source pixels: at least the box, to whole reduced pixels. look_closer:
    a part at half the reduction may be asked for next; a JPEG is then decoded for both at once.
    """
    finer = reduction // 2 if look_closer and reduction > 1 else reduction
    decoded = min(finer, JPEG_LARGEST_REDUCTION)
    whole = None
    with _jpeg_pixels(image, path, decoded) as pixels:
        if pixels is not None and reduction == decoded:
            (left, top, right, bottom), covered = _window(box, pixels.shape[1::-1], reduction)
            return _picture(pixels[top:bottom, left:right], image), covered
        if pixels is not None:
            whole = _picture(_averaged(pixels, reduction // decoded), image)
    whole = whole or _loaded(image, reduction)
    window, covered = _window(box, whole.size, reduction)
    return whole.crop(window), covered


def _picture(pixels: NDArray[np.uint8], image: Image.Image) -> Image.Image:
    """Return RGB pixels as a picture, with what the file says of them."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.info = dict(image.info)
    return picture


def _averaged(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means of squares of `factor` pixels a side: RGB, (height, width, 3).

    At the right and lower edge less than a square counts as one. The pixels are those of Pillow's
    reduce(), which takes 6 ms more for 3 MP.
    """
    load_opencv()
    import cv2

    down, right = (-side % factor for side in pixels.shape[:2])
    if down or right:
        pixels = cv2.copyMakeBorder(  # type: ignore[assignment]
            pixels, 0, down, 0, right, cv2.BORDER_REPLICATE
        )
    height, width = pixels.shape[:2]
    size = (width // factor, height // factor)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _window(
    box: Box, size: tuple[int, ...], reduction: int
) -> tuple[tuple[int, int, int, int], Box]:
    """Return left, top, right and bottom of `box` in reduced pixels, and what they cover.

    The last reduced pixel may reach beyond the picture: it stands for as many as any other.
    """
    left, top = max(0, int(box.x / reduction)), max(0, int(box.y / reduction))
    right = min(size[0], math.ceil((box.x + box.width) / reduction))
    bottom = min(size[1], math.ceil((box.y + box.height) / reduction))
    width, height = (right - left) * reduction, (bottom - top) * reduction
    return (left, top, right, bottom), Box(left * reduction, top * reduction, width, height)


@contextmanager
def _jpeg_pixels(
    image: Image.Image, path: Path, reduction: int
) -> Iterator[NDArray[np.uint8] | None]:
    """Lend the pixels of a JPEG, (height, width, 3): RGB.

    None for what simplejpeg does not read as it should: no JPEG, grey (its profile fits grey pixels
    only), four colours, or damaged (Pillow says what is wrong).

    As fast as Pillow at a quarter; in full 45 ms instead of 80 for 12 MP, and 36 MB instead of 48
    that come and go. Half scale costs 4 ms more than a quarter, a second decode 34
    (measured, Pillow 12.3, simplejpeg 1.9).
    """
    if image.format not in JPEG_FORMATS or image.mode != "RGB":
        yield None
    elif reduction > 1:
        yield _reduced_pixels(image, path, reduction)
    else:
        # Half of the workers decode in full while the others resize and encode: as fast, and half
        # of the memory.
        with _full_decodes:
            buffer = _spare_buffers.pop() if _spare_buffers else None
            buffer = _buffer_of(image.width * image.height * 3, buffer)
            yield _decoded(path, (image.height, image.width), buffer)
            if len(buffer) <= LARGEST_KEPT_BYTES:
                _spare_buffers.append(buffer)


def _reduced_pixels(image: Image.Image, path: Path, reduction: int) -> NDArray[np.uint8] | None:
    """Return reduced pixels in a buffer that is this thread's own.

    They are valid until the next call in the same thread, which, if it asks for the same again,
    gets them without decoding.
    """
    status = path.stat()
    file = (path, status.st_ino, status.st_mtime_ns, status.st_size, reduction)
    if getattr(_thread, "file", None) == file:
        known: NDArray[np.uint8] = _thread.pixels
        return known
    size = (math.ceil(image.height / reduction), math.ceil(image.width / reduction))
    buffer = _buffer_of(math.prod(size) * 3, getattr(_thread, "buffer", None))
    _thread.file = _thread.pixels = _thread.buffer = None
    pixels = _decoded(path, size, buffer)
    if len(buffer) <= LARGEST_KEPT_BYTES:
        _thread.buffer = buffer
        if pixels is not None:
            _thread.file, _thread.pixels = file, pixels
    return pixels


def _buffer_of(size: int, spare: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    import numpy as np

    return spare if spare is not None and len(spare) >= size else np.empty(size, np.uint8)


def _decoded(
    path: Path, size: tuple[int, int], buffer: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Decode a JPEG to exactly this height and width, strictly: None where anything is wrong.

    Raises:
        ValueError: pixels are missing.
    """
    import simplejpeg

    height, width = size
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            path.read_bytes(),
            "RGB",
            min_height=height,
            min_width=width,
            buffer=buffer,
            fastupsample=True,  # 8 ms less; 55 dB and more from the smooth one, q95 itself is at 44
        )
    except ValueError as error:
        if PIXELS_LOST in str(error).lower():
            raise  # Pillow would fill the rest with grey and say nothing
        return None
    return pixels if pixels.shape == (height, width, 3) else None


def _loaded(image: Image.Image, reduction: int) -> Image.Image:
    """Return the stored pixels as Pillow reads them, reduced by the decoder or by area."""
    width, height = image.size
    if reduction > 1:
        # draft() takes the largest of 1, 2, 4, 8 that keeps both sides above what it is given.
        image.draft("RGB", (max(1, width // reduction), max(1, height // reduction)))
    rest = reduction // max(1, round(width / image.width))
    image.load()
    loaded = _narrow(image) if image.mode in WIDE_MODES else image
    if rest > 1:
        loaded = mixable(loaded).reduce(rest)
    return loaded


def _narrow(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits by its high byte."""
    import numpy as np
    from PIL import Image

    grey = (np.asarray(image).astype(np.int64).clip(0, 0xFFFF) >> 8).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
