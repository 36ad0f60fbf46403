"""What is found in each file: one finding, in its order, on however many workers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from lora_prep.events import Event
from lora_prep.inspection import Limits, inspect_photos
from lora_prep.model import Box, Face, Finding, ReasonCode
from lora_prep.photos import FoundFile, find_photos
from tests.inspection.fakes import FakeAnalyser, one_face
from tests.sample import LIMITS, a_face, textured

pytestmark = pytest.mark.slow  # many pictures are decoded


def photo(folder: Path, name: str, size: tuple[int, int] = (800, 1000)) -> FoundFile:
    textured(size).save(folder / name)
    return FoundFile(name, folder / name)


def inspected(
    file: FoundFile, *faces: Face, limits: Limits = LIMITS, turned_deg: int = 0
) -> Finding:
    analyser = FakeAnalyser(*faces, turned_deg=turned_deg)
    (finding,) = inspect_photos([file], analyser, limits, workers=1)
    return finding


def test_one_large_face_has_nothing_against_it(tmp_path: Path) -> None:
    face = a_face(400)

    finding = inspected(photo(tmp_path, "1.jpg"), face)

    assert finding.name == "1.jpg"
    assert finding.reasons == ()
    assert finding.fingerprint is not None
    assert finding.photo is not None
    assert (finding.photo.width_px, finding.photo.height_px) == (800, 1000)
    (judged,) = finding.faces
    assert judged.reasons == ()
    assert (judged.face.box, judged.face.landmarks) == (face.box, face.landmarks)
    assert judged.face.embedding == (300, 400)
    assert judged.measures is not None
    assert judged.phash is not None


def gates(finding: Finding) -> list[list[tuple[str, float | None, float | None]]]:
    """What is held against the photo, then against each face."""
    return [
        [(reason.code.value, reason.measured, reason.limit) for reason in reasons]
        for reasons in (finding.reasons, *(face.reasons for face in finding.faces))
    ]


@pytest.mark.parametrize(
    ("size", "faces", "expected"),
    [
        ((800, 1000), [], [[("no_face", 0, 1)]]),
        ((800, 1000), [120], [[], [("face_too_small", 120, 233)]]),
        ((800, 500), [300], [[("crop_too_small", 500, 512)], []]),
        ((800, 1000), [400, 90], [[], [], [("face_too_small", 90, 233)]]),
        (
            (400, 300),
            [100, 90],
            [
                [("crop_too_small", 300, 512)],
                [("face_too_small", 100, 233)],
                [("face_too_small", 90, 233)],
            ],
        ),
    ],
)
def test_every_gate_says_its_number_and_its_limit(
    tmp_path: Path,
    size: tuple[int, int],
    faces: list[float],
    expected: list[list[tuple[str, float, float]]],
) -> None:
    placed = [a_face(height, x=20, y=20) for height in faces]

    finding = inspected(photo(tmp_path, "1.jpg", size), *placed)

    assert gates(finding) == expected
    assert finding.photo is not None
    against = [*finding.reasons, *(reason for face in finding.faces for reason in face.reasons)]
    assert all(reason.hint and reason.unit for reason in against)


@pytest.mark.parametrize(
    ("face_px", "side_px", "passes"), [(160, 512, True), (159, 512, False), (160, 511, False)]
)
def test_the_limit_itself_is_enough(
    tmp_path: Path, face_px: int, side_px: int, passes: bool
) -> None:
    file = photo(tmp_path, "1.png", (side_px, 600))

    finding = inspected(file, a_face(face_px), limits=Limits(160, 512))

    assert (not any(gates(finding))) is passes


def test_two_faces_are_both_judged_and_none_is_a_reason_against_the_photo(tmp_path: Path) -> None:
    larger, smaller = a_face(400, x=50), a_face(300, x=450)

    finding = inspected(photo(tmp_path, "1.jpg"), larger, smaller)

    assert gates(finding) == [[], [], []]
    assert [judged.face.box for judged in finding.faces] == [larger.box, smaller.box]
    assert [judged.face.embedding for judged in finding.faces] == [(50, 400), (450, 300)]


def test_a_face_with_something_against_it_is_not_embedded(tmp_path: Path) -> None:
    Image.new("RGB", (800, 1000), "grey").save(tmp_path / "smooth.png")

    (judged,) = inspected(FoundFile("smooth.png", tmp_path / "smooth.png"), a_face(400)).faces

    assert [reason.code for reason in judged.reasons] == [ReasonCode.BLURRED]
    assert judged.face.embedding == ()


def test_a_small_face_is_told_to_be_blurred_as_well(tmp_path: Path) -> None:
    Image.new("RGB", (800, 1000), "grey").save(tmp_path / "smooth.png")

    (judged,) = inspected(FoundFile("smooth.png", tmp_path / "smooth.png"), a_face(200)).faces

    # A smaller crop would not rescue it.
    assert [reason.code for reason in judged.reasons] == [
        ReasonCode.FACE_TOO_SMALL,
        ReasonCode.BLURRED,
    ]


def test_a_tiny_face_is_told_and_not_measured(tmp_path: Path) -> None:
    (judged,) = inspected(photo(tmp_path, "1.jpg"), a_face(159), limits=Limits(100, 512)).faces

    assert (judged.measures, judged.phash, judged.face.embedding) == (None, None, ())


def test_the_copy_is_at_least_as_large_as_the_detector_needs_and_faces_are_in_source_pixels(
    tmp_path: Path,
) -> None:
    analyser = FakeAnalyser(a_face(200, x=300, y=100))

    (finding,) = inspect_photos([photo(tmp_path, "1.jpg", (3200, 2400))], analyser, LIMITS)

    assert analyser.sizes == [(1600, 1200)]
    (judged,) = finding.faces
    assert judged.face.box.to_json() == [600, 200, 300, 400]
    assert judged.face.landmarks[0] == (600, 200)


@pytest.mark.parametrize("turned_deg", [90, 180, 270])
def test_a_photo_that_had_to_be_turned_is_measured_as_it_was_turned(
    tmp_path: Path, turned_deg: int
) -> None:
    picture = textured((1000, 800))
    picture.paste("black", (0, 0, 1000, 400))  # the upper half, while it is not turned
    picture.save(tmp_path / "1.png")
    file = FoundFile("1.png", tmp_path / "1.png")
    turned = picture.rotate(-turned_deg, expand=True)
    bright = turned.convert("L").point(lambda value: 255 * (value > 20)).getbbox() or ()
    face = Face(Box(bright[0] + 50, bright[1] + 50, 250, 300), 0.9, ((0.0, 0.0),) * 5)

    finding = inspected(file, face, turned_deg=turned_deg)

    assert finding.photo is not None
    assert finding.photo.turned_deg == turned_deg
    assert (finding.photo.width_px, finding.photo.height_px) == turned.size
    (judged,) = finding.faces
    assert judged.face.box == face.box
    assert judged.measures is not None
    assert judged.measures.luma_median > 100


def test_every_file_gets_one_finding_and_one_event_in_its_order(tmp_path: Path) -> None:
    for name in ("c.jpg", "a.png", "d/e.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo(tmp_path, name)
    (tmp_path / "b.txt").write_text("notes")
    analyser = one_face()
    events: list[Event] = []

    found = inspect_photos(find_photos(tmp_path), analyser, LIMITS, on_event=events.append)

    assert [(finding.name, len(finding.reasons)) for finding in found] == [
        ("a.png", 0),
        ("b.txt", 1),
        ("c.jpg", 0),
        ("d/e.webp", 0),
    ]
    assert len(analyser.sizes) == 3
    assert [(event.stage, event.done, event.total) for event in events] == [
        ("prepare", number, 4) for number in (1, 2, 3, 4)
    ]


def folder_of(folder: Path) -> tuple[FoundFile, ...]:
    """Photos of several sizes, a broken one and a stranger among them."""
    for number in range(9):
        textured((700 + 150 * number, 600 + 100 * number)).save(
            folder / f"{number}.jpg", quality=80 + number
        )
    (folder / "4.jpg").write_bytes((folder / "4.jpg").read_bytes()[:5000])
    (folder / "x.txt").write_text("notes")
    return find_photos(folder)


def by_size(image: Image.Image) -> Sequence[Face]:
    return (a_face(image.width / 4, x=image.width / 3), a_face(100, x=5, y=5))


def test_any_number_of_workers_finds_the_same(tmp_path: Path) -> None:
    files = folder_of(tmp_path)

    one, two, four, all_cores = (
        inspect_photos(files, FakeAnalyser(seen=by_size), LIMITS, workers=workers)
        for workers in (1, 2, 4, 0)
    )

    assert one == two == four == all_cores
    assert [len(finding.faces) for finding in one] == [2, 2, 2, 2, 0, 2, 2, 2, 2, 0]


def test_workers_work_side_by_side_and_no_more_than_allowed(tmp_path: Path) -> None:
    both_are_here = threading.Barrier(2, timeout=20)
    busy = threading.BoundedSemaphore(2)

    def meet(image: Image.Image) -> Sequence[Face]:
        with busy:
            both_are_here.wait()
        return ()

    files = [photo(tmp_path, f"{number}.jpg", (300, 200)) for number in range(4)]

    assert len(inspect_photos(files, FakeAnalyser(seen=meet), LIMITS, workers=2)) == 4


def test_the_order_of_the_files_changes_no_finding(tmp_path: Path) -> None:
    files = folder_of(tmp_path)

    there = inspect_photos(files, FakeAnalyser(seen=by_size), LIMITS)
    back = inspect_photos(files[::-1], FakeAnalyser(seen=by_size), LIMITS)

    assert back[::-1] == there


def test_a_file_that_vanished_since_it_was_found_is_a_finding(tmp_path: Path) -> None:
    file = photo(tmp_path, "1.jpg")
    file.path.unlink()

    finding = inspected(file, a_face())

    assert (finding.photo, finding.faces, finding.fingerprint) == (None, (), None)
    assert [reason.code for reason in finding.reasons] == [ReasonCode.UNREADABLE]


def test_no_file_gives_no_finding() -> None:
    assert inspect_photos([], one_face(), LIMITS) == ()


def test_an_analyser_that_fails_ends_it(tmp_path: Path) -> None:
    def fail(image: Image.Image) -> Sequence[Face]:
        raise RuntimeError("no models")

    with pytest.raises(RuntimeError, match="no models"):
        inspect_photos([photo(tmp_path, "1.jpg")], FakeAnalyser(seen=fail), LIMITS)
