"""A face that is small in the reduced copy is decoded once more: it is measured at one scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from lora_prep.faces import scaled
from lora_prep.inspection import SHARPNESS_LEAST, inspect_photos
from lora_prep.model import Box, Face, JudgedFace
from lora_prep.photos import FoundFile
from tests.inspection.fakes import FakeAnalyser
from tests.sample import LIMITS, textured

pytestmark = pytest.mark.slow  # large pictures are decoded

FACE_PX = (210, 280)  # as wide as the measure needs, and large enough for a crop
EYES = ((60.0, 100.0), (150.0, 100.0), (105.0, 150.0), (70.0, 200.0), (140.0, 200.0))


def a_photo_with_a_face(
    path: Path, size: tuple[int, int], at: tuple[int, int], face: Image.Image
) -> Face:
    """A dull picture with one textured part; return where that is, in source pixels."""
    picture = Image.new("RGB", size, (120, 110, 100))
    picture.paste(face, at)
    picture.save(path, quality=95)
    x, y = at
    points = tuple((x + across, y + down) for across, down in EYES)
    return Face(Box(x, y, *map(float, FACE_PX)), 0.9, points)


def judged(path: Path, face: Face, size: tuple[int, int]) -> tuple[JudgedFace, FakeAnalyser]:
    """What is measured when the detector sees the face in the reduced copy."""

    def seen(image: Image.Image) -> Sequence[Face]:
        return [scaled(face, image.width / size[0])]

    analyser = FakeAnalyser(seen=seen)
    (finding,) = inspect_photos([FoundFile(path.name, path)], analyser, LIMITS, workers=1)
    (one,) = finding.faces
    return one, analyser


SHARP = textured((400, 400)).crop((0, 0, *FACE_PX))


@pytest.mark.parametrize(
    ("suffix", "size"),
    [
        *(("jpg", (1000, 800)), ("jpg", (2100, 1500)), ("jpg", (4203, 3001))),
        *(("png", (1000, 800)), ("png", (2100, 1500))),
    ],
)
def test_a_sharp_face_is_as_sharp_in_a_large_photo_as_in_a_small_one(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    path = tmp_path / f"1.{suffix}"
    face = a_photo_with_a_face(path, size, (size[0] // 2, size[1] // 3), SHARP)
    reference = judged(*small(tmp_path))[0].measures

    one, analyser = judged(path, face, size)

    assert one.reasons == ()
    assert one.measures is not None
    assert reference is not None
    assert one.measures.sharpness == pytest.approx(reference.sharpness, rel=0.1)
    assert one.measures.luma_median == pytest.approx(reference.luma_median, abs=2)
    assert one.measures.yaw_deg == pytest.approx(reference.yaw_deg, abs=0.5)
    assert one.face.box.to_json() == face.box.to_json()
    ((_, embedded),) = analyser.embedded
    assert embedded.box.width >= 160  # the recogniser sees it at a scale it can use


def small(folder: Path) -> tuple[Path, Face, tuple[int, int]]:
    path = folder / "reference.png"
    return path, a_photo_with_a_face(path, (900, 700), (450, 233), SHARP), (900, 700)


def test_without_the_closer_look_it_would_be_smaller_than_it_is_measured(tmp_path: Path) -> None:
    size = (4203, 3001)
    face = a_photo_with_a_face(tmp_path / "1.jpg", size, (2000, 1000), SHARP)

    _, analyser = judged(tmp_path / "1.jpg", face, size)

    assert analyser.sizes == [(1051, 751)]
    (((width, _), embedded),) = analyser.embedded
    assert width < 600  # only the surroundings of the face, and not the photo
    assert embedded.box.width == pytest.approx(FACE_PX[0], abs=1)
    assert 0 <= embedded.box.x <= width - embedded.box.width


@pytest.mark.parametrize("size", [(1000, 800), (4203, 3001)])
def test_a_blurred_face_is_blurred_at_any_scale(tmp_path: Path, size: tuple[int, int]) -> None:
    blurred = SHARP.filter(ImageFilter.GaussianBlur(5))
    face = a_photo_with_a_face(tmp_path / "1.jpg", size, (500, 300), blurred)

    one, analyser = judged(tmp_path / "1.jpg", face, size)

    assert [reason.code.value for reason in one.reasons] == ["blurred"]
    assert analyser.embedded == []


@pytest.mark.parametrize("size", [(1000, 800), (4203, 3001)])
def test_a_dark_face_is_dark_and_not_blurred_at_any_scale(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    dark = ImageEnhance.Brightness(SHARP).enhance(0.18)
    face = a_photo_with_a_face(tmp_path / "1.jpg", size, (500, 300), dark)

    one, _ = judged(tmp_path / "1.jpg", face, size)

    assert [reason.code.value for reason in one.reasons] == ["too_dark"]
    assert one.measures is not None
    assert one.measures.sharpness > SHARPNESS_LEAST


@pytest.mark.parametrize("at", [(0, 0), (4203 - FACE_PX[0], 3001 - FACE_PX[1])])
def test_a_face_in_the_corner_is_measured_closely_too(tmp_path: Path, at: tuple[int, int]) -> None:
    size = (4203, 3001)
    face = a_photo_with_a_face(tmp_path / "1.jpg", size, at, SHARP)

    one, _ = judged(tmp_path / "1.jpg", face, size)

    assert one.reasons == ()
    assert one.measures is not None
    assert one.measures.sharpness > 2 * SHARPNESS_LEAST


def test_the_closer_look_turns_the_photo_as_it_was_turned(tmp_path: Path) -> None:
    size = (3000, 4200)
    path = tmp_path / "1.jpg"
    face = a_photo_with_a_face(path, size, (2000, 1000), SHARP)
    with Image.open(path) as upright:
        upright.rotate(90, expand=True).save(path, quality=95)  # stored on its side

    analyser = FakeAnalyser(scaled(face, 1 / 4), turned_deg=90)
    (finding,) = inspect_photos([FoundFile("1.jpg", path)], analyser, LIMITS, workers=1)

    (one,) = finding.faces
    assert finding.photo is not None
    assert (finding.photo.width_px, finding.photo.height_px) == size
    assert one.reasons == ()
    assert one.measures is not None
    assert one.measures.sharpness > 2 * SHARPNESS_LEAST
    assert one.face.box.to_json() == face.box.to_json()
