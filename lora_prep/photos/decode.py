"""Read one picture: the formats phones and cameras make, upright, sRGB, metadata dropped."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.errors import MissingDependency
from lora_prep.model import Box, Photo, Reason, ReasonCode
from lora_prep.photos.colours import clean, mixable, to_srgb
from lora_prep.photos.find import FoundFile
from lora_prep.photos.kinds import (
    CAMERA_RAW,
    DAMAGED,
    LINKED_FOLDER,
    NO_ORDINARY_FILE,
    SYSTEM_FILE,
    is_camera_raw,
    is_system_file,
    kind_of,
)
from lora_prep.photos.pixels import load_part, power_of_two_below
from lora_prep.photos.turning import stored_box, turn, turns_of, upright_box

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "LARGEST_BYTES",
    "UnreadablePhoto",
    "open_crop",
    "open_region",
    "open_upright",
    "read_photo",
]

ORIENTATION_TAG = 0x0112  # EXIF 2.32, 4.6.4: values 5 to 8 swap width and height
EXIF_FOLDER_TAG, TAKEN_TAG = 0x8769, 0x9003  # EXIF 2.32, 4.6.3 and 4.6.5: DateTimeOriginal
HAMMING_REACH = 1  # how far the filter looks, in pixels of the result
LARGEST_BYTES = 1_200_000_000
"""Size of the largest file that is read as a picture: as many pixels as are let pass, at 16 bits a
colour and uncompressed. A hole of gigabytes behind a header would else be hashed and decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP")
"""What is opened at all. Never EPS: Pillow would run it as a program, with Ghostscript."""


class UnreadablePhoto(Exception):
    """A file that cannot be read as a picture; `reason` is its verdict, not an error of ours."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.hint)
        self.reason = reason


def read_photo(found: FoundFile) -> Photo:
    """Return what a file is: its hash, its true format, its upright size and when it was taken.

    Only the header is decoded.

    Raises:
        UnreadablePhoto: the file is no picture, cannot be read, or has too many pixels.
    """
    if is_system_file(found):
        raise UnreadablePhoto(SYSTEM_FILE)
    try:
        status = found.path.stat()
        if stat.S_ISDIR(status.st_mode):
            os.scandir(found.path).close()  # what cannot be listed is found as a file
            raise UnreadablePhoto(LINKED_FOLDER if found.path.is_symlink() else NO_ORDINARY_FILE)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadablePhoto(NO_ORDINARY_FILE)
    except OSError as error:
        raise UnreadablePhoto(_cannot_read(error)) from error
    # By its path and not its bytes: videos of gigabytes lie in such folders too.
    with _decoding(found), _open(found.path) as image:
        if is_camera_raw(found, image):
            raise UnreadablePhoto(CAMERA_RAW)
        if status.st_size > LARGEST_BYTES:
            raise UnreadablePhoto(_too_many_bytes(status.st_size))
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
            taken_at=_taken_at(image),
        )


def open_upright(
    path: Path, *, least_side_px: int | None = None, turned_deg: int = 0
) -> Image.Image:
    """Decode a picture: RGB, 8 bit, sRGB, EXIF orientation applied, no metadata of any kind.

    With `least_side_px` it is reduced by the largest power of two that leaves its longer side at
    least that; a JPEG is then decoded at that scale, for half the cost. `turned_deg` turns it
    clockwise besides. Never enlarges.

    Raises:
        UnreadablePhoto: the file cannot be decoded to its end.
    """
    with _decoding(), _open(path) as image:
        turns = turns_of(_orientation(image), turned_deg)
        factor = power_of_two_below(max(image.size) / least_side_px) if least_side_px else 1
        whole = Box(0, 0, *image.size)
        return clean(
            turn(to_srgb(load_part(image, path, whole, factor, look_closer=factor > 1)[0]), turns)
        )


def open_region(photo: Photo, box: Box, *, reduction: int = 1) -> tuple[Image.Image, Box]:
    """Decode a part of a photo: RGB, sRGB, upright, reduced by a power of two.

    Return it with the place it really covers, in upright source pixels: at least `box`, to whole
    pixels of the reduced picture, the last of which may reach beyond the photo. Only the part is
    turned and converted.

    Raises:
        UnreadablePhoto: the file cannot be decoded to its end.
    """
    with _decoding(), _open(photo.path) as image:
        turns = turns_of(_orientation(image), photo.turned_deg)
        stored = stored_box(box, turns, photo.width_px, photo.height_px)
        width, height = image.size
        part, covered = load_part(image, photo.path, stored, reduction)
        part = clean(turn(to_srgb(part), turns))
        return part, upright_box(covered, turns, width, height)


def open_crop(photo: Photo, box: Box, size_px: int) -> Image.Image:
    """Decode the square `box` of a photo, at most `size_px` on each side: RGB, sRGB, upright.

    The photo is decoded at the largest reduction that leaves the square its size. Never enlarges.
    Resampled with Hamming's filter: as sharp as the bicubic one for two thirds of its time, and
    half of Lanczos' (PSNR against that 47 to 49 dB). Trainers shrink the picture again.

    Raises:
        UnreadablePhoto: the file cannot be decoded to its end.
    """
    side = min(size_px, int(box.width))
    reach = HAMMING_REACH * box.width / side if box.width > side else 0
    reduction = power_of_two_below(box.width / size_px)
    with _decoding(), _open(photo.path) as image:
        turns = turns_of(_orientation(image), photo.turned_deg)
        stored = stored_box(box, turns, photo.width_px, photo.height_px)
        part, place = load_part(image, photo.path, _wider(stored, reach, image.size), reduction)
        # Turned and converted last: of up to four times as many pixels it would cost 10 ms each.
        return clean(to_srgb(turn(_resized(mixable(part), place, stored, side), turns)))


def _wider(box: Box, reach: float, size: tuple[int, int]) -> Box:
    """Return the box with `reach` around it, inside a picture of this size."""
    left, top = max(0.0, box.x - reach), max(0.0, box.y - reach)
    right = min(float(size[0]), box.x + box.width + reach)
    bottom = min(float(size[1]), box.y + box.height + reach)
    return Box(left, top, right - left, bottom - top)


def _resized(part: Image.Image, place: Box, box: Box, side_px: int) -> Image.Image:
    """Return the square `box` out of a part of the picture that lies at `place`."""
    from PIL import Image

    across, down = part.width / place.width, part.height / place.height
    left, top = (box.x - place.x) * across, (box.y - place.y) * down
    right = min(left + box.width * across, part.width)
    bottom = min(top + box.height * down, part.height)
    inner = (max(0.0, left), max(0.0, top), right, bottom)
    return part.resize((side_px, side_px), Image.Resampling.HAMMING, box=inner)


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


def _taken_at(image: Image.Image) -> datetime | None:
    """Return what the camera's clock said when the photo was taken, None without it."""
    try:
        text = image.getexif().get_ifd(EXIF_FOLDER_TAG).get(TAKEN_TAG, "")
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
    except Exception:  # noqa: BLE001  a broken EXIF block must not cost the picture
        return None


@cache
def _prepare_pillow() -> None:
    """Teach Pillow HEIC and AVIF, the formats of phones, and not to warn of large cameras."""
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    # Between 89 and 179 million pixels Pillow only warns; cameras of 100 and 200 MP exist. Set for
    # good: to set and reset it around every photo is not safe with several threads.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _open(source: Path) -> Image.Image:
    from PIL import Image

    _prepare_pillow()
    return Image.open(source, formats=FORMATS)


class _decoding:  # noqa: N801  reads as a verb: `with _decoding():`
    """Turn whatever a decoder raises on broken bytes into the verdict it means."""

    def __init__(self, found: FoundFile | None = None) -> None:
        self._found = found

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from PIL import Image, UnidentifiedImageError

        match error:
            case None | UnreadablePhoto() | MissingDependency():
                return
            case UnidentifiedImageError():
                reason = kind_of(self._found)
            case Image.DecompressionBombError():
                reason = _too_many_pixels(str(error))
            case OSError() if error.errno:
                reason = _cannot_read(error)
            case Exception():
                # Decoders raise ValueError, SyntaxError, struct.error and more on hostile bytes.
                reason = DAMAGED
            case _:
                return
        raise UnreadablePhoto(reason) from error


def _cannot_read(error: OSError) -> Reason:
    return Reason(ReasonCode.UNREADABLE, f"It cannot be read: {error.strerror}.")


def _too_many_bytes(size_bytes: int) -> Reason:
    return Reason(
        ReasonCode.UNSUPPORTED,
        "A larger file than a photo needs; save it as JPEG.",
        measured=round(size_bytes / 1e6),
        limit=round(LARGEST_BYTES / 1e6),
        unit="MB",
    )


def _too_many_pixels(message: str) -> Reason:
    pixels, limit = (float(number) for number in re.findall(r"(\d+) pixels", message)[:2])
    return Reason(
        ReasonCode.TOO_MANY_PIXELS,
        "Too large to be a photo, and dangerous to decode; save it smaller.",
        measured=pixels,
        limit=limit,
        unit="px",
    )
