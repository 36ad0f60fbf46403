"""The sample data with the real open pack: what speaks against which picture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image

from lora_prep.errors import DatasetTooSmall
from lora_prep.inspection import (
    SHARPNESS_LEAST,
    SHARPNESS_SOFT,
    AnalysisCache,
    inspect_photos,
)
from lora_prep.inspection.measures import measure_face
from lora_prep.model import Decision, Finding, ReasonCode
from lora_prep.photos import FoundFile, find_photos, open_upright
from lora_prep.selection import Wanted, require_enough, select_photos
from tests.sample import IDENTITY, LIMITS, SAMPLE_DATA, analyser, findings

pytestmark = pytest.mark.slow  # the real models are loaded and run

# What is against the whole photo, then against each face: code, measured, limit.
REJECTS: dict[str, list[list[tuple[str, float | None, float | None]]]] = {
    "no_face_landscape.jpg": [[("no_face", 0, 1)]],
    "no_face_mug.jpg": [[("no_face", 0, 1)]],
    "half_covered_profile.jpg": [[("no_face", 0, 1)]],
    "far_away.jpg": [[], [("face_too_small", 37, 233)]],
    "truncated.jpg": [[("unreadable", None, None)]],
    "not_an_image.jpg": [[("not_an_image", None, None)]],
    "heavy_blur.jpg": [[], [("blurred", 2.4, 40)]],
    "very_dark.jpg": [[], [("too_dark", 18, 35)]],
    # What is against these is found out by comparing photos: in selection.
    "two_people.jpg": [[], [], []],
    "exact_duplicate_of_ada_02.jpg": [[], []],
    "near_duplicate_of_ada_02.jpg": [[], []],
}


def against(finding: Finding) -> list[list[tuple[str, float | None, float | None]]]:
    return [
        [(reason.code.value, reason.measured, reason.limit) for reason in reasons]
        for reasons in (finding.reasons, *(face.reasons for face in finding.faces))
    ]


def test_the_table_names_every_reject() -> None:
    assert REJECTS.keys() == {path.name for path in (SAMPLE_DATA / "rejects").iterdir()}


@pytest.mark.parametrize("name", REJECTS)
def test_a_reject_is_left_out_for_its_reason(name: str) -> None:
    (finding,) = (finding for finding in findings("rejects") if finding.name == name)

    found = against(finding)

    assert [[code for code, *_ in reasons] for reasons in found] == [
        [code for code, *_ in reasons] for reasons in REJECTS[name]
    ]
    for reasons, expected in zip(found, REJECTS[name], strict=True):
        for (_, measured, limit), (_, number, bound) in zip(reasons, expected, strict=True):
            assert limit == bound
            assert measured == (pytest.approx(number, abs=1) if number else number)


@pytest.mark.parametrize("person", ["ada", "ben"])
def test_nothing_speaks_against_a_good_photo(person: str) -> None:
    found = findings(f"people/{person}")

    assert {finding.name: against(finding) for finding in found} == {
        path.name: [[], []] for path in (SAMPLE_DATA / "people" / person).iterdir()
    }
    for finding in found:
        (face,) = finding.faces
        assert len(face.face.embedding) == 128
        assert face.measures is not None
        assert face.measures.sharpness > SHARPNESS_SOFT
        assert finding.photo is not None
        assert finding.photo.turned_deg == 0
    assert len({finding.photo and finding.photo.sha256 for finding in found}) == len(found)


def test_when_the_pictures_were_taken_is_known_where_they_say_it() -> None:
    dated = {finding.name for finding in findings("people/ada") if finding.photo.taken_at}

    assert dated == {
        path.name
        for path in (SAMPLE_DATA / "people/ada").iterdir()
        if Image.open(path).getexif().get_ifd(0x8769).get(0x9003)
    }


def test_two_people_are_told_apart_in_one_photo() -> None:
    (both,) = (one for one in findings("rejects") if one.name == "two_people.jpg")
    ada = findings("people/ada")[0].faces[0].face.embedding
    ben = findings("people/ben")[0].faces[0].face.embedding

    nearest = [
        min((math.dist(judged.face.embedding, vector), name) for vector, name in people)
        for judged in both.faces
        for people in [((ada, "ada"), (ben, "ben"))]
    ]

    assert sorted(name for _, name in nearest) == ["ada", "ben"]
    assert all(distance < 0.6 for distance, _ in nearest)


@pytest.mark.parametrize("name", ["ada_02.jpg", "ada_09.jpg"])
def test_the_same_face_is_as_sharp_in_a_larger_photo(tmp_path: Path, name: str) -> None:
    """A photo of twice the size, in which the face fills as many pixels: more wall around it.

    The detector draws a wider box around a smaller face (374 to 401 px here), so each is compared
    with its own box in the pixels of the whole photo: what is tested is the scale we decode at.
    """
    source = SAMPLE_DATA / "people/ada" / name
    picture = open_upright(source)
    files = []
    for factor in (1, 2, 4):
        wall = Image.new("RGB", (picture.width * factor, picture.height * factor), (128, 120, 110))
        wall.paste(
            picture, ((wall.width - picture.width) // 2, (wall.height - picture.height) // 2)
        )
        wall.save(tmp_path / f"{factor}.jpg", quality=98, subsampling=0)
        files.append(FoundFile(f"{factor}.jpg", tmp_path / f"{factor}.jpg"))

    found = inspect_photos(files, analyser(), LIMITS)

    sharpness, in_full = [], []
    for finding, file in zip(found, files, strict=True):
        assert against(finding) == [[], []]
        (face,) = finding.faces
        assert face.measures is not None
        sharpness.append(face.measures.sharpness)
        in_full.append(measure_face(open_upright(file.path), face.face).sharpness)
        assert math.dist(face.face.embedding, found[0].faces[0].face.embedding) < 0.3
    assert sharpness == pytest.approx(in_full, rel=0.1)
    assert min(sharpness) > SHARPNESS_LEAST


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_finds_the_same(workers: int) -> None:
    files = find_photos(SAMPLE_DATA / "rejects")

    assert inspect_photos(files, analyser(), LIMITS, workers=workers) == findings("rejects")


def test_the_second_run_needs_no_model(tmp_path: Path) -> None:
    files = find_photos(SAMPLE_DATA / "nine")
    cache = AnalysisCache(tmp_path, analyser().key)
    first = inspect_photos(files, analyser(), LIMITS, cache=cache)

    class Unused:
        """An analyser that must not be asked."""

    assert inspect_photos(files, Unused(), LIMITS, cache=cache) == first == findings("nine")


def test_nine_usable_photos_are_refused_and_everything_is_counted() -> None:
    folder = SAMPLE_DATA / "nine"
    selection = select_photos(folder, findings("nine"), Wanted(10, 30, identity=IDENTITY))

    assert len(selection.verdicts) == 15 == len(list(folder.iterdir()))
    assert [verdict.name for verdict in selection.usable] == [
        f"ada_{number:02d}.jpg" for number in range(1, 10)
    ]
    assert selection.kept == ()
    assert {
        verdict.name: [reason.code.value for reason in verdict.reasons]
        for verdict in selection.having(Decision.LEFT_OUT)
    } == {
        "exact_duplicate_of_ada_02.jpg": ["duplicate"],
        "far_away.jpg": ["face_too_small"],
        "no_face_landscape.jpg": ["no_face"],
        "no_face_mug.jpg": ["no_face"],
        "not_an_image.jpg": ["not_an_image"],
        "truncated.jpg": ["unreadable"],
    }
    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(selection)
    error = refusal.value
    assert error.code == "dataset_too_small"
    assert "9 of the 15" in error.what
    assert "at least 10" in error.what
    assert "2 no_face" in error.why
    for code in ("duplicate", "face_too_small", "not_an_image", "unreadable"):
        assert f"1 {code}" in error.why


def test_a_strip_of_pixels_is_a_verdict_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "banner.png"
    Image.new("RGB", (4000, 1), "grey").save(path)

    (finding,) = inspect_photos([FoundFile("banner.png", path)], analyser(), LIMITS)

    assert [reason.code for reason in finding.reasons] == [ReasonCode.NO_FACE]


@pytest.mark.parametrize("turned_deg", [90, 270])
def test_a_photo_stored_sideways_is_found_out_and_measured_upright(
    tmp_path: Path, turned_deg: int
) -> None:
    source = SAMPLE_DATA / "people/ada/ada_02.jpg"
    open_upright(source, turned_deg=turned_deg).save(tmp_path / "1.png", compress_level=1)
    (right,) = inspect_photos([FoundFile("ada_02.jpg", source)], analyser(), LIMITS)

    (finding,) = inspect_photos(
        [FoundFile("1.png", tmp_path / "1.png")], analyser(), LIMITS, workers=1
    )

    assert finding.photo is not None
    assert right.photo is not None
    assert finding.photo.turned_deg == 360 - turned_deg
    assert (finding.photo.width_px, finding.photo.height_px) == (
        right.photo.width_px,
        right.photo.height_px,
    )
    assert finding.fingerprint == right.fingerprint  # copies are told in the upright picture
    (one,), (other,) = finding.faces, right.faces
    assert one.reasons == other.reasons == ()
    assert one.face.box.to_json() == pytest.approx(other.face.box.to_json(), abs=3)
    assert math.dist(one.face.embedding, other.face.embedding) < 0.1
