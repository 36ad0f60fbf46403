"""The best and most varied of many, their framings, and what a set is said to lack."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.model import Box, Fingerprint, Framing
from lora_prep.selection.candidates import Candidate, possible_crops
from lora_prep.selection.variety import ROOMY, advise, choose, doubtful, frame
from tests.sample import IDENTITY, a_finding, a_fingerprint, a_judged_face, examples
from tests.selection.people import candidate, embedding

NOON = datetime(2026, 5, 1, 12, 0, 0)  # noqa: DTZ001  what a camera says has no zone


def photo(
    name: str,
    *,
    yaw: float = 0.0,
    colour: float | None = None,
    height: float = 400.0,
    sharpness: float = 120.0,
    number: int = 0,
    size: tuple[int, int] = (2400, 3200),
    taken_at: datetime | None = None,
    by_hand: bool = False,
) -> Candidate:
    """A photo of that colour; of its name's own colours without one."""
    face = a_judged_face(height, sharpness=sharpness, yaw_deg=yaw, embedding=embedding(0, number))
    seen = a_fingerprint(name)
    if colour is not None:
        seen = Fingerprint(seen.pixels_sha256, seen.phash, (colour,) * 48)
    finding = a_finding(name, faces=(face,), size=size, taken_at=taken_at, fingerprint=seen)
    return candidate(finding, by_hand=by_hand)


def names(chosen: Sequence[Candidate]) -> list[str]:
    return [one.name for one in chosen]


# ── choose ────────────────────────────────────────────────────────────────────────────────────


def test_the_best_comes_first() -> None:
    photos = [photo("a.jpg", sharpness=90), photo("b.jpg", sharpness=135), photo("c.jpg")]

    assert choose(photos, 3, IDENTITY)[0].name == "b.jpg"


@pytest.mark.parametrize("by", ["yaw", "colour", "share", "embedding"])
def test_one_of_each_kind_is_chosen_before_a_second_of_any(by: str) -> None:
    kinds = {
        "yaw": [{"yaw": yaw, "colour": 0.5} for yaw in (-60.0, 0.0, 60.0)],
        "colour": [{"colour": colour} for colour in (0.1, 0.5, 0.9)],
        "share": [{"height": height, "colour": 0.5} for height in (240.0, 500.0, 1000.0)],
        "embedding": [{"number": number, "colour": 0.5} for number in (0, 1, 2)],
    }[by]
    photos = [
        photo(f"{kind} {copy}.jpg", sharpness=120 + copy / 10, **values)  # type: ignore[arg-type]
        for kind, values in enumerate(kinds)
        for copy in range(4)
    ]

    chosen = choose(photos, 3, IDENTITY)

    assert {name[0] for name in names(chosen)} == {"0", "1", "2"}


def test_without_identity_the_embeddings_say_nothing() -> None:
    photos = [photo("a.jpg", colour=0.5, sharpness=130)]
    photos += [photo("b.jpg", colour=0.52), photo("c.jpg", colour=0.5, number=5, sharpness=110)]

    assert names(choose(photos, 2, IDENTITY)) == ["a.jpg", "c.jpg"]
    assert names(choose(photos, 2, None)) == ["a.jpg", "b.jpg"]


def test_of_two_as_different_the_better_is_chosen() -> None:
    photos = [photo("best.jpg", colour=0.5, sharpness=135)]
    photos += [photo("soft.jpg", yaw=50, colour=0.5, sharpness=70)]
    photos += [photo("sharp.jpg", yaw=-50, colour=0.5, sharpness=130)]

    assert names(choose(photos, 2, IDENTITY)) == ["best.jpg", "sharp.jpg"]


def test_what_is_kept_by_hand_comes_first_even_if_it_is_bad() -> None:
    photos = [photo(f"{number}.jpg", colour=number / 10) for number in range(8)]
    photos += [photo("mine.jpg", colour=0.0, sharpness=10, by_hand=True)]
    photos += [photo("mine too.jpg", colour=0.0, sharpness=10, by_hand=True)]

    assert set(names(choose(photos, 3, IDENTITY))[:2]) == {"mine.jpg", "mine too.jpg"}


def test_a_doubted_face_is_chosen_when_nothing_better_is_left() -> None:
    photos = [photo(f"{number}.jpg", colour=number / 10) for number in range(4)]
    doubted = doubtful(photo("who.jpg", colour=0.45, sharpness=135))

    assert "who.jpg" not in names(choose([*photos, doubted], 4, IDENTITY))
    assert "who.jpg" in names(choose([*photos, doubted], 5, IDENTITY))


@examples(50)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.sampled_from([-50.0, 0.0, 30.0]),
            st.sampled_from([0.2, 0.5, 0.8]),
            st.sampled_from([60.0, 120.0, 130.0]),
            st.integers(0, 3),
        ),
        max_size=12,
    ),
    st.integers(1, 14),
    st.randoms(use_true_random=False),
)
def test_neither_order_nor_names_change_the_choice(
    values: list[tuple[float, float, float, int]], at_most: int, shuffler: random.Random
) -> None:
    photos = [
        photo(f"{number}.jpg", yaw=yaw, colour=colour, sharpness=sharpness, number=one)
        for number, (yaw, colour, sharpness, one) in enumerate(values)
    ]
    chosen = choose(photos, at_most, IDENTITY)
    assert len(chosen) == min(at_most, len(photos))
    assert len(set(names(chosen))) == len(chosen)
    if chosen:
        assert chosen[0].quality == max(one.quality for one in photos)

    others = [str(number) for number in range(len(photos))]
    shuffler.shuffle(others)
    again = [
        replace(one, finding=replace(one.finding, name=name))
        for one, name in zip(photos, others, strict=True)
    ]
    shuffler.shuffle(again)

    assert [one.photo.sha256 for one in choose(again, at_most, IDENTITY)] == [
        one.photo.sha256 for one in chosen
    ]
    # Who asks for fewer gets some of them.
    assert set(names(choose(photos, at_most - 1, IDENTITY))) <= set(names(chosen))


# ── framings of a mixed set ───────────────────────────────────────────────────────────────────


def mixed(name: str, height: float, size: tuple[int, int] = (2400, 3200)) -> Candidate:
    one = photo(name, height=max(400.0, height), size=size)
    face = a_judged_face(height)
    crops, reasons = possible_crops(one.photo, (face,), 0, Framing.MIXED, 512)
    assert not reasons
    return replace(one, face=face, crops=crops)


@pytest.mark.parametrize("framing", [one for one in Framing if one is not Framing.MIXED])
def test_one_framing_is_for_all(framing: Framing) -> None:
    photos = [photo(f"{number}.jpg") for number in range(3)]

    assert frame(photos, framing) == dict.fromkeys(names(photos), framing)


@pytest.mark.parametrize(
    ("count", "close", "upper"), [(10, 4, 2), (15, 6, 3), (20, 8, 4), (30, 12, 6), (1, 0, 0)]
)
def test_a_mixed_set_is_shared_out(count: int, close: int, upper: int) -> None:
    photos = [mixed(f"{number}.jpg", 400.0 + 10 * number) for number in range(count)]

    framings = frame(photos, Framing.MIXED)

    counts = Counter(framings.values())
    assert counts[Framing.CLOSE_UP] == close
    assert counts[Framing.UPPER_BODY] == upper
    assert counts[Framing.HEAD_AND_SHOULDERS] == count - close - upper


def test_upper_bodies_have_most_room_and_close_ups_the_largest_faces() -> None:
    photos = [mixed(f"{height}.jpg", float(height)) for height in range(330, 830, 50)]

    framings = frame(photos[::-1], Framing.MIXED)

    in_order = [framings[one.name] for one in photos]
    assert in_order == [
        *[Framing.UPPER_BODY] * 2,
        *[Framing.HEAD_AND_SHOULDERS] * 4,
        *[Framing.CLOSE_UP] * 4,
    ]


def test_a_photo_gets_only_a_framing_it_allows() -> None:
    far = [mixed(f"far {number}.jpg", 170.0 + number) for number in range(7)]
    near = [mixed(f"near {number}.jpg", 400.0 + number) for number in range(3)]

    framings = frame([*near, *far], Framing.MIXED)

    assert all(framings[one.name] is Framing.UPPER_BODY for one in far)
    assert all(framings[one.name] in one.crops for one in near)
    assert Framing.UPPER_BODY not in {framings[one.name] for one in near}


@examples(60)
@hypothesis.given(st.lists(st.floats(160, 900), max_size=20), st.randoms(use_true_random=False))
def test_every_photo_of_a_mixed_set_has_a_framing_it_allows(
    heights: list[float], shuffler: random.Random
) -> None:
    photos = [mixed(f"{number}.jpg", height) for number, height in enumerate(heights)]

    framings = frame(photos, Framing.MIXED)

    assert set(framings) == set(names(photos))
    assert all(framings[one.name] in one.crops for one in photos)
    shuffled = list(photos)
    shuffler.shuffle(shuffled)
    assert frame(shuffled, Framing.MIXED) == framings


# ── advice ────────────────────────────────────────────────────────────────────────────────────


def varied(count: int = 15) -> list[Candidate]:
    """A set that lacks nothing."""
    return [
        photo(
            f"{number}.jpg",
            yaw=[0.0, 20.0, -45.0][number % 3],
            taken_at=NOON + timedelta(days=number),
        )
        for number in range(count)
    ]


def advice_on(kept: Sequence[Candidate], framing: Framing = Framing.HEAD_AND_SHOULDERS) -> str:
    return " ".join(advise(kept, frame(kept, framing), framing))


def test_a_varied_set_of_fifteen_needs_no_advice() -> None:
    assert advice_on(varied()) == ""
    assert advise((), {}, Framing.HEAD_AND_SHOULDERS) == ()


def test_fourteen_are_few() -> None:
    assert advice_on(varied(14)) == "14 photos are few: 15 or more teach a face better."


@pytest.mark.parametrize(
    ("most", "words"),
    [
        (0.0, "straight at the camera"),
        (14.9, "straight at the camera"),
        (-14.9, "straight at the camera"),
        (15.0, "from the side"),
        (-39.9, "from the side"),
        (40.0, ""),
        (-60.0, ""),
    ],
)
def test_a_set_without_a_profile_is_told_so(most: float, words: str) -> None:
    kept = [photo(f"{number}.jpg", yaw=0.0) for number in range(15)]
    kept[7] = photo("7.jpg", yaw=most)

    advice = advice_on(kept)

    assert words in advice
    assert bool(advice) is bool(words)


def test_one_session_is_told_from_two() -> None:
    def taken(hours: float) -> str:
        kept = [replace(one, photo=replace(one.photo, taken_at=NOON)) for one in varied()]
        last = replace(kept[-1].photo, taken_at=NOON + timedelta(hours=hours))
        return advice_on([*kept[:-1], replace(kept[-1], photo=last)])

    assert "one session" in taken(3)
    assert taken(3.1) == ""


def test_without_the_time_of_every_photo_the_session_is_not_known() -> None:
    kept = [replace(one, photo=replace(one.photo, taken_at=NOON)) for one in varied()]
    kept[3] = replace(kept[3], photo=replace(kept[3].photo, taken_at=None))

    assert advice_on(kept) == ""


@pytest.mark.parametrize(("step", "alike"), [(0.01, True), (0.05, False)])
def test_photos_of_one_colour_are_said_to_be_alike(step: float, alike: bool) -> None:
    kept = [
        photo(f"{number}.jpg", yaw=[0.0, 45.0][number % 2], colour=0.1 + step * number)
        for number in range(15)
    ]

    assert ("same colours" in advice_on(kept)) is alike


def narrowed(one: Candidate, share: float) -> Candidate:
    """The photo with less around the face: a share of what its framing asks for."""
    side = share * 2.2 * one.face.face.box.height
    return replace(one, crops={Framing.HEAD_AND_SHOULDERS: Box(0, 0, side, side)})


@pytest.mark.parametrize(("tight", "told"), [(0, False), (7, False), (8, True), (15, True)])
def test_a_set_whose_photos_end_too_near_the_face_is_told_so(tight: int, told: bool) -> None:
    kept = varied()
    kept = [narrowed(one, ROOMY - 0.01) for one in kept[:tight]] + kept[tight:]

    words = f"{tight} photos have less room around the face than head-and-shoulders asks for."
    assert advice_on(kept) == (words if told else "")


def test_a_little_less_room_is_no_matter() -> None:
    assert advice_on([narrowed(one, ROOMY + 0.01) for one in varied()]) == ""


def test_room_is_held_against_the_framing_each_photo_got() -> None:
    kept = varied()

    assert advice_on(kept) == ""
    close = [replace(one, crops={Framing.CLOSE_UP: Box(0, 0, 640, 640)}) for one in kept]
    assert advice_on(close, Framing.MIXED) == ""
    upper = [replace(one, crops={Framing.UPPER_BODY: Box(0, 0, 640, 640)}) for one in kept]
    assert "15 photos have less room around the face than mixed" in advice_on(upper, Framing.MIXED)
