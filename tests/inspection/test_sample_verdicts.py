"""The sample data with the real open pack: the verdicts a first user sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lora_prep.errors import DatasetTooSmall
from lora_prep.inspection import inspect_photos
from lora_prep.model import Decision
from lora_prep.photos import FoundFile
from lora_prep.selection import require_enough, select_photos
from tests.sample import LIMITS, SAMPLE_DATA, analyser, findings

pytestmark = pytest.mark.slow  # the real models are loaded and run


@pytest.mark.parametrize(
    ("name", "code", "measured", "limit"),
    [
        ("no_face_landscape.jpg", "no_face", 0, 1),
        ("no_face_mug.jpg", "no_face", 0, 1),
        ("half_covered_profile.jpg", "no_face", 0, 1),
        ("far_away.jpg", "face_too_small", 37, 233),
        ("truncated.jpg", "unreadable", None, None),
        ("not_an_image.jpg", "not_an_image", None, None),
        ("two_people.jpg", "several_faces", 2, 1),
        ("heavy_blur.jpg", "blurred", 2.4, 40),
        ("very_dark.jpg", "too_dark", 18, 35),
    ],
)
def test_a_reject_is_left_out_for_its_reason(
    name: str, code: str, measured: float | None, limit: float | None
) -> None:
    (finding,) = (finding for finding in findings("rejects") if finding.name == name)

    (reason,) = finding.reasons

    assert reason.code == code
    assert reason.limit == limit
    assert reason.measured == pytest.approx(measured, abs=1) if measured else not reason.measured


@pytest.mark.parametrize("person", ["ada", "ben"])
def test_a_whole_person_is_usable(person: str) -> None:
    if person == "ben":  # three of his pictures say as much as fourteen, in less time
        paths = sorted((SAMPLE_DATA / "people/ben").iterdir())[2:5]
        found = inspect_photos(
            [FoundFile(path.name, path) for path in paths], analyser().analyse, LIMITS
        )
    else:
        found = findings("people/ada")

    assert [finding.name for finding in found if not finding.usable] == []
    assert len({finding.photo.sha256 for finding in found if finding.photo}) == len(found)


def test_nine_usable_photos_are_refused_and_everything_is_counted() -> None:
    folder = SAMPLE_DATA / "nine"
    selection = select_photos(folder, findings("nine"), needed=10, at_most=30)

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
    assert "at least 1 " in error.fix


def test_a_strip_of_pixels_is_a_verdict_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "banner.png"
    Image.new("RGB", (4000, 1), "grey").save(path)

    (finding,) = inspect_photos([FoundFile("banner.png", path)], analyser().analyse, LIMITS)

    assert not finding.usable
