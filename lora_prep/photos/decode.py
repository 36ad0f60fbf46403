"""Read one picture: the formats phones and cameras make, upright, sRGB, metadata dropped."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import warnings
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.model import Photo, Reason, ReasonCode
from lora_prep.photos.find import FoundFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["UnreadablePhoto", "open_upright", "read_photo"]

ORIENTATION_TAG = 0x0112  # EXIF 2.32, 4.6.4: values 5 to 8 swap width and height
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP")
"""What is opened at all. Never EPS: Pillow would run it as a program, with Ghostscript."""
WIDE_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's grey modes with more than 8 bits, which convert() would clip instead of scale."""


class UnreadablePhoto(Exception):
    """A file that cannot be read as a picture; `reason` is its verdict, not an error of ours."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.hint)
        self.reason = reason


def read_photo(found: FoundFile) -> Photo:
    """Return what a file is: its hash, its true format and its upright size.

    Only the header is decoded.

    Raises:
        UnreadablePhoto: the file is no picture, cannot be read, or has too many pixels.
    """
    try:
        status = found.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePhoto(Reason(ReasonCode.NOT_AN_IMAGE, "It is no ordinary file."))
    except OSError as error:
        raise UnreadablePhoto(_cannot_read(error)) from error
    # By its path and not its bytes: videos of gigabytes lie in such folders too.
    with _decoding(), _open(found.path) as image:
        width, height = image.size
        if _orientation(image) in {5, 6, 7, 8}:
            width, height = height, width
        return Photo(
            name=found.name,
            path=found.path,
            sha256=_sha256(found.path),
            size_bytes=status.st_size,
            format=image.format or "unknown",
            width_px=width,
            height_px=height,
        )


def open_upright(path: Path, *, max_side_px: int | None = None) -> Image.Image:
    """Decode a picture: RGB, 8 bit, sRGB, EXIF orientation applied, no metadata of any kind.

    With `max_side_px` the longer side is at most that; a JPEG is then decoded at the reduced
    scale, which costs a third of the full decode. Never enlarges.

    Raises:
        UnreadablePhoto: the file cannot be decoded to its end.
    """
    from PIL import Image

    with _decoding(), _open(path) as image:
        if max_side_px:
            # draft() keeps both sides above what it is given: ask for the shape of the picture.
            share = max_side_px / max(image.size)
            image.draft("RGB", (ceil(image.width * share), ceil(image.height * share)))
        image.load()
        orientation = _orientation(image)
        upright = _turned(_narrow(image) if image.mode in WIDE_MODES else image, orientation)
        if max_side_px and max(upright.size) > max_side_px:
            upright.thumbnail((max_side_px, max_side_px), Image.Resampling.BOX)
        clean = _to_srgb(upright)
        clean.info.clear()
        return clean


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be applied; 1 when there is none to trust."""
    if image.format == "TIFF":
        return 1  # Pillow turns a TIFF itself: its size is upright from the start
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  a broken EXIF block must not cost the picture
        return 1
    return value if isinstance(value, int) else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a copy turned upright; only the pixels, so that no odd EXIF entry can matter."""
    from PIL import Image

    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return image.copy() if turn is None else image.transpose(turn)


@cache
def _register_heif() -> None:
    """Teach Pillow HEIC and AVIF, the formats of phones."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def _open(source: Path) -> Image.Image:
    from PIL import Image

    _register_heif()
    with warnings.catch_warnings():
        # Between 89 and 179 million pixels Pillow only warns; cameras of 100 and 200 MP exist.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)


class _decoding:  # noqa: N801  reads as a verb: `with _decoding():`
    """Turn whatever a decoder raises on broken bytes into the verdict it means."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from PIL import Image, UnidentifiedImageError

        match error:
            case None | UnreadablePhoto():
                return
            case UnidentifiedImageError():
                reason = Reason(ReasonCode.NOT_AN_IMAGE, "Its bytes are no picture we know.")
            case Image.DecompressionBombError():
                reason = _too_many_pixels(str(error))
            case OSError() if error.errno:
                reason = _cannot_read(error)
            case Exception():
                # Decoders raise ValueError, SyntaxError, struct.error and more on hostile bytes.
                reason = Reason(
                    ReasonCode.UNREADABLE, "The file is damaged or cut off; copy it again."
                )
            case _:
                return
        raise UnreadablePhoto(reason) from error


def _cannot_read(error: OSError) -> Reason:
    return Reason(ReasonCode.UNREADABLE, f"The file cannot be read: {error.strerror}.")


def _too_many_pixels(message: str) -> Reason:
    pixels, limit = (float(number) for number in re.findall(r"(\d+) pixels", message)[:2])
    return Reason(
        ReasonCode.TOO_MANY_PIXELS,
        "Too large to be a photo, and dangerous to decode; save it smaller.",
        measured=pixels,
        limit=limit,
        unit="px",
    )


def _to_srgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageCms

    profile = image.info.get("icc_profile")
    if "A" in image.getbands() or "transparency" in image.info:
        image = _on_white(image)
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a profile that does not fit the pixels is worth less than none
        if converted is not None:
            return converted
    converted = image.convert("RGB")
    return converted if converted is not image else Image.Image.copy(image)


def _narrow(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits by its high byte."""
    import numpy as np
    from PIL import Image

    grey = (np.asarray(image).astype(np.int64).clip(0, 0xFFFF) >> 8).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
