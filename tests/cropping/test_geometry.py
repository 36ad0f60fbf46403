"""The square around a face, for any face in any picture."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.cropping import crop_box
from lora_prep.cropping.geometry import BOX_PER_FACE, CENTRE_UP
from lora_prep.model import Box
from tests.sample import examples

sides = st.integers(200, 12_000)


@st.composite
def faces_in_pictures(draw: st.DrawFn) -> tuple[Box, int, int]:
    """A face that lies in its picture, up to filling it."""
    width_px, height_px = draw(sides), draw(sides)
    height = draw(st.floats(20, height_px))
    width = draw(st.floats(min(15, height / 2), min(width_px, height * 1.2)))
    x = draw(st.floats(0, width_px - width))
    y = draw(st.floats(0, height_px - height))
    return Box(x, y, width, height), width_px, height_px


@examples(120)
@hypothesis.given(faces_in_pictures())
def test_the_square_lies_in_the_picture_and_holds_the_face(
    picture: tuple[Box, int, int],
) -> None:
    face, width_px, height_px = picture

    box = crop_box(face, width_px, height_px)

    assert box.width == box.height
    assert all(value == int(value) for value in (box.x, box.y, box.width, box.height))
    assert box.x >= 0
    assert box.y >= 0
    assert box.x + box.width <= width_px
    assert box.y + box.height <= height_px
    assert box.width <= BOX_PER_FACE * face.height
    # It is only ever smaller than wanted because the picture is.
    assert box.width > min(BOX_PER_FACE * face.height, width_px, height_px) - 1

    if box.width >= 1.2 * max(face.width, face.height) + 2:  # room for the shift towards the hair
        assert box.x - 1 <= face.x
        assert box.y - 1 <= face.y
        assert box.x + box.width + 1 >= face.x + face.width
        assert box.y + box.height + 1 >= face.y + face.height

    wanted_x = face.x + face.width / 2 - box.width / 2
    wanted_y = face.y + face.height / 2 - CENTRE_UP * face.height - box.height / 2
    if 0 <= wanted_x <= width_px - box.width:
        assert box.x == pytest.approx(wanted_x, abs=0.51)
    if 0 <= wanted_y <= height_px - box.height:
        assert box.y == pytest.approx(wanted_y, abs=0.51)


@examples(60)
@hypothesis.given(
    st.floats(-500, 1500), st.floats(-500, 1500), st.floats(200, 900), st.floats(200, 900)
)
def test_a_face_cut_by_the_edge_still_gives_a_square_inside(
    x: float, y: float, width: float, height: float
) -> None:
    box = crop_box(Box(x, y, width, height), 1000, 800)

    assert 0 <= box.x <= 1000 - box.width
    assert 0 <= box.y <= 800 - box.height
    assert box.width == box.height > 0


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
    assert crop_box(face, *size).to_json() == expected
