"""Two copies of one picture have nearly one fingerprint, two pictures have not."""

from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image, ImageEnhance

from lora_prep.inspection.fingerprints import perceptual_hash, picture_fingerprint
from lora_prep.model import Box
from lora_prep.photos import open_upright
from tests.photos.pictures import colourful
from tests.sample import SAMPLE_DATA

PICTURE = colourful(800, 600)
NEAR = 6  # bits; what is no further apart is a near duplicate (facts of the field)


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def hash_of(image: Image.Image) -> int:
    return perceptual_hash(image, Box(0, 0, *image.size))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


@pytest.mark.parametrize(
    "copy",
    [
        PICTURE.resize((400, 300)),
        PICTURE.resize((1000, 750), Image.Resampling.LANCZOS),
        as_jpeg(PICTURE, 40),
        ImageEnhance.Brightness(PICTURE).enhance(0.8),
        ImageEnhance.Contrast(PICTURE).enhance(0.8),
        PICTURE.convert("L").convert("RGB"),
    ],
    ids=["smaller", "larger", "jpeg", "darker", "flatter", "grey"],
)
def test_a_copy_is_near(copy: Image.Image) -> None:
    assert bits(hash_of(PICTURE), hash_of(copy)) <= NEAR


def test_other_pictures_are_far() -> None:
    hashes = [hash_of(colourful(400, 300, seed=seed)) for seed in range(8)]

    assert min(bits(one, other) for one, other in combinations(hashes, 2)) > 10
    assert all(0 <= one < 1 << 64 for one in hashes)


def test_a_part_has_the_hash_of_that_part() -> None:
    box = Box(100, 50, 300, 200)

    part = perceptual_hash(PICTURE, box)

    assert bits(part, hash_of(PICTURE.crop((100, 50, 400, 250)))) <= 2
    assert bits(part, hash_of(PICTURE)) > NEAR


@pytest.mark.parametrize(
    "box", [Box(-50, -50, 200, 300), Box(700, 500, 300, 300), Box(400, 300, 0.2, 0.2)]
)
def test_a_part_at_or_over_the_edge_has_a_hash(box: Box) -> None:
    assert 0 <= perceptual_hash(PICTURE, box) < 1 << 64


def test_one_colour_has_a_hash() -> None:
    assert 0 <= hash_of(Image.new("RGB", (50, 1), "grey")) < 1 << 64


def test_the_same_pixels_have_the_same_fingerprint_whatever_was_written_beside() -> None:
    tagged = PICTURE.copy()
    tagged.info["comment"] = b"home"

    assert picture_fingerprint(tagged) == picture_fingerprint(PICTURE)


def test_one_changed_pixel_is_another_picture_that_looks_the_same() -> None:
    changed = PICTURE.copy()
    changed.putpixel((3, 3), (1, 2, 3))

    one, other = picture_fingerprint(PICTURE), picture_fingerprint(changed)

    assert one.pixels_sha256 != other.pixels_sha256
    assert bits(one.phash, other.phash) <= 1


def test_the_same_row_of_pixels_in_another_shape_is_another_picture() -> None:
    wide, high = Image.new("RGB", (40, 10), "grey"), Image.new("RGB", (10, 40), "grey")

    assert picture_fingerprint(wide).pixels_sha256 != picture_fingerprint(high).pixels_sha256


def test_the_look_is_the_mean_colours_of_a_grid() -> None:
    picture = Image.new("RGB", (400, 400), (255, 0, 0))
    picture.paste((0, 0, 255), (300, 300, 400, 400))

    look = picture_fingerprint(picture).look

    assert len(look) == 48
    assert look[:3] == (1, 0, 0)
    assert look[-3:] == (0, 0, 1)
    assert all(0 <= value <= 1 for value in look)


def test_the_near_duplicate_of_the_sample_data_is_near_and_its_neighbours_are_not() -> None:
    def sample(name: str) -> int:
        return hash_of(open_upright(SAMPLE_DATA / name, least_side_px=500))

    original = sample("people/ada/ada_02.jpg")
    assert bits(original, sample("rejects/near_duplicate_of_ada_02.jpg")) <= NEAR
    for other in ("people/ada/ada_01.jpg", "people/ada/ada_03.jpg", "rejects/very_dark.jpg"):
        assert bits(original, sample(other)) > NEAR
