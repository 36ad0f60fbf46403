"""What speaks against a photo: each gate with its number and its limit, on made-up faces."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.cropping import crop_box, smallest_face_px
from lora_prep.events import Event
from lora_prep.inspection import Limits, inspect_photos
from lora_prep.model import Face, Finding, ReasonCode
from lora_prep.photos import FoundFile, find_photos
from tests.sample import LIMITS, a_face, examples, textured


def photo(folder: Path, name: str, size: tuple[int, int] = (800, 1000)) -> FoundFile:
    textured(size).save(folder / name)
    return FoundFile(name, folder / name)


def inspected(file: FoundFile, *faces: Face, limits: Limits = LIMITS) -> Finding:
    (finding,) = inspect_photos([file], lambda _: faces, limits)
    return finding


def gates(finding: Finding) -> list[tuple[str, float | None, float | None]]:
    return [(reason.code.value, reason.measured, reason.limit) for reason in finding.reasons]


def test_one_large_face_is_usable(tmp_path: Path) -> None:
    face = a_face(400)

    finding = inspected(photo(tmp_path, "1.jpg"), face)

    assert finding.usable
    assert finding.name == "1.jpg"
    assert finding.face == face
    assert finding.photo is not None
    assert (finding.photo.width_px, finding.photo.height_px) == (800, 1000)


@pytest.mark.parametrize(
    ("size", "faces", "expected"),
    [
        ((800, 1000), [], [("no_face", 0, 1)]),
        ((800, 1000), [400, 390], [("several_faces", 2, 1)]),
        ((800, 1000), [400, 90, 80], [("several_faces", 3, 1)]),
        ((800, 1000), [120], [("face_too_small", 120, 233)]),
        ((800, 500), [300], [("crop_too_small", 500, 512)]),
        (
            (400, 300),
            [100, 90],
            [("several_faces", 2, 1), ("face_too_small", 100, 233), ("crop_too_small", 300, 512)],
        ),
    ],
)
def test_every_gate_says_its_number_and_its_limit(
    tmp_path: Path,
    size: tuple[int, int],
    faces: list[float],
    expected: list[tuple[str, float, float]],
) -> None:
    finding = inspected(photo(tmp_path, "1.jpg", size), *map(a_face, faces))

    assert gates(finding) == expected
    assert not finding.usable
    assert finding.photo is not None
    assert (finding.face is None) == (not faces)
    assert all(reason.hint and reason.unit for reason in finding.reasons)


@pytest.mark.parametrize(
    ("face_px", "side_px", "usable"), [(160, 512, True), (159, 512, False), (160, 511, False)]
)
def test_the_limit_itself_is_enough(
    tmp_path: Path, face_px: int, side_px: int, usable: bool
) -> None:
    file = photo(tmp_path, "1.png", (side_px, 600))

    assert inspected(file, a_face(face_px), limits=Limits(160, 512)).usable is usable


def test_what_passes_is_never_cropped_below_the_smallest_size(tmp_path: Path) -> None:
    file = photo(tmp_path, "1.png", (600, 640))

    @examples(15)
    @hypothesis.given(st.floats(231, 235))
    def check(height: float) -> None:
        face = a_face(height)
        if inspected(file, face).usable:
            assert crop_box(face.box, 600, 640).width >= 512

    check()


@pytest.mark.parametrize("min_size", [256, 512, 513, 768, 1024, 1100, 2048])
def test_the_smallest_face_reaches_the_smallest_crop(min_size: int) -> None:
    height = smallest_face_px(min_size)

    assert crop_box(a_face(height, x=2000, y=2000).box, 9000, 9000).width >= min_size
    assert height >= 160


def test_faces_are_told_in_pixels_of_the_source(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def analyse(image: Image.Image) -> tuple[Face, ...]:
        seen.append(image.size)
        return (a_face(200, x=300, y=100),)

    (finding,) = inspect_photos([photo(tmp_path, "1.jpg", (3200, 2400))], analyse, LIMITS)

    assert seen == [(1600, 1200)]
    assert finding.usable
    assert finding.face is not None
    assert finding.face.box.to_json() == [600, 200, 300, 400]
    assert finding.face.landmarks[0] == (600, 200)


def test_every_file_gets_one_finding_and_one_event_in_its_order(tmp_path: Path) -> None:
    for name in ("c.jpg", "a.png", "d/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo(tmp_path, name)
    (tmp_path / "b.txt").write_text("notes")
    analysed: list[Image.Image] = []
    events: list[Event] = []

    def analyse(image: Image.Image) -> tuple[Face, ...]:
        analysed.append(image)
        return (a_face(),)

    found = inspect_photos(find_photos(tmp_path), analyse, LIMITS, events.append)

    assert [(finding.name, finding.usable) for finding in found] == [
        ("a.png", True),
        ("b.txt", False),
        ("c.jpg", True),
        ("d/e.webp", True),
    ]
    assert len(analysed) == 3
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("prepare", number, 4) for number in (1, 2, 3, 4)
    ]


def test_a_file_that_vanished_since_it_was_found_is_a_finding(tmp_path: Path) -> None:
    file = photo(tmp_path, "1.jpg")
    file.path.unlink()

    finding = inspected(file, a_face())

    assert (finding.photo, finding.face) == (None, None)
    assert [reason.code for reason in finding.reasons] == [ReasonCode.UNREADABLE]


def test_no_file_gives_no_finding() -> None:
    assert inspect_photos([], lambda _: (), LIMITS) == ()
