"""The crops of the sample people with the real open pack: whose face is in them, and how large."""

from __future__ import annotations

import math
from functools import cache

import pytest
from PIL import Image

from lora_prep.cropping import crop_photos
from lora_prep.framing import FRAMINGS
from lora_prep.model import Crop, Framing, Verdict
from lora_prep.selection import Wanted, select_photos
from tests.cropping.jpeg import only_pixels
from tests.sample import IDENTITY, LIMITS, SAMPLE_DATA, analyser, findings

pytestmark = pytest.mark.slow  # the real models are loaded and run


@cache
def kept(framing: Framing) -> tuple[Verdict, ...]:
    wanted = Wanted(
        needed=10,
        at_most=30,
        framing=framing,
        min_size_px=LIMITS.min_side_px,
        identity=IDENTITY,
    )
    return select_photos(SAMPLE_DATA / "people/ada", findings("people/ada"), wanted).kept


@pytest.fixture(scope="module", params=sorted(FRAMINGS))
def crops(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Crop, ...]:
    return crop_photos(kept(request.param), tmp_path_factory.mktemp("crops"), size_px=1024)


def verdict_of(crop: Crop) -> Verdict:
    return next(
        verdict
        for framing in FRAMINGS
        for verdict in kept(framing)
        if verdict.name == crop.source and verdict.crop == crop.box
    )


def test_the_photos_did_hold_a_place_to_begin_with() -> None:
    for name in ("ada_04.jpg", "ada_07.jpg"):
        with Image.open(SAMPLE_DATA / "people/ada" / name) as image:
            assert dict(image.getexif().get_ifd(0x8825))


def test_they_hold_pixels_and_nothing_else(crops: tuple[Crop, ...]) -> None:
    assert len(crops) >= 10
    for crop in crops:
        assert only_pixels(crop.path.read_bytes())
        assert only_pixels(crop.preview.read_bytes())
        assert crop.size_px == min(1024, crop.box.width) >= 512


def test_exactly_the_persons_face_is_found_again_in_every_crop(crops: tuple[Crop, ...]) -> None:
    for crop in crops:
        verdict = verdict_of(crop)
        assert verdict.face is not None
        with Image.open(crop.path) as image:
            image.load()
        (face,) = analyser().detect(image).faces
        vector = analyser().embed(image, face)
        assert math.dist(vector, verdict.face.embedding) < 0.4, crop.source
        assert face.score > 0.8, crop.source


def test_the_face_is_as_high_as_the_framing_says_unless_the_photo_ends(
    crops: tuple[Crop, ...],
) -> None:
    framed = 0
    for crop in crops:
        verdict = verdict_of(crop)
        assert verdict.framing is not None
        assert verdict.face is not None
        wanted_px = FRAMINGS[verdict.framing] * verdict.face.box.height
        with Image.open(crop.path) as image:
            image.load()
        (face,) = analyser().detect(image).faces
        share = face.box.height / crop.size_px
        if crop.box.width >= wanted_px - 1:  # not shrunk to fit
            framed += 1
            assert share == pytest.approx(1 / FRAMINGS[verdict.framing], rel=0.15), crop.source
        else:
            assert share > 0.85 / FRAMINGS[verdict.framing], crop.source
    assert framed or verdict.framing is Framing.UPPER_BODY
