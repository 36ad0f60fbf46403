"""One picture, as every later room sees it: RGB, as large as asked for, without metadata."""

from __future__ import annotations

import hashlib
import io
import math
import random
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.errors import MissingDependency
from lora_prep.model import Box, Photo
from lora_prep.opencv import load_opencv
from lora_prep.photos import (
    FoundFile,
    open_region,
    open_upright,
    pixels,
    power_of_two_below,
    read_photo,
)
from tests.photos.pictures import (
    GPS,
    MAKE,
    PLAIN,
    SKIN,
    colourful,
    exif_of,
    largest_difference,
    mean_difference,
    orientation_tag,
    saved,
    sixteen_bit_grey,
    srgb_profile,
    upright_picture,
    watched_jpegs,
)
from tests.sample import SAMPLE_DATA, examples

pytestmark = pytest.mark.slow  # real pictures are decoded and drawn

# ── formats ───────────────────────────────────────────────────────────────────────────────────


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
    assert open_upright(file.path, least_side_px=16).size == (16, 12)


def test_sixteen_bit_grey_larger_than_wanted_is_read(tmp_path: Path) -> None:
    file = saved(tmp_path / "scan.png", sixteen_bit_grey(90, (400, 300)))

    small = open_upright(file.path, least_side_px=100)

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

    for picture in (open_upright(file.path), open_upright(file.path, least_side_px=32)):
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
    open_upright(path, least_side_px=200)

    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


EXIF_FOLDER, TAKEN, CHANGED = 0x8769, 0x9003, 0x0132


def taken(text: str | bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(EXIF_FOLDER)[TAKEN] = text
    return exif.tobytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "heic", "avif"])
def test_when_a_photo_was_taken_is_read(tmp_path: Path, suffix: str) -> None:
    exif = taken("2024:05:06 07:08:09")

    photo = read_photo(saved(tmp_path / f"1.{suffix}", PLAIN, exif=exif))

    assert photo.taken_at == datetime(2024, 5, 6, 7, 8, 9)  # noqa: DTZ001  cameras know no zone
    assert photo.taken_at.tzinfo is None


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        taken(""),
        taken("0000:00:00 00:00:00"),
        taken("    :  :     :  :  "),
        taken("yesterday"),
        taken("2024:13:41 25:61:61"),
        taken("2024-05-06T07:08:09"),
        taken("\u0661\u0662"),
        b"Exif\0\0nonsense nonsense",
        exif_of((EXIF_FOLDER, 4, 1, b"\xff\xff\xff\x7f")),  # a folder behind the file's end
        exif_of((EXIF_FOLDER, 2, 3, b"no")),
    ],
)
def test_without_a_time_to_trust_there_is_none(tmp_path: Path, exif: bytes) -> None:
    photo = read_photo(saved(tmp_path / "1.jpg", PLAIN, exif=exif))

    assert photo.taken_at is None


def test_when_the_file_was_changed_is_not_when_it_was_taken(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[CHANGED] = "2024:05:06 07:08:09"

    assert read_photo(saved(tmp_path / "1.jpg", PLAIN, exif=exif)).taken_at is None


# ── size ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("size", [(1600, 1200), (1201, 1603), (1999, 333), (400, 300), (401, 401)])
def test_a_reduced_picture_is_large_enough_keeps_its_shape_and_is_never_enlarged(
    tmp_path: Path, size: tuple[int, int], suffix: str
) -> None:
    whole = colourful(*size)
    file = saved(tmp_path / f"1.{suffix}", whole, quality=95, compress_level=1, method=0)

    reduced = open_upright(file.path, least_side_px=400)

    factor = power_of_two_below(max(size) / 400)
    assert reduced.size == tuple(math.ceil(side / factor) for side in size)
    assert max(reduced.size) >= 400
    assert mean_difference(reduced, whole.reduce(factor)) < 2
    assert open_upright(file.path, least_side_px=5000).size == size


@pytest.mark.parametrize("side_px", [8, 16, 31, 250])
def test_beyond_what_the_jpeg_decoder_can_do_the_rest_is_done_by_area(
    tmp_path: Path, side_px: int
) -> None:
    whole = colourful(1000, 700)
    file = saved(tmp_path / "1.jpg", whole, quality=95)

    reduced = open_upright(file.path, least_side_px=side_px)

    assert reduced.size[0] == math.ceil(1000 / power_of_two_below(1000 / side_px))
    assert mean_difference(reduced, whole.reduce(power_of_two_below(1000 / side_px))) < 6


@pytest.mark.parametrize("size", [(4000, 1), (1, 4000), (3, 5), (1, 1)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_strip_of_pixels_is_read(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    file = saved(tmp_path / f"1.{suffix}", Image.new("RGB", size, SKIN), quality=95)

    reduced = open_upright(file.path, least_side_px=1000)

    assert max(reduced.size) == min(1000, max(size))
    assert min(reduced.size) in {1, 3}


@examples(100)
@hypothesis.given(st.floats(0.01, 1e6))
def test_the_power_of_two_is_the_largest_that_is_not_above(ratio: float) -> None:
    power = power_of_two_below(ratio)

    assert power & (power - 1) == 0
    assert power == 1 or power <= ratio
    assert power * 2 > ratio


@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600)])
def test_a_large_jpeg_is_decoded_once_at_twice_the_reduced_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    file = saved(tmp_path / "1.jpg", Image.new("RGB", size, SKIN))
    photo = read_photo(file)
    decoded = watched_jpegs(monkeypatch)

    copy = open_upright(file.path, least_side_px=400)
    part, _ = open_region(photo, Box(0, 0, 200, 200), reduction=2)

    assert copy.size == (size[0] // 4, size[1] // 4)
    assert part.size == (100, 100)
    # The part at half scale comes from the same pixels: a closer look at a face costs nothing.
    assert decoded == [(size[0] // 2, size[1] // 2)]


@pytest.mark.parametrize("size", [(640, 480), (63, 40), (40, 63), (1, 9), (33, 1)])
def test_pixels_are_averaged_as_pillow_does_it(size: tuple[int, int]) -> None:
    picture = Image.frombytes("RGB", size, random.Random(1).randbytes(3 * size[0] * size[1]))

    halved = Image.fromarray(pixels._averaged(np.asarray(picture), 2))

    assert halved.size == picture.reduce(2).size
    assert largest_difference(halved, picture.reduce(2)) <= 1


def test_a_missing_library_is_no_verdict_on_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(tmp_path / "1.jpg", colourful(800, 600))
    monkeypatch.setitem(sys.modules, "cv2", None)
    load_opencv.cache_clear()

    with pytest.raises(MissingDependency):
        open_upright(file.path, least_side_px=400)


def test_a_file_that_was_written_anew_is_decoded_anew(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    Image.new("RGB", (1600, 1200), "red").save(path)
    red = open_upright(path, least_side_px=400).getpixel((5, 5))
    Image.new("RGB", (1600, 1200), "blue").save(path)

    assert open_upright(path, least_side_px=400).getpixel((5, 5)) != red
