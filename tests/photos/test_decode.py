"""One picture, as every later room sees it: upright, RGB, sRGB, without metadata."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import EpsImagePlugin, Image, ImageCms, JpegImagePlugin

from lora_prep.model import Photo, Reason, ReasonCode
from lora_prep.photos import FoundFile, UnreadablePhoto, open_upright, read_photo
from tests.sample import SAMPLE_DATA

pillow_heif.register_heif_opener()

ORIENTATION, MAKE, X_RESOLUTION, GPS = 0x0112, 0x010F, 0x011A, 0x8825
SKIN = (200, 150, 120)

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


def orientation_tag(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def refusal(path: Path) -> Reason:
    """Why the file is no usable picture, whichever of the two functions says so."""
    try:
        read_photo(FoundFile(path.name, path))
        open_upright(path)
    except UnreadablePhoto as unreadable:
        return unreadable.reason
    pytest.fail(f"{path.name} was read as a picture")


# ── orientation ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_eight_orientations_of_a_jpeg_give_one_upright_picture(
    tmp_path: Path, orientation: int
) -> None:
    file = saved(
        tmp_path / "1.jpg",
        stored(upright_picture(), orientation),
        exif=orientation_tag(orientation),
        quality=95,
        subsampling=0,
    )

    photo = read_photo(file)

    assert (photo.width_px, photo.height_px) == (96, 64)
    assert largest_difference(open_upright(file.path), upright_picture()) <= 16
    small = open_upright(file.path, max_side_px=48)
    assert small.size == (48, 32)
    assert largest_difference(small, upright_picture().reduce(2)) <= 16


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "avif"])
def test_other_formats_turn_upright_too(tmp_path: Path, suffix: str, orientation: int) -> None:
    lossless = {"webp": {"lossless": True}, "avif": {"quality": 100, "subsampling": "4:4:4"}}.get(
        suffix, {}
    )
    file = saved(
        tmp_path / f"1.{suffix}",
        stored(upright_picture(), orientation),
        exif=orientation_tag(orientation),
        **lossless,
    )

    photo = read_photo(file)

    assert (photo.width_px, photo.height_px) == (96, 64)
    assert largest_difference(open_upright(file.path), upright_picture()) <= 24


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, four bytes of value) entries, made by hand."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0"


@pytest.mark.parametrize(
    "odd_entry",
    [
        (X_RESOLUTION, 2, 3, b"72"),  # text where the standard has a fraction
        (X_RESOLUTION, 7, 4, b"\0\0\0\1"),
        (MAKE, 2, 0x7FFFFFFF, b"\x10"),  # longer than the file
    ],
)
def test_an_odd_exif_entry_does_not_make_a_photo_unreadable(
    tmp_path: Path, odd_entry: tuple[int, int, int, bytes]
) -> None:
    exif = exif_of((MAKE, 2, 2, b"X"), (ORIENTATION, 3, 1, b"\x06"), odd_entry)
    file = saved(
        tmp_path / "1.jpg", stored(upright_picture(), 6), exif=exif, quality=95, subsampling=0
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo, picture = read_photo(file), open_upright(file.path)

    assert (photo.width_px, photo.height_px) == (96, 64)
    assert largest_difference(picture, upright_picture()) <= 16


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense nonsense", exif_of((ORIENTATION, 3, 1, b"c"))])
def test_a_senseless_orientation_counts_as_upright(tmp_path: Path, exif: bytes) -> None:
    file = saved(tmp_path / "1.jpg", upright_picture(), exif=exif, quality=95, subsampling=0)

    assert largest_difference(open_upright(file.path), upright_picture()) <= 16


# ── formats ───────────────────────────────────────────────────────────────────────────────────


def sixteen_bit_grey(level: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.full(size[::-1], level << 8, np.uint16))


PLAIN = Image.new("RGB", (64, 48), SKIN)
CLEAR = Image.new("RGBA", (64, 48), (*SKIN, 0))


@pytest.mark.parametrize(
    ("name", "image", "options", "colour"),
    [
        ("phone.heic", PLAIN, {"quality": 95}, SKIN),
        ("phone.avif", PLAIN, {"quality": 95}, SKIN),
        ("web.webp", PLAIN, {"quality": 95}, SKIN),
        ("camera.tif", PLAIN, {}, SKIN),
        ("old.bmp", PLAIN, {}, SKIN),
        ("samsung.mpo", PLAIN, {"save_all": True, "append_images": [PLAIN]}, SKIN),
        ("print.jpg", PLAIN.convert("CMYK"), {"quality": 95}, SKIN),
        ("grey.jpg", Image.new("L", (64, 48), 90), {}, (90, 90, 90)),
        ("grey16.png", sixteen_bit_grey(90), {}, (90, 90, 90)),
        ("palette.png", PLAIN.quantize(16), {}, SKIN),
        ("one_bit.png", Image.new("1", (64, 48), 1), {}, (255, 255, 255)),
        ("opaque.png", PLAIN.convert("RGBA"), {}, SKIN),
        ("clear.png", CLEAR, {}, (255, 255, 255)),  # what is transparent turns white, not black
        ("clear_grey.png", Image.new("LA", (64, 48), (9, 0)), {}, (255, 255, 255)),
        ("clear.gif", CLEAR, {}, (255, 255, 255)),
        (
            "moving.gif",
            PLAIN,
            {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "black")]},
            SKIN,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_phones_cameras_and_the_web_make_becomes_rgb(
    tmp_path: Path, name: str, image: Image.Image, options: dict[str, Any], colour: tuple[int, ...]
) -> None:
    file = saved(tmp_path / name, image, **options)

    photo, picture = read_photo(file), open_upright(file.path)

    assert picture.mode == "RGB"
    assert picture.size == (photo.width_px, photo.height_px) == (64, 48)
    centre = picture.getpixel((32, 24))
    assert centre == pytest.approx(colour, abs=6)
    assert open_upright(file.path, max_side_px=16).size == (16, 12)


def test_sixteen_bit_grey_larger_than_wanted_is_read(tmp_path: Path) -> None:
    file = saved(tmp_path / "scan.png", sixteen_bit_grey(90, (400, 300)))

    small = open_upright(file.path, max_side_px=100)

    assert small.size == (100, 75)
    assert small.getpixel((50, 50)) == (90, 90, 90)


def test_a_photo_is_told_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    PLAIN.save(tmp_path / "1.png")
    data = (tmp_path / "1.png").read_bytes()
    path = (tmp_path / "1.png").rename(tmp_path / "holiday.jpg")

    photo = read_photo(FoundFile("below/holiday.jpg", path))

    assert photo == Photo(
        name="below/holiday.jpg",
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        format="PNG",
        width_px=64,
        height_px=48,
    )


# ── colour ────────────────────────────────────────────────────────────────────────────────────


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


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_display_p3_becomes_srgb(tmp_path: Path, suffix: str) -> None:
    expected = p3_to_srgb(SKIN)
    assert max(abs(a - b) for a, b in zip(expected, SKIN, strict=True)) > 6
    file = saved(tmp_path / f"1.{suffix}", PLAIN, icc_profile=display_p3_profile())

    assert open_upright(file.path).getpixel((9, 9)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("profile", [srgb_profile(), b"no profile at all", srgb_profile()[:200]])
def test_an_srgb_or_broken_profile_changes_no_pixel(tmp_path: Path, profile: bytes) -> None:
    file = saved(tmp_path / "1.png", upright_picture(), icc_profile=profile)

    assert largest_difference(open_upright(file.path), upright_picture()) <= 1


# ── metadata and originals ────────────────────────────────────────────────────────────────────


def test_no_metadata_is_left(tmp_path: Path) -> None:
    exif = orientation_tag(6)
    exif[MAKE] = "Synthetica"
    exif.get_ifd(GPS)[1] = "N"
    file = saved(
        tmp_path / "1.jpg",
        upright_picture(),
        exif=exif.tobytes(),
        comment=b"home",
        xmp=b"<x:xmpmeta>home</x:xmpmeta>",
        icc_profile=srgb_profile(),
        dpi=(300, 300),
    )
    assert {"exif", "comment", "xmp", "icc_profile"} <= set(Image.open(file.path).info)

    for picture in (open_upright(file.path), open_upright(file.path, max_side_px=32)):
        assert picture.info == {}
        assert dict(picture.getexif()) == {}
        again = io.BytesIO()
        picture.save(again, "JPEG")
        assert not any(word in again.getvalue() for word in (b"Exif", b"home", b"ICC_PROFILE"))


@pytest.mark.parametrize("name", ["ada_04.jpg", "ada_07.jpg", "ada_10.png"])
def test_the_original_is_not_touched(name: str) -> None:
    path = SAMPLE_DATA / "people" / "ada" / name
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode

    read_photo(FoundFile(name, path))
    open_upright(path, max_side_px=200)

    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


# ── size ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("size", [(1600, 1200), (1201, 1603), (1999, 333), (400, 300), (401, 401)])
def test_a_reduced_picture_fits_keeps_its_shape_and_is_never_enlarged(
    tmp_path: Path, size: tuple[int, int], suffix: str
) -> None:
    file = saved(tmp_path / f"1.{suffix}", Image.new("RGB", size, SKIN))

    reduced = open_upright(file.path, max_side_px=400)

    assert max(reduced.size) == 400
    assert min(reduced.size) == pytest.approx(min(size) * 400 / max(size), abs=1)
    assert open_upright(file.path, max_side_px=5000).size == size


@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600)])
def test_a_large_jpeg_is_decoded_at_the_reduced_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    file = saved(tmp_path / "1.jpg", Image.new("RGB", size, SKIN))
    decoded = []
    load = JpegImagePlugin.JpegImageFile.load

    def watched(self: JpegImagePlugin.JpegImageFile) -> Any:
        decoded.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", watched)
    open_upright(file.path, max_side_px=800)

    assert decoded[0] == (size[0] // 2, size[1] // 2)


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


def test_a_decompression_bomb_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(png_header(20_000, 20_000))

    reason = refusal(path)

    assert reason.code is ReasonCode.TOO_MANY_PIXELS
    assert (reason.measured, reason.unit) == (400e6, "px")
    assert reason.limit is not None
    assert 100e6 < reason.limit < 400e6
    with pytest.raises(UnreadablePhoto):
        open_upright(path)


def test_a_camera_of_a_hundred_megapixels_is_no_bomb(tmp_path: Path) -> None:
    file = saved(tmp_path / "1.jpg", PLAIN)
    data = bytearray(file.path.read_bytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 8_736, 11_648)
    file.path.write_bytes(data)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = read_photo(file)

    assert (photo.width_px, photo.height_px) == (11_648, 8_736)


# ── what is no picture ────────────────────────────────────────────────────────────────────────


def a_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("1.jpg", b"x")
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"shopping list",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.4 a scan",
        a_zip(),
        b"\0" * 4096,
    ],
    ids=["empty", "text", "html", "svg", "pdf", "zip", "zeros"],
)
def test_other_bytes_are_no_image_whatever_the_name_says(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(data)

    assert refusal(path).code is ReasonCode.NOT_AN_IMAGE


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "heic"])
def test_a_picture_cut_off_is_unreadable(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"1.{suffix}"
    Image.effect_noise((96, 64), 80).convert("RGB").save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    # A HEIC that lost its directory cannot even be told to be one.
    allowed = {ReasonCode.UNREADABLE} | ({ReasonCode.NOT_AN_IMAGE} if suffix == "heic" else set())
    assert refusal(path).code in allowed


def test_a_file_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    reason = refusal(tmp_path / "gone.jpg")

    assert reason.code is ReasonCode.UNREADABLE
    assert "No such file" in reason.hint


def test_postscript_named_as_a_photo_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"
    )
    runs = []

    def ghostscript(*_: object, **__: object) -> Any:
        runs.append("run")
        return Image.new("RGB", (64, 48)).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)

    reason = refusal(path)

    assert not runs
    assert reason.code in {ReasonCode.NOT_AN_IMAGE, ReasonCode.UNSUPPORTED}
