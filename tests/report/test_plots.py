"""How a set is spread: dots where their numbers are, gaps by name, outliers beyond the cut."""

import pytest

from lora_prep.model import (
    Box,
    Decision,
    Face,
    Framing,
    Measures,
    NoteCode,
    Photo,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.report import Scale
from lora_prep.report.plots import AXIS, DOT, TOP, WIDTH, coverage, identity_strip

SCALE = Scale(233, 465, 0.6)
DARK = Reason(ReasonCode.TOO_DARK, "Dark.", 18, 35, "luma median")
STRANGER = Reason(ReasonCode.OTHER_PERSON, "Another.", 0.8, 0.6, "distance")
DOUBT = Reason(NoteCode.IDENTITY_DOUBTED, "Look.", 0.5, 0.45, "distance")


def seen(
    name,
    *reasons,
    yaw=0.0,
    luma=120.0,
    sharp=150.0,
    height=500.0,
    side=1100,
    distance=0.3,
    notes=(),
):
    decision = Decision.LEFT_OUT if reasons else Decision.KEPT
    return Verdict(
        name,
        decision,
        reasons,
        Photo(name, name, "0" * 64, 1, "JPEG", 2000, 2000),
        Face(Box(0, 0, height * 0.8, height), 0.9, ()),
        Measures(sharp, luma, 0, yaw),
        distance,
        None if reasons else Framing.HEAD_AND_SHOULDERS,
        None if reasons else Box(0, 0, side, side),
        notes,
    )


def plots(*verdicts, scale=SCALE):
    found = coverage(Selection("folder", 10, verdicts), scale)
    return {plot.code: plot for plot in found}


def test_five_things_are_plotted():
    assert list(plots(seen("a"))) == ["pose", "framing", "light", "sharpness", "face"]


def test_without_a_set_there_is_nothing_to_plot():
    assert coverage(Selection("folder", 10, (seen("a", DARK),)), SCALE) == ()
    assert coverage(Selection("folder", 10, (Verdict("a", Decision.KEPT, ()),)), SCALE) == ()


def test_gaps_of_pose_are_named():
    pose = plots(seen("a", yaw=-60), seen("b", yaw=2), seen("c", yaw=20))["pose"]
    assert pose.gaps == ("turned to the left", "in profile to the right")
    assert [band.count for band in pose.bands] == [0, 1, 0, 1, 1, 0, 0]
    assert [band.gap for band in pose.bands] == [False, False, True, False, False, True, False]
    assert pose.words == "the head is turned 60° left to 20° right"


def test_dots_lie_in_their_bands_and_on_the_drawing():
    found = plots(*(seen(str(n), yaw=yaw) for n, yaw in enumerate(range(-90, 91, 10))))["pose"]
    assert sorted(dot.x for dot in found.dots) == [dot.x for dot in found.dots]
    for dot in found.dots:
        assert DOT / 2 <= dot.x <= WIDTH - DOT / 2
        assert TOP <= dot.y <= AXIS
    for band, following in zip(found.bands, found.bands[1:], strict=False):
        assert band.end == following.begin


@pytest.mark.parametrize("count", [2, 7, 60, 500])
def test_equal_numbers_are_stacked_and_stay_on_the_drawing(count):
    heights = [dot.y for dot in plots(*(seen(str(n)) for n in range(count)))["pose"].dots]
    assert len(heights) == count
    assert len(set(heights)) > 1
    assert min(heights) >= TOP - 0.1
    assert max(heights) <= AXIS


def test_what_is_beyond_the_end_lies_at_the_end():
    found = plots(seen("a", sharp=900.0), seen("b", sharp=100.0))["sharpness"]
    assert found.dots[-1].x == WIDTH - 6
    assert found.bands[-1].count == 2


def test_left_out_photos_are_on_the_strip_of_what_they_missed():
    found = plots(seen("a"), seen("dark", DARK, luma=18.0, yaw=60))
    assert [(dot.kind, dot.words) for dot in found["light"].dots] == [
        ("kept", "a: 120"),
        ("left_out", "dark: 18"),
    ]
    assert [band.count for band in found["light"].bands] == [1, 0, 1, 0, 0]
    assert [dot.kind for dot in found["pose"].dots] == ["kept"]
    assert "in profile to the right" in found["pose"].gaps  # it is not in the set


def test_an_only_framing_is_no_gap_and_a_mixed_set_has_gaps():
    assert plots(seen("a"))["framing"].gaps == ()
    verdicts = [seen("a"), seen("b", side=800)]
    object.__setattr__(verdicts[1], "framing", Framing.CLOSE_UP)
    assert plots(*verdicts)["framing"].gaps == ("of the upper body",)


def test_face_size_needs_its_limits():
    assert "face" not in plots(seen("a"), scale=Scale())
    assert plots(seen("a", height=300.0))["face"].gaps == ("large enough for a full crop",)


def test_an_outlier_is_beyond_the_cut():
    chosen = Selection(
        "folder",
        10,
        (
            seen("a", distance=0.0),
            seen("b", distance=0.5, notes=(DOUBT,)),
            seen("c", STRANGER, distance=0.8),
            seen("dark", DARK, distance=0.2),
        ),
    )
    strip = identity_strip(chosen, SCALE)
    assert [dot.kind for dot in strip.dots] == ["kept", "doubted", "left_out"]
    (cut, label) = strip.ticks[0]
    assert label == "0.60"
    assert strip.dots[1].x < cut < strip.dots[2].x
    assert [band.count for band in strip.bands] == [2, 1]


def test_without_comparison_there_is_no_strip():
    assert identity_strip(Selection("folder", 10, (seen("a"),)), Scale()) is None
    assert identity_strip(Selection("folder", 10, (seen("a", distance=None),)), SCALE) is None
