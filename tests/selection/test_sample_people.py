"""The sample people with the real open pack: who is who, and what the crops really show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from shutil import copy

import pytest
from PIL import Image, ImageOps

from lora_prep.cropping import crop_photos
from lora_prep.errors import TwoPeople
from lora_prep.framing import FRAMINGS
from lora_prep.inspection import Limits, inspect_photos
from lora_prep.model import Box, Decision, Finding, Framing, Selection, Verdict
from lora_prep.photos import FoundFile, find_photos
from lora_prep.selection import Identity, Wanted, require_enough, select_photos
from lora_prep.selection.person import distance, find_person
from tests.sample import IDENTITY, LIMITS, SAMPLE_DATA, analyser, findings

pytestmark = pytest.mark.slow

FOLDER = Path("/photos")

# sample_data/README.md, "Expected verdicts": what every reject is, in ada's folder.
REJECTS = {
    "two_people.jpg": None,
    "no_face_landscape.jpg": "no_face",
    "no_face_mug.jpg": "no_face",
    "heavy_blur.jpg": "blurred",
    "far_away.jpg": "face_too_small",
    "very_dark.jpg": "too_dark",
    "exact_duplicate_of_ada_02.jpg": "duplicate",
    "near_duplicate_of_ada_02.jpg": "near_duplicate",
    "half_covered_profile.jpg": "no_face",
    "truncated.jpg": "unreadable",
    "not_an_image.jpg": "not_an_image",
}


def select(
    *folders: str,
    framing: Framing = Framing.HEAD_AND_SHOULDERS,
    identity: Identity | None = IDENTITY,
    at_most: int = 60,
) -> Selection:
    found = [finding for folder in folders for finding in findings(folder)]
    return select_among(found, framing=framing, identity=identity, at_most=at_most)


def select_among(
    found: Sequence[Finding],
    *,
    framing: Framing = Framing.HEAD_AND_SHOULDERS,
    identity: Identity | None = IDENTITY,
    at_most: int = 60,
) -> Selection:
    return select_photos(FOLDER, found, Wanted(10, at_most, framing, identity=identity))


def code_of(verdict: Verdict) -> str | None:
    return verdict.reasons[0].code.value if verdict.reasons else None


def by_name(selection: Selection) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in selection.verdicts}


@cache
def middle_of(person: str) -> tuple[float, ...]:
    """The face of a person that is most like the others."""
    found = findings(f"people/{person}")
    told = find_person(found, IDENTITY)
    name = min(told.faces, key=lambda name: told.faces[name][1])
    (finding,) = [one for one in found if one.name == name]
    return finding.faces[0].face.embedding


# ── verdicts ──────────────────────────────────────────────────────────────────────────────────


def test_every_reject_gets_its_verdict_in_adas_folder() -> None:
    verdicts = by_name(select("people/ada", "rejects"))

    codes = {name: code_of(verdict) for name, verdict in verdicts.items()}
    # Of two identical files either may be the copy.
    copies = {codes.pop("ada_02.jpg"), codes.pop("exact_duplicate_of_ada_02.jpg")}
    assert copies == {None, "duplicate"}
    expected = {name: code for name, code in REJECTS.items() if not name.startswith("exact")}
    assert {name: codes[name] for name in expected} == expected
    assert {name: code for name, code in codes.items() if name not in expected and code} == {}
    assert len(verdicts) == 27
    near = verdicts["near_duplicate_of_ada_02.jpg"].reasons[0]
    assert "ada_02" in near.hint


@pytest.mark.parametrize(("person", "count"), [("ada", 16), ("ben", 14)])
def test_every_photo_of_a_person_is_kept_and_none_is_doubted(person: str, count: int) -> None:
    selection = select(f"people/{person}")

    assert [verdict.decision for verdict in selection.verdicts] == [Decision.KEPT] * count
    assert [verdict.notes for verdict in selection.verdicts] == [()] * count
    assert selection.rivals == ()
    require_enough(selection)


def test_the_originals_stay_among_copies_that_messengers_and_editors_make(tmp_path: Path) -> None:
    for path in sorted((SAMPLE_DATA / "people" / "ada").iterdir())[:6]:
        copy(path, tmp_path)
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image.save(tmp_path / f"a_saved_again_{path.stem}.jpg", quality=40)
        image.convert("L").save(tmp_path / f"a_grey_{path.stem}.jpg", quality=95)
        image.thumbnail((1200, 1200))
        image.save(tmp_path / f"a_small_{path.stem}.jpg", quality=80)

    found = inspect_photos(find_photos(tmp_path), analyser(), LIMITS)
    selection = select_among(found)

    usable = {verdict.name for verdict in selection.usable}
    assert usable == {f"ada_0{number}.jpg" for number in range(1, 7)}


def test_the_photo_of_two_is_cropped_to_ada_alone() -> None:
    verdict = by_name(select("people/ada", "rejects"))["two_people.jpg"]
    (finding,) = [one for one in findings("rejects") if one.name == "two_people.jpg"]
    ada, ben = sorted(
        (face.face for face in finding.faces),
        key=lambda face: distance(face.embedding, middle_of("ada"), "euclidean"),
    )

    assert verdict.face == ada
    assert verdict.crop is not None
    assert inside(ada.box, verdict.crop)
    assert verdict.crop.x >= ben.box.x + ben.box.width or (
        verdict.crop.x + verdict.crop.width <= ben.box.x
    )
    assert verdict.identity_distance is not None
    assert verdict.identity_distance < IDENTITY.cut


def inside(face: Box, crop: Box) -> bool:
    return (
        crop.x <= face.x
        and crop.y <= face.y
        and face.x + face.width <= crop.x + crop.width
        and face.y + face.height <= crop.y + crop.width
    )


def test_three_of_bens_photos_in_adas_folder_are_another_person() -> None:
    strangers = findings("people/ben")[3:6]

    selection = select_among([*findings("people/ada"), *strangers])

    left_out = selection.having(Decision.LEFT_OUT)
    assert {verdict.name for verdict in left_out} == {finding.name for finding in strangers}
    for verdict in left_out:
        (reason,) = verdict.reasons
        assert reason.code.value == "other_person"
        assert 0.68 <= (reason.measured or 0) <= 0.95
    assert len(selection.kept) == 16


def test_all_of_ada_and_all_of_ben_are_two_people() -> None:
    selection = select("people/ada", "people/ben")

    assert selection.kept == ()
    assert set(selection.rivals) == {finding.name for finding in findings("people/ben")}
    with pytest.raises(TwoPeople) as refusal:
        require_enough(selection)
    assert "16 photos (ada_01.jpg" in refusal.value.why
    assert "14 photos (ben_01.jpg" in refusal.value.why


@pytest.mark.parametrize(("person", "count"), [("ada", 16), ("ben", 14)])
def test_a_reference_picks_one_of_the_two(person: str, count: int) -> None:
    reference = findings(f"people/{person}")[4].faces[0].face.embedding
    identity = Identity("euclidean", 0.6, reference)

    selection = select("people/ada", "people/ben", identity=identity)

    require_enough(selection)
    assert len(selection.kept) == count
    assert {verdict.name[:3] for verdict in selection.kept} == {person}


def test_with_identity_off_both_are_one_set() -> None:
    selection = select("people/ada", "people/ben", identity=None)

    require_enough(selection)
    assert len(selection.kept) == 30
    assert {verdict.identity_distance for verdict in selection.verdicts} == {None}
    left_out = {
        verdict.name: code_of(verdict)
        for verdict in select("people/ada", "rejects", identity=None).having(Decision.LEFT_OUT)
    }
    assert "two_people.jpg" not in left_out
    assert left_out["near_duplicate_of_ada_02.jpg"] == "near_duplicate"


def test_ten_of_thirty_are_chosen_from_many_poses() -> None:
    selection = select("people/ada", at_most=10)

    yaws = [verdict.measures.yaw_deg for verdict in selection.kept if verdict.measures]
    assert len(yaws) == 10
    assert min(yaws) < -25
    assert max(yaws) > 40


# ── what the crops show ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("person", ["ada", "ben"])
def test_every_crop_shows_one_face_of_the_person_at_the_wanted_size(
    tmp_path: Path, person: str, framing: Framing
) -> None:
    folders = ["people/ada", "rejects"] if person == "ada" else ["people/ben"]
    kept = select(*folders, framing=framing).kept
    assert len(kept) >= {"ada": 17, "ben": 14}[person]
    of = {verdict.photo.sha256: verdict for verdict in kept if verdict.photo}

    crops = crop_photos(kept, tmp_path, size_px=1024)

    files = [FoundFile(crop.name, crop.path) for crop in crops]
    seen = inspect_photos(files, analyser(), Limits(1, 1))
    for crop, finding in zip(crops, seen, strict=True):
        verdict = of[crop.source_sha256]
        assert verdict.face
        assert verdict.framing
        assert finding.photo
        assert finding.photo.width_px == finding.photo.height_px == crop.size_px >= 512

        (face,) = finding.faces
        assert distance(face.face.embedding, middle_of(person), "euclidean") < IDENTITY.cut
        share = face.face.box.height / crop.size_px
        assert share == pytest.approx(verdict.face.box.height / crop.box.width, rel=0.15)
        ratio = FRAMINGS[verdict.framing]
        if crop.box.width >= math.floor(ratio * verdict.face.box.height):  # neither clamped
            assert share == pytest.approx(1 / ratio, rel=0.15)
