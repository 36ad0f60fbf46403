"""Which way is up: what the file says, and what was found out by turning."""

from __future__ import annotations

import warnings
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.model import Box
from lora_prep.photos import open_upright, read_photo
from lora_prep.photos.turning import stored_box, turn, turns_of, upright_box
from tests.photos.pictures import (
    MAKE,
    ORIENTATION,
    X_RESOLUTION,
    exif_of,
    largest_difference,
    orientation_tag,
    saved,
    stored,
    upright_picture,
)
from tests.sample import examples


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
    small = open_upright(file.path, least_side_px=48)
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


CLOCKWISE = {
    0: None,
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("turned_deg", CLOCKWISE)
@pytest.mark.parametrize("orientation", [1, 5, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_turn_that_was_found_out_comes_after_what_the_file_says(
    tmp_path: Path, suffix: str, orientation: int, turned_deg: int
) -> None:
    file = saved(
        tmp_path / f"1.{suffix}",
        stored(upright_picture(), orientation),
        exif=orientation_tag(orientation),
        **({"quality": 95, "subsampling": 0} if suffix == "jpg" else {}),
    )
    way = CLOCKWISE[turned_deg]
    expected = upright_picture().transpose(way) if way is not None else upright_picture()

    turned = open_upright(file.path, turned_deg=turned_deg)
    small = open_upright(file.path, turned_deg=turned_deg, least_side_px=48)

    assert largest_difference(turned, expected) <= 16
    assert largest_difference(small, expected.reduce(2)) <= 16


@examples(100)
@hypothesis.given(
    st.integers(1, 8),
    st.sampled_from(sorted(CLOCKWISE)),
    st.tuples(*[st.floats(0, 50)] * 4),
)
def test_a_box_goes_to_the_stored_pixels_and_back(
    orientation: int, turned_deg: int, sides: tuple[float, float, float, float]
) -> None:
    turns = turns_of(orientation, turned_deg)
    width, height = turn(Image.new("L", (200, 110)), turns).size
    box = Box(*sides)

    there = stored_box(box, turns, width, height)
    back = upright_box(there, turns, 200, 110)

    assert min(there.x, there.y) >= -1e-9
    assert there.x + there.width <= 200 + 1e-9
    assert there.y + there.height <= 110 + 1e-9
    for name in ("x", "y", "width", "height"):
        assert getattr(back, name) == pytest.approx(getattr(box, name), abs=1e-9)


@pytest.mark.parametrize("turned_deg", CLOCKWISE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_follows_its_pixels(orientation: int, turned_deg: int) -> None:
    turns = turns_of(orientation, turned_deg)
    pixels = Image.new("L", (20, 11))
    pixels.paste(255, (3, 2, 8, 6))

    box = upright_box(Box(3, 2, 5, 4), turns, 20, 11)

    upright = turn(pixels, turns)
    left, top, right, bottom = upright.getbbox() or ()
    assert box == Box(left, top, right - left, bottom - top)
    assert stored_box(box, turns, *upright.size) == Box(3, 2, 5, 4)
