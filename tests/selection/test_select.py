"""From findings to verdicts: who is meant, what is cropped, how many are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lora_prep.model import (
    Decision,
    Finding,
    Framing,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.selection import Identity, Wanted, select_photos
from tests.sample import IDENTITY, a_finding, a_judged_face
from tests.selection.people import (
    BLURRED,
    BROKEN,
    DARK,
    NO_FACE,
    at_distance,
    embedding,
    face_of,
    photo_of,
    photos_of,
)

FOLDER = Path("/photos")


def select(
    findings: Sequence[Finding],
    *,
    needed: int = 3,
    at_most: int = 5,
    framing: Framing = Framing.HEAD_AND_SHOULDERS,
    identity: Identity | None = IDENTITY,
) -> Selection:
    return select_photos(FOLDER, findings, Wanted(needed, at_most, framing, identity=identity))


def codes(verdict: Verdict) -> list[str]:
    return [reason.code.value for reason in verdict.reasons]


def notes(verdict: Verdict) -> list[str]:
    return [note.code.value for note in verdict.notes]


# ── who ───────────────────────────────────────────────────────────────────────────────────────


def test_another_person_is_left_out_with_the_distance_and_the_cut() -> None:
    verdict = select([*photos_of(0, 4), photo_of(1, 0)]).verdicts[-1]

    (reason,) = verdict.reasons
    assert verdict.decision is Decision.LEFT_OUT
    assert reason.code is ReasonCode.OTHER_PERSON
    assert (reason.limit, reason.unit) == (0.6, "distance")
    assert verdict.identity_distance == pytest.approx(reason.measured, abs=0.001)
    assert 0.9 < (reason.measured or 0) < 1.1


def test_a_group_photo_is_cropped_to_the_person() -> None:
    group = a_finding(
        "group.jpg",
        faces=(face_of(1, 0, 500.0, x=2000.0), face_of(0, 9, 400.0, x=400.0)),
        size=(4000, 3000),
    )

    verdict = select([*photos_of(0, 4), group]).verdicts[-1]

    assert verdict.decision is Decision.KEPT
    assert verdict.face == group.faces[1].face
    assert verdict.crop is not None
    assert verdict.crop.x + verdict.crop.width <= 2000


def test_what_speaks_against_another_face_of_the_photo_does_not_count() -> None:
    group = a_finding(
        "group.jpg",
        faces=(face_of(1, 0, 500.0, BLURRED, x=2000.0), face_of(0, 9, x=400.0)),
        size=(4000, 3000),
    )

    assert select([*photos_of(0, 4), group]).verdicts[-1].decision is Decision.KEPT
    assert select([group], needed=1, identity=None).verdicts[0].face == group.faces[1].face


def test_what_speaks_against_the_persons_face_does() -> None:
    blurred = a_judged_face(400.0, BLURRED, embedding=embedding(0, 9))
    group = a_finding(
        "group.jpg", faces=(face_of(1, 0, 500.0, x=2000.0), blurred), size=(4000, 3000)
    )

    verdict = select([*photos_of(0, 4), group]).verdicts[-1]

    assert codes(verdict) == ["blurred"]
    assert verdict.face == blurred.face


def test_with_identity_off_the_largest_face_is_the_persons_and_two_people_are_one_set() -> None:
    findings = [*photos_of(0, 4), *photos_of(1, 4)]

    selection = select(findings, at_most=8, identity=None)

    assert len(selection.kept) == 8
    assert selection.rivals == ()
    assert {verdict.identity_distance for verdict in selection.verdicts} == {None}
    assert select(findings, at_most=8).kept == ()


def test_two_people_leave_nothing_kept_and_are_both_named() -> None:
    selection = select([*photos_of(0, 5), *photos_of(1, 4)], at_most=3)

    assert selection.kept == ()
    assert {verdict.reasons for verdict in selection.usable} == {()}  # not: three were better
    assert selection.rivals == ("1_00.jpg", "1_01.jpg", "1_02.jpg", "1_03.jpg")
    assert len(selection.usable) == 5
    assert selection.advice == ()


def test_a_reference_settles_whose_set_it_is() -> None:
    identity = Identity("euclidean", 0.6, embedding(1, 50))

    selection = select([*photos_of(0, 5), *photos_of(1, 4)], identity=identity)

    assert [verdict.name[0] for verdict in selection.kept] == ["1"] * 4
    assert {tuple(codes(one)) for one in selection.having(Decision.LEFT_OUT)} == {("other_person",)}


def test_a_doubted_face_is_noted_with_its_number_and_comes_last() -> None:
    identity = Identity("euclidean", 0.6, embedding(0, away=0.0))
    findings = photos_of(0, 6)
    odd = a_judged_face(400.0, embedding=at_distance(0.55), sharpness=200)
    findings.append(a_finding("odd.jpg", faces=(odd,)))

    everyone = select(findings, at_most=7, identity=identity)
    (note,) = everyone.verdicts[-1].notes
    assert note.code is NoteCode.IDENTITY_DOUBTED
    assert note.measured == 0.55
    assert 0.2 < (note.limit or 0) < 0.55
    assert everyone.verdicts[-1].decision is Decision.KEPT
    assert not any(verdict.notes for verdict in everyone.verdicts[:-1])
    assert select(findings, at_most=6, identity=identity).verdicts[-1].decision is Decision.SPARE


# ── the crop ──────────────────────────────────────────────────────────────────────────────────


def test_a_face_too_close_to_another_is_left_out_as_several_faces() -> None:
    couple = a_finding("couple.jpg", faces=(face_of(0, 9), face_of(1, 0, 390.0, x=500.0)))

    verdict = select([*photos_of(0, 4), couple]).verdicts[-1]

    assert codes(verdict) == ["several_faces"]
    assert "so close" in verdict.reasons[0].hint


def test_a_crop_that_had_to_be_tighter_is_noted_with_its_width() -> None:
    # 310 px are free on the right of a face of 400, the left is full of somebody else.
    pair = a_finding(
        "pair.jpg", faces=(face_of(0, 9, x=700.0), face_of(1, 0, 390.0, x=170.0)), size=(1200, 1600)
    )

    verdict = select([*photos_of(0, 4), pair]).verdicts[-1]

    (note,) = verdict.notes
    assert verdict.crop is not None
    assert note.code is NoteCode.FRAMED_TIGHTER
    assert note.measured == round(verdict.crop.width / 400, 2)
    assert note.measured < 2.2
    assert "head-and-shoulders" in note.hint
    assert verdict.crop.x >= 170 + 292


def test_a_crop_that_is_clamped_by_the_picture_is_not_noted() -> None:
    large = a_finding("large.jpg", faces=(face_of(0, 9, 900.0, x=200.0),))

    verdict = select([*photos_of(0, 4), large]).verdicts[-1]

    assert verdict.crop is not None
    assert verdict.crop.width == 1200
    assert verdict.notes == ()


def test_soft_and_turned_photos_are_noted() -> None:
    soft = a_judged_face(400.0, sharpness=60, embedding=embedding(0, 9))
    finding = a_finding("soft.jpg", faces=(soft,))
    assert finding.photo
    finding = replace(finding, photo=replace(finding.photo, turned_deg=90))

    verdict = select([*photos_of(0, 4), finding]).verdicts[-1]

    assert notes(verdict) == ["soft", "turned"]
    assert [note.measured for note in verdict.notes] == [60, 90]


@pytest.mark.parametrize("framing", [one for one in Framing if one is not Framing.MIXED])
def test_each_framing_is_told_in_the_verdict(framing: Framing) -> None:
    verdicts = select(photos_of(0, 4), framing=framing).verdicts

    assert {verdict.framing for verdict in verdicts} == {framing}


def test_a_mixed_set_mixes() -> None:
    findings = [a_finding(one.name, faces=one.faces, size=(4000, 4000)) for one in photos_of(0, 10)]

    selection = select(findings, at_most=10, framing=Framing.MIXED)

    framings = sorted(verdict.framing or "" for verdict in selection.kept)
    assert framings == ["close-up"] * 4 + ["head-and-shoulders"] * 4 + ["upper-body"] * 2


# ── how many ──────────────────────────────────────────────────────────────────────────────────


def test_too_few_are_all_spare_without_a_reason_against_them() -> None:
    selection = select([*photos_of(0, 2), a_finding("c.jpg", NO_FACE, faces=())])

    assert selection.kept == ()
    assert [one.decision.value for one in selection.verdicts] == ["spare", "spare", "left_out"]
    assert [verdict.reasons for verdict in selection.usable] == [(), ()]
    assert all(verdict.crop for verdict in selection.usable)
    assert selection.advice == ()


def test_more_than_wanted_are_spare_and_the_limit_is_said() -> None:
    selection = select(photos_of(0, 9), at_most=5)

    spare = selection.having(Decision.SPARE)
    assert (len(selection.kept), len(spare)) == (5, 4)
    assert {(one.reasons[0].code.value, one.reasons[0].limit) for one in spare} == {
        ("not_chosen", 5)
    }


def test_a_rejected_copy_does_not_push_out_a_usable_photo() -> None:
    good = photo_of(0, 0, "b.jpg")
    bad = replace(
        a_finding("a.jpg", faces=(face_of(0, 0, 400.0, BLURRED),), fingerprint=good.fingerprint)
    )

    verdicts = select([bad, good], needed=1).verdicts

    assert [one.decision for one in verdicts] == [Decision.LEFT_OUT, Decision.KEPT]
    # It says so, too: rescued by hand it would take the other's place, not one of its own.
    assert codes(verdicts[0]) == ["blurred", "duplicate"]


def test_copies_do_not_make_up_the_number() -> None:
    good = photos_of(0, 2)
    copies = [replace(good[0], name=f"copy {number}.jpg") for number in range(8)]

    selection = select([*good, *copies])

    assert len(selection.usable) == 2
    assert selection.kept == ()


def test_advice_is_given_on_a_whole_set_only() -> None:
    assert select(photos_of(0, 3)).advice[0].startswith("3 photos are few")


def test_every_reason_of_the_inspection_reaches_the_verdict() -> None:
    two = a_finding("two.jpg", faces=(face_of(0, 1, 400.0, BLURRED, DARK),))
    broken = Finding("broken.jpg", None, (), (BROKEN,))
    small = Reason(ReasonCode.CROP_TOO_SMALL, "Small.", 400, 512, "px")

    verdicts = select([two, broken, a_finding("s.jpg", small, faces=(face_of(0, 2),))]).verdicts

    assert [one.reasons for one in verdicts] == [(BLURRED, DARK), (BROKEN,), (small,)]
