"""Pictures made for a test: colours that tell which side is up, profiles, odd headers."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import simplejpeg
from PIL import Image, ImageCms, ImageFilter

from lora_prep.model import Reason
from lora_prep.photos import FoundFile, UnreadablePhoto, open_upright, read_photo

pillow_heif.register_heif_opener()

ORIENTATION, MAKE, X_RESOLUTION, GPS = 0x0112, 0x010F, 0x011A, 0x8825
SKIN = (200, 150, 120)
PLAIN = Image.new("RGB", (64, 48), SKIN)

# EXIF 2.32, 4.6.4: what the stored picture's row 0 and column 0 are in the upright one.
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright_picture() -> Image.Image:
    """96 x 64 px in six colours: no turn and no mirror of it looks the same."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    for number, colour in enumerate(
        [(220, 40, 40), (40, 220, 40), (40, 40, 220), (230, 230, 60), (60, 200, 200), (90, 90, 90)]
    ):
        row, column = divmod(number, 3)
        pixels[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32] = colour
    return Image.fromarray(pixels)


@cache
def colourful(width: int, height: int, *, seed: int = 1) -> Image.Image:
    """Soft blotches in all colours: every place looks different, and none is sharp."""
    random = np.random.default_rng(seed)
    few = random.integers(0, 256, (height // 60 + 2, width // 60 + 2, 3), np.uint8)
    large = Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC)
    return large.filter(ImageFilter.BoxBlur(3))


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera with this orientation stores it."""
    row_0, column_0 = FIRST_ROW_AND_COLUMN[orientation]
    pixels = np.asarray(upright)
    if row_0 in {"left", "right"}:
        pixels = pixels.swapaxes(0, 1)
    if row_0 in {"right", "bottom"}:
        pixels = pixels[::-1]
    if column_0 in {"right", "bottom"}:
        pixels = pixels[:, ::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))


def saved(path: Path, image: Image.Image, **options: Any) -> FoundFile:
    image.save(path, **options)
    return FoundFile(path.name, path)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """The bytes of a small noisy picture, or of a given one."""
    out = io.BytesIO()
    (image or Image.effect_noise((96, 64), 80).convert("RGB")).save(out, kind, **options)
    return out.getvalue()


def orientation_tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, four bytes of value) entries, made by hand."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0"


def sixteen_bit_grey(level: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.full(size[::-1], level << 8, np.uint16))


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


def refusal(path: Path) -> Reason:
    """Why the file is no usable picture, whichever of the two functions says so."""
    try:
        read_photo(FoundFile(path.name, path))
        open_upright(path)
    except UnreadablePhoto as unreadable:
        return unreadable.reason
    pytest.fail(f"{path.name} was read as a picture")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises these dimensions and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(b"\0" * 100)),
            chunk(b"IEND", b""),
        ]
    )


def a_tiff(*more: tuple[int, int, int, int | bytes], after_header: bytes = b"") -> bytes:
    """A 16 x 16 px TIFF with tags of (number, type, count, value) besides those it needs."""
    pixels = b"\x80" * (16 * 16 * 3)
    first = 8 + len(after_header)
    needed: tuple[tuple[int, int, int, int | bytes], ...] = (
        *((256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 3, struct.pack("<3H", 8, 8, 8))),
        *((259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3), (278, 4, 1, 16)),
        *((273, 4, 1, 0), (279, 4, 1, len(pixels))),
    )
    tags = sorted(needed + more, key=lambda tag: tag[0])
    behind = first + 2 + 12 * len(tags) + 4
    values = b"".join(value for *_, value in tags if isinstance(value, bytes))
    body, place = struct.pack("<H", len(tags)), behind
    for number, kind, count, value in tags:
        if isinstance(value, bytes):
            value, place = place, place + len(value)
        elif number == 273:
            value = behind + len(values)
        body += struct.pack("<HHII", number, kind, count, value)
    header = b"II*\0" + struct.pack("<I", first) + after_header
    return header + body + b"\0\0\0\0" + values + pixels


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3_profile() -> bytes:
    """The sRGB profile with the primaries of Display P3, adapted to D50: what an iPhone embeds."""
    profile = bytearray(srgb_profile())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        tag, offset, _size = struct.unpack_from(">4sII", profile, entry)
        if tag in primaries:
            fixed = (round(value * 65536) for value in primaries[tag])
            struct.pack_into(">3i", profile, offset + 8, *fixed)
    return bytes(profile)


def p3_to_srgb(colour: tuple[int, int, int]) -> tuple[int, ...]:
    """The same colour in sRGB, from the published primaries; both have one transfer curve."""
    value = np.array(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = linear @ np.array(
        [[1.2249, -0.0420, -0.0197], [-0.2247, 1.0419, -0.0786], [0.0, 0.0, 1.0979]]
    )
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(round(channel * 255) for channel in value)


def watched_jpegs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A list that gets the size of each picture that the JPEG decoder makes from now on."""
    sizes = []
    decode = simplejpeg.decode_jpeg

    def watched(*given: Any, **more: Any) -> Any:
        pixels = decode(*given, **more)
        sizes.append(pixels.shape[1::-1])
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", watched)
    return sizes
