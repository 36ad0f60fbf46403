"""Each measure sees what it is for and nothing else: dark is not blurred, large is not sharp."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lora_prep.faces import scaled
from lora_prep.inspection.judge import reasons_in
from lora_prep.inspection.measures import measure_face
from lora_prep.inspection.thresholds import SHARPNESS_LEAST
from lora_prep.model import Box, Face, Measures, ReasonCode
from lora_prep.photos import open_upright
from tests.sample import SAMPLE_DATA, a_face, textured

FACE = a_face(400)
SHARP = textured((1000, 1000))


def sharpness(image: Image.Image, face: Face = FACE) -> float:
    return measure_face(image, face).sharpness


def test_blur_of_any_kind_lowers_the_sharpness_of_a_real_face_below_its_limit() -> None:
    photo = open_upright(SAMPLE_DATA / "people" / "ada" / "ada_02.jpg")
    photo = photo.crop((350, 530, 850, 1130))  # around the face that the pack finds
    face = Face(Box(405.7 - 350, 584.6 - 530, 383.4, 498.8), 0.94, FACE.landmarks, ())
    assert sharpness(photo, face) > 2 * SHARPNESS_LEAST
    assert sharpness(photo.filter(ImageFilter.GaussianBlur(6)), face) < SHARPNESS_LEAST
    pixels = np.asarray(photo, np.float32)
    shaken = np.mean([np.roll(pixels, (step // 2, step), (0, 1)) for step in range(36)], axis=0)
    assert sharpness(Image.fromarray(shaken.astype(np.uint8)), face) < SHARPNESS_LEAST


@pytest.mark.parametrize("brightness", [0.3, 0.6, 1.3])
def test_light_does_not_change_the_sharpness(brightness: float) -> None:
    lit = ImageEnhance.Brightness(SHARP).enhance(brightness)
    assert sharpness(lit) == pytest.approx(sharpness(SHARP), rel=0.25)


def test_the_size_of_the_photo_does_not_change_what_is_measured() -> None:
    large = SHARP.resize((2000, 2000), Image.Resampling.LANCZOS)
    one, two = measure_face(SHARP, FACE), measure_face(large, scaled(FACE, 2))
    assert two.sharpness == pytest.approx(one.sharpness, rel=0.2)
    assert two.luma_median == pytest.approx(one.luma_median, abs=2)
    assert two.yaw_deg == pytest.approx(one.yaw_deg)


def test_only_the_face_counts() -> None:
    dark_face = SHARP.copy()
    box = tuple(round(side) for side in (300, 200, 600, 600))
    dark_face.paste(ImageEnhance.Brightness(SHARP.crop(box)).enhance(0.1), box)
    assert measure_face(dark_face, FACE).luma_median < 35
    assert measure_face(SHARP, FACE).luma_median > 100


def test_clipped_pixels_are_counted() -> None:
    image = Image.new("RGB", (1000, 1000), "white")
    image.paste(SHARP.crop((300, 200, 450, 600)), (300, 200))  # the left half of the face is fine
    assert measure_face(image, FACE).clipped_share == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "box", [Box(-50, -50, 200, 300), Box(900, 900, 300, 300), Box(500, 500, 0.2, 0.2)]
)
def test_a_face_at_or_over_the_edge_is_measured(box: Box) -> None:
    face = Face(box, 0.9, FACE.landmarks, FACE.embedding)
    assert measure_face(SHARP, face).sharpness >= 0


def test_one_colour_has_no_sharpness() -> None:
    assert sharpness(Image.new("RGB", (1000, 1000), "grey")) == 0


def looking(yaw_deg: float, *, mirrored: bool = False) -> Face:
    """A head of eyes 100 apart and a nose 50 deep, turned by an angle and seen from far away."""
    turn = np.radians(-yaw_deg if mirrored else yaw_deg)
    points = [(-50, 0, 0), (50, 0, 0), (0, 60, 50), (-40, 100, 0), (40, 100, 0)]  # x, y, depth
    cos, sin = np.cos(turn), np.sin(turn)
    flat = tuple((500 + x * cos + depth * sin, 500.0 + y) for x, y, depth in points)
    return Face(Box(400, 400, 200, 260), 0.9, flat, ())


@pytest.mark.parametrize("yaw_deg", [0, 20, 45, 70, 85])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_angle_of_a_turned_head_comes_back_with_its_side(
    yaw_deg: float, mirrored: bool
) -> None:
    face = looking(yaw_deg, mirrored=mirrored)
    expected = -yaw_deg if mirrored else yaw_deg
    assert measure_face(SHARP, face).yaw_deg == pytest.approx(expected, abs=0.5)


GOOD = {"sharpness": 100.0, "luma_median": 120.0, "clipped_share": 0.0, "yaw_deg": 10.0}


@pytest.mark.parametrize(
    ("odd", "code", "measured", "limit"),
    [
        ({"sharpness": 39.9}, ReasonCode.BLURRED, 39.9, 40),
        ({"luma_median": 34.0}, ReasonCode.TOO_DARK, 34, 35),
        ({"luma_median": 226.0}, ReasonCode.TOO_BRIGHT, 226, 225),
        ({"clipped_share": 0.101}, ReasonCode.TOO_DARK, 10.1, 10),
        ({"clipped_share": 0.5, "luma_median": 200.0}, ReasonCode.TOO_BRIGHT, 50, 10),
        ({"yaw_deg": 76.0}, ReasonCode.EXTREME_POSE, 76, 75),
        ({"yaw_deg": -76.0}, ReasonCode.EXTREME_POSE, 76, 75),
    ],
)
def test_each_limit_gives_its_reason_with_both_numbers(
    odd: dict[str, float], code: ReasonCode, measured: float, limit: float
) -> None:
    (reason,) = reasons_in(Measures(**{**GOOD, **odd}))
    assert (reason.code, reason.measured, reason.limit) == (code, measured, limit)
    assert reason.unit
    assert reasons_in(Measures(**GOOD)) == []


def test_a_dark_and_blurred_face_has_both_reasons() -> None:
    reasons = reasons_in(Measures(**{**GOOD, "sharpness": 5.0, "luma_median": 10.0}))
    assert [reason.code for reason in reasons] == [ReasonCode.TOO_DARK, ReasonCode.BLURRED]
