"""Decisions made by hand: what they can change, and what they cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import DatasetTooSmall
from lora_prep.model import (
    Box,
    Decision,
    Finding,
    Framing,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.selection import (
    Override,
    Wanted,
    require_enough,
    select_photos,
)
from tests.sample import IDENTITY, a_finding, a_fingerprint, a_judged_face
from tests.selection.people import (
    BLURRED,
    BROKEN,
    DARK,
    NO_FACE,
    face_of,
    photo_of,
    photos_of,
)

OTHERS = photos_of(0, 5)


def select(
    findings: Sequence[Finding],
    overrides: dict[str, Override],
    *,
    needed: int = 1,
    at_most: int = 30,
    framing: Framing = Framing.HEAD_AND_SHOULDERS,
) -> Selection:
    by_hash = {
        finding.photo.sha256: overrides[finding.name]
        for finding in findings
        if finding.photo and finding.name in overrides
    }
    wanted = Wanted(needed, at_most, framing, identity=IDENTITY, overrides=by_hash)
    return select_photos(Path("/photos"), findings, wanted)


def verdict_on(finding: Finding, override: Override | None, **values: Any) -> Verdict:
    overrides = {finding.name: override} if override else {}
    return select([*OTHERS, finding], overrides, **values).verdicts[-1]


def codes(verdict: Verdict) -> list[ReasonCode]:
    return [reason.code for reason in verdict.reasons]  # type: ignore[misc]


@pytest.mark.parametrize("reason", [BLURRED, DARK], ids=lambda reason: reason.code)
def test_keep_rescues_a_face_that_measures_speak_against(reason: Reason) -> None:
    finding = a_finding("mine.jpg", faces=(face_of(0, 9, 400.0, reason),))

    assert codes(verdict_on(finding, None)) == [reason.code]
    verdict = verdict_on(finding, Override("keep"))
    assert verdict.decision is Decision.KEPT
    assert verdict.reasons == ()
    assert [note.hint for note in verdict.notes] == [f"Kept by hand in spite of {reason.code}."]


def test_a_blurred_face_that_is_kept_by_hand_is_not_called_a_little_soft() -> None:
    finding = a_finding("mine.jpg", faces=(a_judged_face(400.0, BLURRED, sharpness=12.0),))

    verdict = verdict_on(finding, Override("keep"))

    assert [note.code for note in verdict.notes] == [NoteCode.KEPT_BY_HAND]


def test_keep_rescues_another_person_and_says_so() -> None:
    finding = photo_of(1, 0, "sister.jpg")

    assert codes(verdict_on(finding, None)) == [ReasonCode.OTHER_PERSON]
    verdict = verdict_on(finding, Override("keep"))
    assert verdict.decision is Decision.KEPT
    assert [note.hint for note in verdict.notes] == ["Kept by hand in spite of other_person."]
    assert verdict.identity_distance is not None
    assert verdict.identity_distance > IDENTITY.cut


def test_keep_rescues_a_near_duplicate_and_not_an_exact_one() -> None:
    first = OTHERS[0]
    near = replace(
        photo_of(0, 9, "near.jpg"),
        fingerprint=replace(
            a_fingerprint("near.jpg"), phash=first.fingerprint.phash if first.fingerprint else 0
        ),
    )
    exact = replace(first, name="zz exact.jpg")

    assert ReasonCode.NEAR_DUPLICATE in {
        code for verdict in select([*OTHERS, near], {}).verdicts for code in codes(verdict)
    }
    both = {"near.jpg": Override("keep"), first.name: Override("keep")}
    verdicts = select([*OTHERS, near, exact], both).verdicts
    assert [verdict.decision for verdict in verdicts[:-1]] == [Decision.KEPT] * 6
    assert codes(verdicts[-1]) == [ReasonCode.DUPLICATE]


def test_keep_comes_before_better_photos() -> None:
    soft = a_finding("soft.jpg", faces=(face_of(0, 9, 240.0, BLURRED),))

    verdict = verdict_on(soft, Override("keep"), at_most=1)

    assert verdict.decision is Decision.KEPT


@pytest.mark.parametrize(
    "finding",
    [
        Finding("broken.jpg", None, (), (BROKEN,)),
        a_finding("nobody.jpg", NO_FACE, faces=()),
        a_finding(
            "far.jpg",
            faces=(face_of(0, 9, 150.0, Reason(ReasonCode.FACE_TOO_SMALL, "Far.", 150, 233)),),
        ),
        a_finding(
            "small.jpg",
            Reason(ReasonCode.CROP_TOO_SMALL, "Small.", 400, 512),
            faces=(face_of(0, 9),),
        ),
        a_finding("thumbnail.jpg", faces=(face_of(0, 9),), size=(500, 700)),
        a_finding("cheek.jpg", faces=(face_of(0, 9), face_of(1, 0, 390.0, x=500.0))),
    ],
    ids=lambda finding: finding.name,
)
def test_keep_does_not_rescue_what_cannot_be_cropped(finding: Finding) -> None:
    verdict = verdict_on(finding, Override("keep"))

    assert verdict.decision is Decision.LEFT_OUT
    assert verdict.reasons
    assert verdict.crop is None


def test_leave_out_leaves_out_whatever_else_there_is_to_say() -> None:
    good, blurred = photo_of(0, 9), a_finding("b.jpg", faces=(face_of(0, 9, 400.0, BLURRED),))

    assert codes(verdict_on(good, Override("leave_out"))) == [ReasonCode.OVERRIDDEN]
    assert codes(verdict_on(blurred, Override("leave_out"))) == [ReasonCode.OVERRIDDEN]
    nobody = a_finding("nobody.jpg", NO_FACE, faces=())
    assert codes(verdict_on(nobody, Override("leave_out"))) == [ReasonCode.NO_FACE]


def test_a_photo_left_out_by_hand_gives_its_place_to_its_copy_under_another_hash() -> None:
    first = OTHERS[0]
    again = replace(photo_of(0, 0, "saved again.jpg"), fingerprint=first.fingerprint)

    verdicts = select([*OTHERS, again], {first.name: Override("leave_out")}).verdicts

    assert codes(verdicts[0]) == [ReasonCode.OVERRIDDEN]
    assert verdicts[-1].decision is Decision.KEPT


def test_a_hash_of_no_photo_here_changes_nothing() -> None:
    wanted = Wanted(1, 30, identity=IDENTITY, overrides={"f" * 64: Override("leave_out")})

    assert select_photos(Path("/photos"), OTHERS, wanted) == select(OTHERS, {})


# ── crops given by hand ───────────────────────────────────────────────────────────────────────

FACE = a_finding("mine.jpg", faces=(face_of(0, 9),))  # 300 x 400 px at (300, 200) of 1200 x 1600


@pytest.mark.parametrize("crop", [(0, 0, 1200), (100, 0, 600)], ids=["whole width", "tight"])
@pytest.mark.parametrize("framing", list(Framing))
def test_a_crop_given_by_hand_is_cut_as_it_is(crop: tuple[int, int, int], framing: Framing) -> None:
    box = Box(crop[0], crop[1], crop[2], crop[2])

    verdict = verdict_on(FACE, Override(None, box), framing=framing)

    assert verdict.decision is Decision.KEPT
    assert verdict.crop == box
    mixed = framing is Framing.MIXED
    assert verdict.framing is (Framing.HEAD_AND_SHOULDERS if mixed else framing)
    assert verdict.notes == ()  # framed tighter, but on purpose


@pytest.mark.parametrize(
    ("crop", "code"),
    [
        ((1, 0, 1200), ReasonCode.OVERRIDDEN),  # out at the right
        ((0, 401, 1200), ReasonCode.OVERRIDDEN),  # out below
        ((5000, 0, 600), ReasonCode.OVERRIDDEN),
        ((600, 800, 600), ReasonCode.OVERRIDDEN),  # misses the face
        ((451, 0, 600), ReasonCode.OVERRIDDEN),  # shows less than half of it
        ((200, 100, 511), ReasonCode.CROP_TOO_SMALL),
    ],
)
def test_a_crop_that_cannot_be_is_no_crop(crop: tuple[int, int, int], code: ReasonCode) -> None:
    verdict = verdict_on(FACE, Override("keep", Box(crop[0], crop[1], crop[2], crop[2])))

    assert verdict.decision is Decision.LEFT_OUT
    assert codes(verdict) == [code]
    if code is ReasonCode.CROP_TOO_SMALL:
        assert (verdict.reasons[0].measured, verdict.reasons[0].limit) == (511, 512)


def test_a_crop_by_hand_does_not_rescue_what_speaks_against_the_face() -> None:
    blurred = a_finding("b.jpg", faces=(face_of(0, 9, 400.0, BLURRED),))
    box = Box(0, 0, 1200, 1200)

    assert codes(verdict_on(blurred, Override(None, box))) == [ReasonCode.BLURRED]
    assert verdict_on(blurred, Override("keep", box)).crop == box


def test_a_crop_by_hand_may_show_another_face() -> None:
    couple = a_finding("couple.jpg", faces=(face_of(0, 9), face_of(1, 0, 390.0, x=500.0)))
    box = Box(0, 0, 1200, 1200)

    assert codes(verdict_on(couple, None)) == [ReasonCode.SEVERAL_FACES]
    assert verdict_on(couple, Override(None, box)).crop == box


# ── the floor ─────────────────────────────────────────────────────────────────────────────────


def test_no_decision_by_hand_brings_a_set_below_its_floor() -> None:
    photos = photos_of(0, 12)
    out = {finding.name: Override("leave_out") for finding in photos[:3]}

    selection = select(photos, out, needed=10)

    assert selection.kept == ()
    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(selection)
    assert "Only 9 of the 12" in refusal.value.what
    assert refusal.value.why == "Left out: 3 overridden."
    assert refusal.value.fix == "Take back 1 of the 3 decisions by hand; 10 is the floor."
    require_enough(select(photos, dict(list(out.items())[:2]), needed=10))


def test_decisions_that_alone_would_not_be_enough_are_not_blamed() -> None:
    photos = photos_of(0, 8)

    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(select(photos, {photos[0].name: Override("leave_out")}, needed=10))

    assert "Add at least 3" in refusal.value.fix
    assert "by hand;" not in refusal.value.fix


def test_keep_can_bring_a_set_to_its_floor() -> None:
    photos = photos_of(0, 9)
    blurred = a_finding("b.jpg", faces=(a_judged_face(400.0, BLURRED, phash=1, embedding=()),))

    with pytest.raises(DatasetTooSmall):
        require_enough(select([*photos, blurred], {}, needed=10))
    require_enough(select([*photos, blurred], {"b.jpg": Override("keep")}, needed=10))
