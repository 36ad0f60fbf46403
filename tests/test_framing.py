"""The square around a face: inside the picture, as wide as wanted, and of this person alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep import framing as rules
from lora_prep.framing import FRAMINGS, MIN_FACE_PX, crop_box, smallest_face_px
from lora_prep.model import Box, Framing
from tests.sample import examples

ONE_FRAMING = st.sampled_from(sorted(FRAMINGS))
Picture = tuple[Box, int, int]


@st.composite
def faces_in_pictures(draw: st.DrawFn) -> Picture:
    """A face that lies in its picture, up to filling it."""
    width_px, height_px = draw(st.integers(200, 12_000)), draw(st.integers(200, 12_000))
    height = draw(st.floats(20, height_px))
    width = draw(st.floats(min(15, height / 2), min(width_px, height * 1.2)))
    x = draw(st.floats(0, width_px - width))
    y = draw(st.floats(0, height_px - height))
    return Box(x, y, width, height), width_px, height_px


def faces_beside(width_px: int, height_px: int) -> st.SearchStrategy[list[Box]]:
    """Up to three other faces, also half outside the picture."""
    face = st.builds(
        lambda x, y, height: Box(x, y, 0.75 * height, height),
        st.floats(-0.1 * width_px, width_px),
        st.floats(-0.1 * height_px, height_px),
        st.floats(10, 0.6 * height_px),
    )
    return st.lists(face, max_size=3)


def head_of(face: Box, width_px: int, height_px: int) -> Box:
    """The face with its hair and chin, as far as the picture shows them."""
    left = max(0.0, face.x - 0.10 * face.height)
    top = max(0.0, face.y - 0.30 * face.height)
    right = min(width_px, face.x + face.width + 0.10 * face.height)
    bottom = min(height_px, face.y + 1.05 * face.height)
    return Box(left, top, right - left, bottom - top)


def holds(box: Box, other: Box) -> bool:
    slack = 1e-6
    return (
        box.x <= other.x + slack
        and box.y <= other.y + slack
        and box.x + box.width >= other.x + other.width - slack
        and box.y + box.height >= other.y + other.height - slack
    )


def overlap(one: Box, other: Box, margin: float = 0.0) -> bool:
    """Whether two boxes share pixels, the second grown by a share of its height."""
    wider = margin * other.height
    return (
        one.x < other.x + other.width + wider
        and other.x - wider < one.x + one.width
        and one.y < other.y + other.height + wider
        and other.y - wider < one.y + one.height
    )


def assert_is_a_crop(box: Box, width_px: int, height_px: int) -> None:
    assert box.width == box.height >= 1
    assert all(value == int(value) for value in (box.x, box.y, box.width, box.height))
    assert 0 <= box.x <= width_px - box.width
    assert 0 <= box.y <= height_px - box.height


# ── alone in the picture ──────────────────────────────────────────────────────────────────────


@examples(120)
@hypothesis.given(faces_in_pictures(), ONE_FRAMING)
def test_the_square_is_as_wide_as_wanted_and_holds_the_head(
    picture: Picture, framing: Framing
) -> None:
    face, width_px, height_px = picture

    box = crop_box(face, width_px, height_px, framing)

    assert box is not None
    assert_is_a_crop(box, width_px, height_px)
    # Never wider than wanted, and only ever smaller because the picture is.
    assert box.width == int(min(FRAMINGS[framing] * face.height, width_px, height_px))
    head = head_of(face, width_px, height_px)
    if max(head.width, head.height) <= box.width - 1:  # else no square of whole pixels holds it
        assert holds(box, head)


@pytest.mark.parametrize(
    ("framing", "above", "below"),
    [
        (Framing.CLOSE_UP, 0.38, 0.22),
        (Framing.HEAD_AND_SHOULDERS, 0.68, 0.52),
        (Framing.UPPER_BODY, 0.60, 2.40),
    ],
)
def test_with_room_on_every_side_the_face_has_its_place_in_the_square(
    framing: Framing, above: float, below: float
) -> None:
    face = Box(4000, 4000, 300, 400)

    box = crop_box(face, 9000, 9000, framing)

    assert box is not None
    assert box.width == int(FRAMINGS[framing] * 400)
    assert box.x + box.width / 2 == face.x + face.width / 2
    assert face.y - box.y == pytest.approx(above * 400, abs=1)
    assert box.y + box.height - (face.y + face.height) == pytest.approx(below * 400, abs=1)


@pytest.mark.parametrize(
    ("face", "size", "expected"),
    [
        (Box(400, 400, 300, 400), (1200, 1600), [110, 128, 880, 880]),  # room on every side
        (Box(0, 0, 300, 400), (1200, 1600), [0, 0, 880, 880]),  # moved in from the corner
        (Box(900, 1200, 300, 400), (1200, 1600), [320, 720, 880, 880]),
        (Box(100, 100, 600, 800), (1000, 1600), [0, 0, 1000, 1000]),  # shrunk to the picture
    ],
)
def test_known_squares(face: Box, size: tuple[int, int], expected: list[int]) -> None:
    box = crop_box(face, *size, Framing.HEAD_AND_SHOULDERS)

    assert box is not None
    assert box.to_json() == expected


@examples(60)
@hypothesis.given(faces_in_pictures())
def test_an_upper_body_without_room_is_placed_as_what_it_has_become(picture: Picture) -> None:
    face, width_px, height_px = picture
    hypothesis.assume(min(width_px, height_px) <= 2.2 * face.height)

    assert crop_box(face, width_px, height_px, Framing.UPPER_BODY) == crop_box(
        face, width_px, height_px, Framing.HEAD_AND_SHOULDERS
    )


def test_a_larger_picture_lets_the_upper_body_slide_down_without_a_jump() -> None:
    tops = []
    for width_px in range(600, 2001, 10):
        box = crop_box(Box(0.4 * width_px, 3000, 300, 400), width_px, 8000, Framing.UPPER_BODY)
        assert box is not None
        tops.append(box.y)

    assert all(abs(one - other) <= 12 for one, other in pairwise(tops))
    assert all(2680 <= top <= 2950 for top in tops)


@examples(80)
@hypothesis.given(
    st.floats(-500, 1500),
    st.floats(-500, 1500),
    st.floats(100, 900),
    st.floats(150, 900),
    ONE_FRAMING,
)
def test_a_face_cut_by_the_edge_still_gives_a_square_inside(
    x: float, y: float, width: float, height: float, framing: Framing
) -> None:
    box = crop_box(Box(x, y, width, height), 1000, 800, framing)

    assert box is not None
    assert_is_a_crop(box, 1000, 800)


# ── beside others ─────────────────────────────────────────────────────────────────────────────


@examples(150)
@hypothesis.given(faces_in_pictures(), ONE_FRAMING, st.data())
def test_no_other_face_is_ever_in_the_square(
    picture: Picture, framing: Framing, data: st.DataObject
) -> None:
    face, width_px, height_px = picture
    others = data.draw(faces_beside(width_px, height_px))
    alone = crop_box(face, width_px, height_px, framing)

    box = crop_box(face, width_px, height_px, framing, others)

    assert alone is not None
    if not any(overlap(alone, other, margin=0.15) for other in others):
        assert box == alone
    if box is None:
        return
    assert_is_a_crop(box, width_px, height_px)
    assert box.width <= alone.width
    assert not any(overlap(box, other, margin=0.15) for other in others)
    head = head_of(face, width_px, height_px)
    if box != alone:
        assert holds(box, head)
    # The order in which the detector names the others does not matter.
    assert crop_box(face, width_px, height_px, framing, others[::-1]) == box


def free_squares(
    face: Box, size: tuple[int, int], side: int, others: list[Box]
) -> Iterator[tuple[int, int]]:
    """Every place of a square of this side with the head in it and no other face, one by one."""
    head = head_of(face, *size)
    for left in range(size[0] - side + 1):
        for top in range(size[1] - side + 1):
            box = Box(left, top, side, side)
            if holds(box, head) and not any(overlap(box, one, margin=0.15) for one in others):
                yield left, top


small = st.integers(0, 40)


@examples(150)
@hypothesis.given(
    st.tuples(st.integers(30, 44), st.integers(30, 44)),
    st.builds(Box, small, small, st.integers(5, 9), st.integers(6, 12)),
    st.lists(st.builds(Box, small, small, st.integers(3, 9), st.integers(4, 12)), max_size=2),
    ONE_FRAMING,
)
def test_a_search_of_every_square_finds_no_better_one(
    size: tuple[int, int], face: Box, others: list[Box], framing: Framing
) -> None:
    hypothesis.assume(face.x + face.width <= size[0] and face.y + face.height <= size[1])
    alone = crop_box(face, *size, framing)
    assert alone is not None
    head = head_of(face, *size)
    least = math.ceil(max(head.width, head.height))

    box = crop_box(face, *size, framing, others)

    if box is None:
        # Not even the smallest square that was tried fits anywhere: the head alone.
        assert not list(free_squares(face, size, least, others))
        return
    if box == alone:
        return
    free = list(free_squares(face, size, int(box.width), others))
    assert (box.x, box.y) in free
    larger = range(math.ceil(box.width / 0.95) + 1, int(alone.width) + 1)
    assert not any(list(free_squares(face, size, side, others)) for side in larger)
    if box.width == alone.width:  # moved, and then no farther than needed
        way = min(math.hypot(left - alone.x, top - alone.y) for left, top in free)
        assert math.hypot(box.x - alone.x, box.y - alone.y) == pytest.approx(way)


def test_it_is_moved_aside_before_it_is_shrunk() -> None:
    face, other = Box(500, 500, 300, 400), Box(1000, 500, 300, 400)

    box = crop_box(face, 3000, 3000, Framing.HEAD_AND_SHOULDERS, [other])

    # As wide as alone, and ends where the hair of the other begins.
    assert box is not None
    assert box.to_json() == [60, 228, 880, 880]


def test_it_is_shrunk_where_moving_is_not_enough() -> None:
    face = Box(500, 500, 300, 400)
    others = [Box(0, 500, 300, 400), Box(1000, 500, 300, 400)]

    box = crop_box(face, 1400, 1400, Framing.HEAD_AND_SHOULDERS, others)

    assert box is not None  # 580 px are free between them, and the head needs 540
    assert 551 <= box.width <= 580
    assert 360 <= box.x <= 940 - box.width


def test_the_smallest_square_that_is_tried_holds_just_the_head() -> None:
    face = Box(500, 500, 300, 400)  # its head: 380 wide, 540 high
    gap = 541.0

    def between(gap: float) -> Box | None:
        left, right = 650 - gap / 2 - 60 - 300, 650 + gap / 2 + 60
        others = [Box(left, 500, 300, 400), Box(right, 500, 300, 400)]
        return crop_box(face, 2000, 2000, Framing.HEAD_AND_SHOULDERS, others)

    assert between(gap - 2) is None
    box = between(gap)
    assert box is not None
    assert box.width == 540


def test_a_shrunk_upper_body_still_shows_the_head() -> None:
    face, other = Box(800, 500, 150, 200), Box(800, 1000, 150, 200)

    box = crop_box(face, 2000, 2000, Framing.UPPER_BODY, [other])

    assert box is not None
    assert holds(box, head_of(face, 2000, 2000))
    assert not overlap(box, other)


# ── how large a face must be ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("framing", "least"),
    [
        (Framing.HEAD_AND_SHOULDERS, 233),
        (Framing.CLOSE_UP, 320),
        (Framing.UPPER_BODY, 160),
        (Framing.MIXED, 160),
    ],
)
def test_the_smallest_face_of_each_framing_at_512_px(framing: Framing, least: int) -> None:
    assert smallest_face_px(512, framing) == least


@examples(150)
@hypothesis.given(st.integers(256, 2048), ONE_FRAMING)
def test_the_smallest_face_just_reaches_the_smallest_crop(
    min_size_px: int, framing: Framing
) -> None:
    least = smallest_face_px(min_size_px, framing)

    def side_of(height: int) -> float:
        box = crop_box(Box(9000, 9000, 100, height), 20_000, 20_000, framing)
        assert box is not None
        return box.width

    assert side_of(least) >= min_size_px
    assert least == MIN_FACE_PX or side_of(least - 1) < min_size_px
    assert smallest_face_px(min_size_px, Framing.MIXED) <= least
    assert smallest_face_px(min_size_px, Framing.MIXED) == smallest_face_px(
        min_size_px, max(FRAMINGS, key=lambda one: FRAMINGS[one])
    )


def test_every_framing_has_a_place_for_its_centre() -> None:
    assert set(rules.CENTRE_DOWN) == set(FRAMINGS.values())
    assert set(FRAMINGS) == set(Framing) - {Framing.MIXED}
