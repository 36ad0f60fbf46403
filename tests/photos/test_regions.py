"""A part of a photo: the same pixels as those of the whole one, decoded at the cheapest scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageCms

from lora_prep.model import Box, Photo, ReasonCode
from lora_prep.photos import (
    UnreadablePhoto,
    open_crop,
    open_region,
    open_upright,
    power_of_two_below,
    read_photo,
)
from tests.photos.pictures import (
    SKIN,
    colourful,
    display_p3_profile,
    mean_difference,
    orientation_tag,
    p3_to_srgb,
    saved,
    stored,
    watched_jpegs,
)
from tests.sample import examples

pytestmark = pytest.mark.slow  # thousands of pictures are decoded

WIDTH, HEIGHT = 403, 299  # neither is a multiple of 8: the last pixels of a reduced picture are cut
SUFFIXES = {
    "jpg": {"quality": 95, "subsampling": 0},
    "png": {"compress_level": 1},
    "webp": {"lossless": True, "method": 0},
}


@pytest.fixture(scope="module")
def photo_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Photo]:
    """The same picture in each format, as a camera with each orientation stores it."""
    folder = tmp_path_factory.mktemp("photos")

    @cache
    def make(suffix: str, orientation: int) -> Photo:
        picture = stored(colourful(WIDTH, HEIGHT), orientation)
        path = folder / f"{orientation}.{suffix}"
        exif = orientation_tag(orientation)
        return read_photo(saved(path, picture, exif=exif, **SUFFIXES[suffix]))

    return make


def turned(photo: Photo, turned_deg: int) -> Photo:
    width, height = photo.width_px, photo.height_px
    if turned_deg in {90, 270}:
        width, height = height, width
    return Photo(
        photo.name, photo.path, photo.sha256, 1, photo.format, width, height, None, turned_deg
    )


@cache
def upright(path: Path, turned_deg: int) -> Image.Image:
    return open_upright(path, turned_deg=turned_deg)


def cut(photo: Photo, box: Box, side: int) -> Image.Image:
    """The square, from the whole picture at its full size."""
    whole = upright(photo.path, photo.turned_deg)
    assert whole.size == (photo.width_px, photo.height_px)
    edges = (box.x, box.y, box.x + box.width, box.y + box.height)
    return whole.resize((side, side), Image.Resampling.HAMMING, box=edges)


def a_square(photo: Photo, data: st.DataObject) -> Box:
    side = data.draw(st.integers(20, min(photo.width_px, photo.height_px)), "side")
    left = data.draw(st.integers(0, photo.width_px - side), "left")
    top = data.draw(st.integers(0, photo.height_px - side), "top")
    return Box(left, top, side, side)


@pytest.mark.parametrize("turned_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_crop_is_the_square_of_the_upright_picture(
    photo_of: Callable[[str, int], Photo], suffix: str, turned_deg: int
) -> None:
    @examples(16)
    @hypothesis.given(st.integers(1, 8), st.integers(48, 320), st.data())
    def check(orientation: int, size_px: int, data: st.DataObject) -> None:
        photo = turned(photo_of(suffix, orientation), turned_deg)
        box = a_square(photo, data)

        crop = open_crop(photo, box, size_px)

        assert crop.size == (min(size_px, int(box.width)),) * 2
        assert crop.mode == "RGB"
        assert crop.info == {}
        assert mean_difference(crop, cut(photo, box, crop.width)) < 2.5

    check()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_every_orientation_and_turn_in_its_corner(
    photo_of: Callable[[str, int], Photo], suffix: str
) -> None:
    """A square of four places that cannot be taken for one another."""
    for orientation in range(1, 9):
        for turned_deg in (0, 90, 180, 270):
            photo = turned(photo_of(suffix, orientation), turned_deg)
            for left, top in ((0, 0), (photo.width_px - 200, photo.height_px - 200)):
                box = Box(left, top, 200, 200)
                crop = open_crop(photo, box, 100)
                assert mean_difference(crop, cut(photo, box, 100)) < 2.5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_region_covers_its_box_and_says_what_place_it_is(
    photo_of: Callable[[str, int], Photo], suffix: str
) -> None:
    @examples(30)
    @hypothesis.given(
        st.integers(1, 8), st.sampled_from([0, 90, 180, 270]), st.sampled_from([1, 2, 4]), st.data()
    )
    def check(orientation: int, turned_deg: int, reduction: int, data: st.DataObject) -> None:
        photo = turned(photo_of(suffix, orientation), turned_deg)
        width = data.draw(st.floats(8, photo.width_px))
        height = data.draw(st.floats(8, photo.height_px))
        x = data.draw(st.floats(0, photo.width_px - width))
        y = data.draw(st.floats(0, photo.height_px - height))

        part, place = open_region(photo, Box(x, y, width, height), reduction=reduction)

        slack = 1e-6
        right, bottom = place.x + place.width, place.y + place.height
        assert x - reduction <= place.x <= x + slack
        assert y - reduction <= place.y <= y + slack
        assert x + width - slack <= right <= x + width + reduction
        assert y + height - slack <= bottom <= y + height + reduction
        # At an edge a reduced pixel may reach beyond the picture.
        assert min(place.x, place.y) > -reduction
        assert right < photo.width_px + reduction
        assert bottom < photo.height_px + reduction
        assert (part.width * reduction, part.height * reduction) == (place.width, place.height)
        whole = upright(photo.path, turned_deg)
        beyond = np.pad(np.asarray(whole), ((4, 4), (4, 4), (0, 0)), mode="edge")
        edges = (place.x + 4, place.y + 4, right + 4, bottom + 4)
        expected = Image.fromarray(beyond).crop(tuple(round(edge) for edge in edges))
        assert mean_difference(part, expected.reduce(reduction)) < 2

    check()


def test_a_whole_photo_is_a_region_too(photo_of: Callable[[str, int], Photo]) -> None:
    photo = photo_of("png", 6)

    part, place = open_region(photo, Box(0, 0, WIDTH, HEIGHT))

    assert place == Box(0, 0, WIDTH, HEIGHT)
    assert mean_difference(part, open_upright(photo.path)) == 0


@pytest.mark.parametrize(
    ("side", "size_px", "decoded"),
    [(1200, 1024, 1), (1200, 600, 2), (1200, 512, 2), (1200, 300, 4)],
)
def test_a_jpeg_is_decoded_at_the_largest_reduction_that_leaves_the_crop_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, size_px: int, decoded: int
) -> None:
    photo = read_photo(saved(tmp_path / "1.jpg", Image.new("RGB", (1600, 1200), SKIN)))
    sizes = watched_jpegs(monkeypatch)
    open_crop(photo, Box(100, 0, side, side), size_px)

    assert sizes == [(1600 // decoded, 1200 // decoded)]
    assert power_of_two_below(side / size_px) == decoded


def test_only_the_part_that_is_wanted_goes_through_colour_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = read_photo(
        saved(tmp_path / "1.jpg", colourful(1600, 1200), icc_profile=display_p3_profile())
    )
    converted = []
    convert = ImageCms.profileToProfile

    def watched(image: Image.Image, *given: Any, **more: Any) -> Any:
        converted.append(image.width * image.height)
        return convert(image, *given, **more)

    monkeypatch.setattr(ImageCms, "profileToProfile", watched)
    open_crop(photo, Box(700, 500, 200, 200), 100)

    (pixels,) = converted
    assert pixels < 130 * 130  # the square at half its size, and what the filter sees around it


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("size_px", [300, 60])
def test_display_p3_is_converted_in_a_part_too(tmp_path: Path, suffix: str, size_px: int) -> None:
    plain = Image.new("RGB", (400, 300), SKIN)
    file = saved(tmp_path / f"1.{suffix}", plain, icc_profile=display_p3_profile(), quality=95)

    crop = open_crop(read_photo(file), Box(50, 0, 300, 300), size_px)

    assert crop.getpixel((9, 9)) == pytest.approx(p3_to_srgb(SKIN), abs=3)


def grey16() -> Image.Image:
    pixels = np.asarray(colourful(400, 300).convert("L")).astype(np.uint16) << 8
    return Image.fromarray(pixels)


def see_through() -> Image.Image:
    picture = colourful(400, 300).convert("RGBA")
    picture.putalpha(colourful(400, 300, seed=2).convert("L"))
    return picture


def see_through_palette() -> Image.Image:
    palette = colourful(400, 300).quantize(32)
    palette.info["transparency"] = 3
    return palette


ODD = {
    "print.jpg": lambda: colourful(400, 300).convert("CMYK"),
    "print.tif": lambda: colourful(400, 300).convert("CMYK"),
    "grey.jpg": lambda: colourful(400, 300).convert("L"),
    "grey16.png": grey16,
    "grey16.tif": grey16,
    "alpha.png": see_through,
    "alpha.webp": see_through,
    "grey_alpha.png": lambda: see_through().convert("LA"),
    "palette.png": lambda: colourful(400, 300).quantize(32),
    "palette.gif": lambda: colourful(400, 300).quantize(32),
    "palette_alpha.png": see_through_palette,
    "one_bit.png": lambda: colourful(400, 300).convert("1", dither=Image.Dither.NONE),
    "phone.heic": lambda: colourful(400, 300),
    "phone.avif": lambda: colourful(400, 300),
}


@pytest.mark.parametrize("size_px", [300, 70])
@pytest.mark.parametrize("name", ODD)
def test_a_part_of_any_kind_of_pixels_is_that_of_the_whole(
    tmp_path: Path, name: str, size_px: int
) -> None:
    photo = read_photo(saved(tmp_path / name, ODD[name]()))
    box = Box(77, 0, 300, 300)

    crop = open_crop(photo, box, size_px)

    assert crop.mode == "RGB"
    assert crop.size == (size_px, size_px)
    assert mean_difference(crop, cut(photo, box, size_px)) < 4


def test_the_pixels_around_the_square_are_seen_by_the_filter_and_no_others(tmp_path: Path) -> None:
    picture = Image.new("RGB", (900, 900), "black")
    picture.paste("white", (300, 300, 600, 600))
    photo = read_photo(saved(tmp_path / "1.png", picture))
    box = Box(300, 300, 300, 300)

    assert open_crop(photo, box, 300).getextrema() == ((255, 255),) * 3  # no filter at 1:1
    small = np.asarray(open_crop(photo, box, 100))
    assert small[3:-3, 3:-3].min() == 255
    assert mean_difference(Image.fromarray(small), cut(photo, box, 100)) < 1


@pytest.mark.parametrize("side", [33, 100, 299])
def test_a_square_that_is_smaller_than_wanted_keeps_its_pixels(
    photo_of: Callable[[str, int], Photo], side: int
) -> None:
    photo = photo_of("png", 1)

    crop = open_crop(photo, Box(10, 0, side, side), 1024)

    whole = open_upright(photo.path)
    assert crop.size == (side, side)
    assert mean_difference(crop, whole.crop((10, 0, 10 + side, side))) == 0


@pytest.mark.parametrize("reduction", [1, 2, 4, 8, 16])
def test_the_size_of_a_reduced_part(photo_of: Callable[[str, int], Photo], reduction: int) -> None:
    part, place = open_region(photo_of("jpg", 1), Box(0, 0, WIDTH, HEIGHT), reduction=reduction)

    assert part.size == (math.ceil(WIDTH / reduction), math.ceil(HEIGHT / reduction))
    assert (place.width, place.height) == (part.width * reduction, part.height * reduction)


@pytest.mark.parametrize("open_it", [open_region, lambda photo, box: open_crop(photo, box, 50)])
def test_a_photo_that_broke_since_is_unreadable(tmp_path: Path, open_it: Any) -> None:
    photo = read_photo(saved(tmp_path / "1.jpg", colourful(400, 300)))
    data = photo.path.read_bytes()

    for broken in (data[: len(data) // 2], b"", b"shopping list"):
        photo.path.write_bytes(broken)
        with pytest.raises(UnreadablePhoto):
            open_it(photo, Box(0, 100, 200, 200))
    photo.path.unlink()
    with pytest.raises(UnreadablePhoto) as unreadable:
        open_it(photo, Box(0, 100, 200, 200))
    assert unreadable.value.reason.code is ReasonCode.UNREADABLE
