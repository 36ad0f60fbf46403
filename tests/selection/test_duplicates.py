"""One picture counts once: the best stays, and the others name it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.model import Finding, NoteCode, ReasonCode
from lora_prep.selection.candidates import Candidate
from lora_prep.selection.duplicates import EQUAL_QUALITY, Singled, single_out
from tests.sample import IDENTITY, a_finding, a_fingerprint, a_judged_face, examples
from tests.selection.people import candidate, embedding, with_bits

NOON = datetime(2026, 5, 1, 12, 0, 0)  # noqa: DTZ001  what a camera says has no zone


def photo(
    name: str,
    *,
    bits: int = 0,
    face_bits: int = 40,
    sharpness: float = 120.0,
    photo_number: int = 0,
    away: float = 0.2,
    seconds: float | None = None,
    pixels: str | None = None,
    sha256: str | None = None,
    by_hand: bool = False,
    size: tuple[int, int] = (1200, 1600),
    size_bytes: int = 1000,
    grey: bool = False,
) -> Candidate:
    """A photo whose hashes differ from those of "one" by so many bits."""
    print_ = a_fingerprint("one")
    if grey:
        print_ = replace(print_, look=(0.5,) * 48)
    face = a_judged_face(
        sharpness=sharpness,
        phash=with_bits(a_fingerprint("face").phash, face_bits, seed=name),
        embedding=embedding(0, photo_number, away),
    )
    finding = a_finding(
        name,
        faces=(face,),
        sha256=sha256,
        size=size,
        taken_at=None if seconds is None else NOON + timedelta(seconds=seconds),
        fingerprint=replace(
            print_,
            pixels_sha256=pixels or a_fingerprint(name).pixels_sha256,
            phash=with_bits(print_.phash, bits, seed=name),
        ),
    )
    one = candidate(finding, by_hand=by_hand)
    return replace(one, photo=replace(one.photo, size_bytes=size_bytes))


def stored(one: Candidate, **facts: Any) -> Candidate:
    return replace(one, photo=replace(one.photo, **facts))


def single(*photos: Candidate, identity: bool = True) -> Singled:
    return single_out(photos, IDENTITY if identity else None)


def left(singled: Singled) -> dict[str, ReasonCode | NoteCode]:
    return {one.name: reason.code for one, reason in singled.copies}


def test_of_one_file_twice_the_copy_names_the_other() -> None:
    singled = single(photo("b.jpg", sha256="5" * 64), photo("a.jpg", sha256="5" * 64, bits=30))

    assert [one.name for one in singled.stay] == ["a.jpg"]
    ((copy, reason),) = singled.copies
    assert (copy.name, reason.code) == ("b.jpg", ReasonCode.DUPLICATE)
    assert reason.hint == "The same file as a.jpg."


def test_one_picture_saved_again_is_a_duplicate_too() -> None:
    singled = single(photo("a.jpg", pixels="p"), photo("retagged.jpg", pixels="p", bits=30))

    ((copy, reason),) = singled.copies
    (stays,) = singled.stay
    assert reason.code is ReasonCode.DUPLICATE
    assert reason.hint == f"The same picture as {stays.name}, saved again."
    assert {copy.name, stays.name} == {"a.jpg", "retagged.jpg"}


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize(
    ("bits", "copy", "note"), [(0, 1, 0), (6, 1, 0), (7, 0, 1), (10, 0, 1), (11, 0, 0), (32, 0, 0)]
)
def test_few_bits_of_the_whole_picture_are_a_copy_and_some_more_a_note(
    bits: int, copy: int, note: int, identity: bool
) -> None:
    best, other = photo("a.jpg", sharpness=130), photo("b.jpg", bits=bits, photo_number=1)

    singled = single(other, best, identity=identity)

    assert len(singled.copies) == copy
    assert len(singled.similar) == note
    for one, reason in singled.copies:
        assert one.name == "b.jpg"
        assert reason.code is ReasonCode.NEAR_DUPLICATE
        assert (reason.measured, reason.limit) == (bits, 6)
        assert "a.jpg" in reason.hint
    for name, reason in singled.similar.items():
        assert name == "b.jpg"
        assert reason.code is NoteCode.SIMILAR
        assert (reason.measured, reason.limit) == (bits, 10)
        assert "a.jpg" in reason.hint


@pytest.mark.parametrize(
    ("face_bits", "away", "expected"),
    [
        (2, 0.1, {"b.jpg": ReasonCode.NEAR_DUPLICATE}),  # a crop of the same photo
        (2, 0.2, {}),  # the same expression on another day
        (7, 0.1, {}),  # a moment later: no more than a note
        (20, 0.1, {}),
    ],
)
def test_like_faces_are_a_copy_only_in_one_moment(
    face_bits: int, away: float, expected: dict[str, ReasonCode]
) -> None:
    # Two photos of one person are away x 1.41 apart; one moment ends at 0.3 x 0.6 = 0.18.
    best = photo("a.jpg", face_bits=0, sharpness=130, away=away)
    other = photo("b.jpg", bits=40, face_bits=face_bits, photo_number=1, away=away)

    assert left(single(best, other)) == expected
    assert left(single(best, other, identity=False)) == {}
    assert (single(best, other).similar != {}) == (face_bits == 7)


def test_a_face_without_a_hash_or_an_embedding_is_no_copy() -> None:
    best = photo("a.jpg", face_bits=0, sharpness=130)
    other = photo("b.jpg", bits=40, face_bits=0)
    unknown = replace(other, face=replace(other.face, phash=None))
    nobody = replace(other.face, face=replace(other.face.face, embedding=()))

    assert left(single(best, other)) == {"b.jpg": ReasonCode.NEAR_DUPLICATE}
    assert left(single(best, unknown)) == {}
    assert left(single(best, replace(other, face=nobody))) == {}


@pytest.mark.parametrize(
    ("seconds", "bits", "copy"),
    [(0, 14, True), (3, 14, True), (-3, 11, True), (3.1, 14, False), (1, 15, False)],
)
def test_a_burst_gives_one_photo(seconds: float, bits: int, copy: bool) -> None:
    best = photo("a.jpg", sharpness=130, seconds=0)
    other = photo("b.jpg", bits=bits, photo_number=1, seconds=seconds)

    singled = single(best, other)

    assert len(singled.copies) == copy
    for _, reason in singled.copies:
        assert reason.code is ReasonCode.NEAR_DUPLICATE
        assert reason.hint == f"From one burst with a.jpg, {abs(seconds):.0f} s apart."
        assert (reason.measured, reason.limit) == (bits, 14)


def test_without_the_time_there_is_no_burst() -> None:
    best = photo("a.jpg", sharpness=130, seconds=0)

    assert left(single(best, photo("b.jpg", bits=14, photo_number=1))) == {}


def test_the_best_stays_whatever_it_is_called() -> None:
    blurred, sharp = photo("a.jpg", sharpness=60), photo("z.jpg", sharpness=130, bits=3)

    assert [one.name for one in single(blurred, sharp).stay] == ["z.jpg"]
    assert "z.jpg" in single(blurred, sharp).copies[0][1].hint


ORIGINAL = photo("original.jpg", sharpness=120, bits=2, seconds=0, size_bytes=3_000)


@pytest.mark.parametrize(
    "copy",
    [
        photo("a.jpg", sharpness=124, size=(1199, 1600), size_bytes=9_000),
        photo("a.jpg", sharpness=124, seconds=0, size_bytes=2_999),
        photo("a.jpg", sharpness=124, size=(2400, 3200), size_bytes=9_000, grey=True),
        photo("a.jpg", sharpness=124, size_bytes=9_000),
        stored(photo("a.jpg", sharpness=124, seconds=0, size_bytes=9_000), turned_deg=90),
        stored(photo("a.jpg", sharpness=124, seconds=0, size_bytes=9_000), format="GIF"),
    ],
    ids=["smaller", "saved with more loss", "grey", "without its time", "sideways", "a GIF"],
)
def test_of_equally_good_copies_the_original_stays(copy: Candidate) -> None:
    assert copy.quality > ORIGINAL.quality

    singled = single(copy, ORIGINAL)

    assert [one.name for one in singled.stay] == ["original.jpg"]
    ((gone, reason),) = singled.copies
    assert gone.name == "a.jpg"
    assert "original.jpg" in reason.hint


def test_a_clearly_better_photo_stays_however_large_the_other_is() -> None:
    larger = photo("larger.jpg", sharpness=100, bits=2, size=(2400, 3200), size_bytes=9_000)

    assert [one.name for one in single(larger, photo("a.jpg", sharpness=120)).stay] == ["a.jpg"]


def test_a_square_given_by_hand_is_not_lost_to_a_larger_copy() -> None:
    given = replace(photo("given.jpg", bits=2), recropped=True)
    larger = photo("larger.jpg", size=(2400, 3200))

    assert [one.name for one in single(given, larger).stay] == ["given.jpg"]


def test_in_a_chain_only_what_is_like_a_photo_that_stays_goes() -> None:
    one = photo("one.jpg", sharpness=130)
    hash_ = one.fingerprint.phash

    def beside(name: str, phash: int, sharpness: float) -> Candidate:
        other = photo(name, sharpness=sharpness, photo_number=1)
        return replace(other, fingerprint=replace(other.fingerprint, phash=phash))

    second = beside("two.jpg", hash_ ^ 0b111111, 120)
    third = beside("three.jpg", hash_ ^ 0b111111_111111, 110)  # like the second, not the first

    singled = single(third, second, one)

    assert [one.name for one in singled.stay] == ["one.jpg", "three.jpg"]
    assert left(singled) == {"two.jpg": ReasonCode.NEAR_DUPLICATE}


def test_what_is_kept_by_hand_stays_beside_its_like_and_the_worse_one_goes() -> None:
    better = photo("a.jpg", sharpness=130)
    kept = photo("b.jpg", sharpness=60, bits=2, by_hand=True)

    singled = single(better, kept)

    assert [one.name for one in singled.stay] == ["b.jpg"]
    assert left(singled) == {"a.jpg": ReasonCode.NEAR_DUPLICATE}


def test_two_kept_by_hand_both_stay_and_are_said_to_be_alike() -> None:
    singled = single(
        photo("a.jpg", sharpness=130, by_hand=True, seconds=0),
        photo("b.jpg", bits=2, by_hand=True, seconds=1),
    )

    assert singled.copies == ()
    assert set(singled.similar) == {"b.jpg"}


@pytest.mark.parametrize("same", ["file", "pixels"])
def test_even_by_hand_one_picture_counts_once(same: str) -> None:
    values = {"sha256": "5" * 64} if same == "file" else {"pixels": "p"}
    one = photo("a.jpg", by_hand=True, **values)  # type: ignore[arg-type]
    other = photo("b.jpg", by_hand=True, **values)  # type: ignore[arg-type]

    assert len(single(one, other).stay) == 1


# ── any folder ────────────────────────────────────────────────────────────────────────────────


@st.composite
def folders(draw: st.DrawFn) -> list[Candidate]:
    count = draw(st.integers(0, 8))
    return [
        photo(
            f"{number}.jpg",
            bits=draw(st.integers(0, 16)),
            face_bits=draw(st.integers(0, 12)),
            photo_number=draw(st.integers(0, 2)),
            away=draw(st.sampled_from([0.05, 0.2])),
            sharpness=draw(st.sampled_from([60.0, 100.0, 126.0, 130.0])),
            seconds=draw(st.none() | st.integers(0, 6)),
            by_hand=draw(st.integers(0, 9)) == 0,
            size_bytes=draw(st.integers(1, 3)),
            grey=draw(st.booleans()),
        )
        for number in range(count)
    ]


def is_copy(one: Finding, other: Finding) -> bool:
    return left(single(candidate(one), candidate(other))) != {}


@examples(50)
@hypothesis.given(folders(), st.randoms(use_true_random=False))
def test_every_photo_stays_or_names_one_that_stays(
    photos: list[Candidate], shuffler: random.Random
) -> None:
    singled = single(*photos)

    staying = {one.name for one in singled.stay}
    gone = {one.name for one, _ in singled.copies}
    assert staying | gone == {one.name for one in photos}
    assert not staying & gone
    assert set(singled.similar) <= staying
    for one, reason in singled.copies:
        assert not one.by_hand
        (named,) = [other for other in singled.stay if other.name in reason.hint]
        assert named.by_hand or named.quality >= one.quality - EQUAL_QUALITY
        assert is_copy(one.finding, named.finding)
    # No two that stay are copies of each other, unless one is wanted by hand.
    free = [one.finding for one in singled.stay if not one.by_hand]
    assert not any(
        is_copy(one, other) for number, one in enumerate(free) for other in free[:number]
    )

    shuffled = list(photos)
    shuffler.shuffle(shuffled)
    assert single(*shuffled) == singled
