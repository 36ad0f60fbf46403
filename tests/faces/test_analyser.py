"""The real open pack on the sample people, against the table that came with the pictures."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from lora_prep.faces import ANALYSIS_SIDE_PX, FaceAnalyser, scaled
from lora_prep.model import Face
from lora_prep.photos import open_upright
from tests.sample import SAMPLE_DATA, a_face, analyser, findings

pytestmark = pytest.mark.slow  # the real models are loaded and run


def table() -> Iterator[tuple[str, float, int]]:
    """File, score and face width of every sample picture with one face (sample_data/README.md)."""
    row = re.compile(r"\| (ada/\S+) \| \d+ \| \S+ \| (0\.\d+) (\d+)px \|")
    for line in (SAMPLE_DATA / "README.md").read_text().splitlines():
        if match := row.match(line):
            yield match[1], float(match[2]), int(match[3])


@cache
def face_of(name: str) -> Face:
    """The only face of a sample picture, in pixels of its reduced copy, with its vector."""
    image = copy_of(f"people/{name}")
    (face,) = analyser().detect(image).faces
    return replace(face, embedding=analyser().embed(image, face))


def copy_of(name: str) -> Image.Image:
    return open_upright(SAMPLE_DATA / name, least_side_px=ANALYSIS_SIDE_PX)


def distance(one: str, other: str) -> float:
    return math.dist(face_of(one).embedding, face_of(other).embedding)


def test_score_and_width_are_those_of_the_sample_table() -> None:
    found = {f"ada/{finding.name}": finding for finding in findings("people/ada")}
    rows = list(table())
    assert len(rows) == 16

    for name, score, width in rows:
        finding = found[name]
        (judged,) = finding.faces
        assert finding.reasons == judged.reasons == ()
        assert finding.photo is not None
        assert judged.face.score == pytest.approx(score, abs=0.03), name
        # The table was measured at full size; twice as large as needed is halved first: 3 % there.
        reduced = max(finding.photo.width_px, finding.photo.height_px) >= 2 * ANALYSIS_SIDE_PX
        allowed = 0.03 * width if reduced else 3
        assert judged.face.box.width == pytest.approx(width, abs=allowed), name


def test_a_photo_stored_sideways_has_an_upright_face() -> None:
    path = SAMPLE_DATA / "people/ada/ada_07.jpg"
    with Image.open(path) as stored:
        assert stored.getexif()[0x0112] == 6
        assert stored.size == (1600, 1200)

    face = face_of("ada/ada_07.jpg")

    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]  # the person's own right is on our left
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert face.box.height > face.box.width
    for x, y in face.landmarks:
        assert face.box.x < x < face.box.x + face.box.width
        assert face.box.y < y < face.box.y + face.box.height


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada/ada_01.jpg", "ada/ada_02.jpg"),
        ("ada/ada_01.jpg", "ada/ada_07.jpg"),
        ("ada/ada_01.jpg", "ada/ada_08.jpg"),
        ("ben/ben_01.jpg", "ben/ben_08.jpg"),
    ],
)
def test_two_pictures_of_one_person_are_close(one: str, other: str) -> None:
    assert 0.1 < distance(one, other) <= 0.53


@pytest.mark.parametrize("ben", ["ben/ben_01.jpg", "ben/ben_08.jpg"])
@pytest.mark.parametrize("ada", ["ada/ada_01.jpg", "ada/ada_08.jpg", "ada/ada_12.webp"])
def test_two_people_are_apart(ada: str, ben: str) -> None:
    assert distance(ada, ben) >= 0.68


def test_the_vector_is_raw_and_has_128_numbers() -> None:
    embedding = face_of("ada/ada_01.jpg").embedding

    assert len(embedding) == 128
    assert all(isinstance(number, float) and math.isfinite(number) for number in embedding)
    assert math.hypot(*embedding) != pytest.approx(1, abs=0.01)


def test_two_faces_come_with_the_larger_first() -> None:
    image = copy_of("rejects/two_people.jpg")

    larger, smaller = analyser().detect(image).faces

    assert larger.box.height > smaller.box.height
    vectors = [analyser().embed(image, face) for face in (larger, smaller)]
    assert math.dist(*vectors) >= 0.68


def test_what_is_detected_has_no_vector_yet() -> None:
    detection = analyser().detect(copy_of("people/ada/ada_10.png"))

    assert detection.turned_deg == 0
    assert detection.score == detection.faces[0].score
    assert [face.embedding for face in detection.faces] == [()]


def test_the_same_picture_gives_the_same_faces() -> None:
    image = copy_of("people/ada/ada_10.png")

    one, other = analyser().detect(image), analyser().detect(image.copy())

    assert one == other
    assert analyser().embed(image, one.faces[0]) == analyser().embed(image, other.faces[0])


def test_several_threads_may_use_one_analyser_and_see_what_one_sees() -> None:
    images = [
        copy_of(name)
        for name in (
            *("people/ada/ada_02.jpg", "people/ada/ada_10.png", "people/ben/ben_01.jpg"),
            *("rejects/two_people.jpg", "rejects/no_face_mug.jpg", "rejects/very_dark.jpg"),
        )
    ] * 2
    fresh = FaceAnalyser()  # so that the four race for the loading too
    together = threading.Barrier(4, timeout=60)
    begun = threading.local()

    def look(image: Image.Image, analyser: FaceAnalyser = fresh) -> object:
        if analyser is fresh and not hasattr(begun, "yes"):
            begun.yes = True
            together.wait()
        faces = analyser.detect(image).faces
        return faces, [analyser.embed(image, face) for face in faces]

    with ThreadPoolExecutor(4) as pool:
        by_four = list(pool.map(look, images))

    assert by_four == [look(image, analyser()) for image in images]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1600, 4), (1600, 1), (1, 1600)])
def test_a_picture_of_any_shape_is_analysed(size: tuple[int, int]) -> None:
    detection = analyser().detect(Image.new("RGB", size, "grey"))

    assert (detection.faces, detection.turned_deg, detection.score) == ((), 0, 0)


def test_scaled_brings_a_face_to_the_source() -> None:
    face = a_face(400, x=100, y=50)

    twice = scaled(face, 2)

    assert twice.box.to_json() == [200, 100, 600, 800]
    assert twice.landmarks == ((200, 100),) * 5
    assert (twice.score, twice.embedding) == (face.score, face.embedding)


def test_stdout_stays_empty(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = open_upright(SAMPLE_DATA / "people/ada/ada_10.png", least_side_px=640)

    fresh = FaceAnalyser()
    (face,) = fresh.detect(image).faces
    fresh.embed(image, face)

    assert capfd.readouterr().out == ""
