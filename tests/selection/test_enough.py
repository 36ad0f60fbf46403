"""Whether a selection makes a training set, and if not, the one thing that would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lora_prep.errors import DatasetTooSmall, TwoPeople
from lora_prep.model import Decision, Reason, ReasonCode, Selection, Verdict
from lora_prep.selection import Override, Wanted, require_enough, select_photos
from tests.sample import IDENTITY, a_finding
from tests.selection.people import BLURRED, BROKEN, NO_FACE, face_of, photos_of

FOLDER = Path("/photos/ada")
USABLE = [Verdict(f"good {number}.jpg", Decision.SPARE, ()) for number in range(8)]


def out(name: str, *reasons: Reason) -> Verdict:
    return Verdict(name, Decision.LEFT_OUT, reasons)


def missing(
    code: ReasonCode, measured: float | None, limit: float | None, unit: str = "px"
) -> Reason:
    return Reason(code, "Some words.", measured, limit, unit)


def blurred(sharpness: float) -> Reason:
    return missing(ReasonCode.BLURRED, sharpness, 40, "sharpness")


def small(height: float) -> Reason:
    return missing(ReasonCode.FACE_TOO_SMALL, height, 233, "px high")


def refused(*verdicts: Verdict, needed: int = 10) -> DatasetTooSmall:
    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(Selection(FOLDER, needed, (*USABLE, *verdicts)))
    return refusal.value


# ── enough or not ─────────────────────────────────────────────────────────────────────────────


def test_exactly_as_many_as_needed_is_enough() -> None:
    require_enough(Selection(FOLDER, 8, tuple(USABLE)))
    with pytest.raises(DatasetTooSmall):
        require_enough(Selection(FOLDER, 9, tuple(USABLE)))


def test_too_few_counts_the_reasons_the_most_frequent_first() -> None:
    error = refused(out("a.txt", BROKEN), out("b.jpg", NO_FACE), out("c.jpg", NO_FACE))

    assert error.what == (
        "Only 8 of the 11 files in /photos/ada are usable photos; a training needs at least 10."
    )
    assert error.why == "Left out: 2 no_face, 1 unreadable."
    assert error.fix.startswith("Add at least 2 sharp photos of the same person alone;")
    assert error.retryable is False


def test_one_missing_is_one_photo() -> None:
    assert "at least 1 sharp photo of" in refused(needed=9).fix


def test_too_few_without_rejects_says_that_there_are_no_more() -> None:
    assert refused().why == "There are no more photos."


def test_nothing_usable_at_all_is_said_too() -> None:
    with pytest.raises(DatasetTooSmall, match="Only 0 of the 1 files"):
        require_enough(Selection(FOLDER, 10, (out("a.jpg", NO_FACE),)))


# ── the one gate ──────────────────────────────────────────────────────────────────────────────


def test_the_gate_that_would_be_enough_is_named_with_its_value_and_its_nearest_photos() -> None:
    error = refused(
        out("a.jpg", blurred(12)),
        out("b.jpg", blurred(38.5)),
        out("c.jpg", blurred(31)),
        out("d.jpg", NO_FACE),
    )

    assert error.fix.endswith(
        "Or move one gate: blurred from 40 to 31 sharpness would be enough (keep them by hand in "
        "the overrides): b.jpg (38.5), c.jpg (31)."
    )


def test_of_several_gates_the_one_that_has_to_move_least_is_named() -> None:
    sharp_enough = [out("a.jpg", blurred(20)), out("b.jpg", blurred(39))]
    large_enough = [out("c.jpg", small(229)), out("d.jpg", small(231))]

    # A half of its limit against two hundredths.
    assert "face_too_small from 233 to 229 px high" in refused(*sharp_enough, *large_enough).fix
    assert "blurred" not in refused(*sharp_enough, *large_enough).fix
    nearer = [out("a.jpg", blurred(39.9)), out("b.jpg", blurred(39.8))]
    assert "blurred from 40 to 39.8" in refused(*nearer, *large_enough).fix


def test_the_order_of_the_files_does_not_change_what_is_said() -> None:
    verdicts = [out(f"{number}.jpg", blurred(30 + number)) for number in range(4)]
    verdicts += [out(f"{number} far.jpg", small(200 + number)) for number in range(4)]

    assert refused(*verdicts).fix == refused(*verdicts[::-1]).fix


def test_a_gate_that_has_to_let_more_pass_than_it_holds_is_not_named() -> None:
    error = refused(out("a.jpg", blurred(39)), out("b.jpg", small(230)))

    assert "move one gate" not in error.fix


def test_a_photo_with_two_faults_does_not_count() -> None:
    both = out("a.jpg", blurred(39), missing(ReasonCode.TOO_DARK, 30, 35))

    assert "move one gate" not in refused(both, out("b.jpg", blurred(39))).fix


def test_one_setting_moves_both_sides_of_the_size_gate() -> None:
    narrow = missing(ReasonCode.CROP_TOO_SMALL, 400, 512)

    fix = refused(out("a.jpg", narrow, small(200)), out("b.jpg", small(220))).fix
    assert "crop_too_small from 512 to 400 px would be enough" in fix
    assert fix.endswith(": b.jpg (220), a.jpg (400).")
    assert "move one gate" not in refused(out("a.jpg", narrow, small(159)), needed=9).fix
    assert "move one gate" not in refused(out("a.jpg", narrow, blurred(39)), needed=9).fix


@pytest.mark.parametrize(
    ("faults", "copied", "named"),
    [
        ((BLURRED,), False, True),
        ((BLURRED,), True, False),  # rescued by hand it would only take the other's place
        ((BLURRED, small(229)), False, False),
    ],
    ids=["one fault", "a copy of a usable photo", "two faults"],
)
def test_what_a_gate_promises_would_come_true(
    faults: tuple[Reason, ...], copied: bool, named: bool
) -> None:
    good = photos_of(0, 9)
    face = face_of(0, 9, 400.0, *faults)
    faulty = a_finding(
        "faulty.jpg", faces=(face,), fingerprint=good[0].fingerprint if copied else None
    )
    by_hand = {faulty.photo.sha256: Override("keep")} if faulty.photo else {}
    wanted = Wanted(10, 30, identity=IDENTITY)

    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(select_photos(FOLDER, [*good, faulty], wanted))

    assert ("move one gate" in refusal.value.fix) is named
    if len(faults) == 1:
        moved = select_photos(FOLDER, [*good, faulty], replace(wanted, overrides=by_hand))
        assert (len(moved.usable) == 10) is named


def test_light_has_two_gates_with_units_of_their_own() -> None:
    dark = missing(ReasonCode.TOO_DARK, 34, 35, "luma median")
    clipped = missing(ReasonCode.TOO_DARK, 12, 10, "% clipped")

    assert "move one gate" not in refused(out("a.jpg", dark), out("b.jpg", clipped)).fix
    fix = refused(out("a.jpg", clipped), out("b.jpg", clipped), out("c.jpg", dark)).fix
    assert "too_dark from 10 to 12 % clipped would be enough" in fix
    assert "c.jpg" not in fix


@pytest.mark.parametrize(
    ("code", "measured", "limit", "named"),
    [
        (ReasonCode.FACE_TOO_SMALL, 160, 233, True),
        (ReasonCode.FACE_TOO_SMALL, 159, 233, False),
        (ReasonCode.CROP_TOO_SMALL, 256, 512, True),
        (ReasonCode.CROP_TOO_SMALL, 255, 512, False),
        (ReasonCode.EXTREME_POSE, 89, 75, True),
        (ReasonCode.TOO_BRIGHT, 250, 225, True),
        (ReasonCode.BLURRED, 0, 40, True),
        (ReasonCode.NO_FACE, 0, 1, False),
        (ReasonCode.OTHER_PERSON, 0.61, 0.6, False),
        (ReasonCode.NEAR_DUPLICATE, 6, 6, False),
        (ReasonCode.SEVERAL_FACES, 500, 512, False),
        (ReasonCode.BLURRED, None, 40, False),
    ],
)
def test_only_what_can_be_moved_is_named_and_only_down_to_its_floor(
    code: ReasonCode, measured: float | None, limit: float, named: bool
) -> None:
    error = refused(out("a.jpg", missing(code, measured, limit)), needed=9)

    assert ("move one gate" in error.fix) is named


def test_three_photos_are_named_and_the_rest_counted() -> None:
    verdicts = [out(f"{number}.jpg", blurred(39 - number)) for number in range(6)]

    fix = refused(*verdicts, needed=13).fix

    assert fix.endswith(": 0.jpg (39), 1.jpg (38), 2.jpg (37) and 2 more.")
    assert "to 35 sharpness" in fix


# ── two people ────────────────────────────────────────────────────────────────────────────────


def test_two_people_are_both_shown_and_the_way_out_is_named() -> None:
    findings = [*photos_of(0, 12), *photos_of(1, 9)]

    selection = select_photos(FOLDER, findings, Wanted(10, 30, identity=IDENTITY))

    assert selection.kept == ()
    assert len(selection.usable) == 12
    with pytest.raises(TwoPeople) as refusal:
        require_enough(selection)
    assert str(FOLDER) in refusal.value.what
    assert refusal.value.why == (
        "One is in 12 photos (0_00.jpg, 0_01.jpg, 0_02.jpg, ...); "
        "another is in 9 photos (1_00.jpg, 1_01.jpg, 1_02.jpg, ...)."
    )
    assert "--reference PHOTO" in refusal.value.fix
    assert refusal.value.code == "two_people"
    assert refusal.value.retryable is False


def test_two_people_come_before_too_few() -> None:
    findings = [*photos_of(0, 3), *photos_of(1, 3)]

    with pytest.raises(TwoPeople):
        require_enough(select_photos(FOLDER, findings, Wanted(10, 30, identity=IDENTITY)))


def test_two_people_without_a_usable_photo_name_only_photos_of_people() -> None:
    findings = [
        *(a_finding(one.name, faces=one.faces, size=(500, 500)) for one in photos_of(0, 3)),
        *(a_finding(one.name, faces=one.faces, size=(500, 500)) for one in photos_of(1, 3)),
        a_finding("nobody.jpg", NO_FACE, faces=()),
    ]

    with pytest.raises(TwoPeople) as refusal:
        require_enough(select_photos(FOLDER, findings, Wanted(10, 30, identity=IDENTITY)))

    assert "nobody" not in refusal.value.why
    assert refusal.value.why.count("3 photos") == 2
