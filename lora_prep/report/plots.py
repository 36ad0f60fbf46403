"""How a set is spread: one strip of dots for each thing that was measured, with its limits.

A dot is a photo; equal ones are stacked. A strip is cut into bands, each with how many photos lie
in it: a band without any is a gap. Only numbers are made here; the template draws them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lora_prep.framing import FRAMINGS
from lora_prep.inspection.thresholds import (
    LUMA_LEAST,
    LUMA_MOST,
    SHARPNESS_LEAST,
    SHARPNESS_SOFT,
    YAW_MOST_DEG,
)
from lora_prep.model import Decision, Framing, NoteCode, ReasonCode, Selection, Verdict
from lora_prep.report.drawing import Scale
from lora_prep.selection.variety import PROFILE_DEG, TURNED_DEG

__all__ = ["Band", "Dot", "Plot", "coverage", "identity_strip"]

WIDTH, TOP, AXIS = 340.0, 6.0, 66.0
"""Of a strip, in the units of its drawing: about a CSS pixel each on a phone."""

DOT = 8.0
"""Width of a dot; dots nearer to each other are stacked."""

EDGE = 6.0
"""What is left free at both ends, so that no dot is cut off."""

LUMA_THIRD = (LUMA_MOST - LUMA_LEAST) / 3
"""What is allowed, in three equal parts: dim, middle and bright."""

NARROW = math.sqrt(FRAMINGS[Framing.CLOSE_UP] * FRAMINGS[Framing.HEAD_AND_SHOULDERS])
WIDE = math.sqrt(FRAMINGS[Framing.HEAD_AND_SHOULDERS] * FRAMINGS[Framing.UPPER_BODY])
"""Halfway between two framings: sides of the square over the height of the face."""

SHARP_SHOWN = 220.0
"""Where the strip of sharpness ends; sharp photos measured 135 to 207."""

Kind = Literal["kept", "spare", "left_out", "doubted"]


@dataclass(frozen=True, slots=True)
class Dot:
    """One photo on a strip; words: its name and number."""

    x: float
    y: float
    kind: Kind
    words: str


@dataclass(frozen=True, slots=True)
class Band:
    """A part of a strip. label: "" where there is no room for one.

    count: of the set's photos in it; beyond a limit, of those that were left out for it. gap: the
    set lacks such photos.
    """

    begin: float
    end: float
    label: str
    count: int
    allowed: bool
    gap: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """One strip. words: its range in a sentence; gaps: bands in which the set has no photo.

    ticks: where two bands meet, and the number there.
    """

    code: str
    title: str
    words: str
    gaps: tuple[str, ...]
    bands: tuple[Band, ...]
    ticks: tuple[tuple[float, str], ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A band in the units of what is measured. gap: what is missing when it is empty."""

    end: float
    label: str
    allowed: bool = True
    gap: str = ""


@dataclass(frozen=True, slots=True)
class _Axis:
    """What is measured, from where to where, and what rules a photo out."""

    code: str
    title: str
    value: Callable[[Verdict], float | None]
    begin: float
    parts: tuple[_Part, ...]
    shown: Callable[[float], str]
    words: str
    against: frozenset[ReasonCode] = frozenset()
    logarithmic: bool = False


def coverage(selection: Selection, scale: Scale) -> tuple[Plot, ...]:
    """Return the strips of pose, framing, light, sharpness and face size; () without a set.

    Photos that are left out are drawn on the strip of the limit that they missed.
    """
    if not any(verdict.measures for verdict in selection.usable):
        return ()
    axes = [_pose(), _light(), _sharpness(), *_face_size(selection, scale)]
    if any(verdict.crop for verdict in selection.usable):
        axes.insert(1, _framing(selection))
    return tuple(_plot(axis, selection) for axis in axes)


def identity_strip(selection: Selection, scale: Scale) -> Plot | None:
    """Return the distances to the person, with the cut; None where nobody was compared."""
    distances = [one.identity_distance for one in selection.verdicts if one.identity_distance]
    cut = scale.identity_cut
    if not distances or cut is None:
        return None
    axis = _Axis(
        "distance",
        "One person",
        lambda verdict: verdict.identity_distance,
        0.0,
        (
            _Part(cut, "this person"),
            _Part(max(1.6 * cut, 1.05 * max(distances)), "somebody else", allowed=False),
        ),
        lambda value: f"{value:.2f}",
        "faces are {} to {} from the one that stands for the person",
        frozenset({ReasonCode.OTHER_PERSON}),
    )
    return _plot(axis, selection)


# ── what is measured ───────────────────────────────────────────────────────────────────────────


def _pose() -> _Axis:
    return _Axis(
        "pose",
        "Pose",
        lambda verdict: verdict.measures.yaw_deg if verdict.measures else None,
        -90.0,
        (
            _Part(-YAW_MOST_DEG, "", allowed=False),
            _Part(-PROFILE_DEG, "← profile", gap="in profile to the left"),
            _Part(-TURNED_DEG, "turned", gap="turned to the left"),
            _Part(TURNED_DEG, "straight", gap="looking straight at the camera"),
            _Part(PROFILE_DEG, "turned", gap="turned to the right"),
            _Part(YAW_MOST_DEG, "profile →", gap="in profile to the right"),
            _Part(90.0, "", allowed=False),
        ),
        lambda value: f"{abs(value):.0f}° {'right' if value > 0 else 'left'}",
        "the head is turned {} to {}",
        frozenset({ReasonCode.EXTREME_POSE}),
    )


def _framing(selection: Selection) -> _Axis:
    mixed = len({verdict.framing for verdict in selection.usable}) > 1
    return _Axis(
        "framing",
        "Framing",
        lambda verdict: (
            verdict.face.box.height / verdict.crop.width if verdict.face and verdict.crop else None
        ),
        0.2,
        (
            _Part(1 / WIDE, "upper body", gap="of the upper body" if mixed else ""),
            _Part(1 / NARROW, "head and shoulders", gap="head and shoulders" if mixed else ""),
            _Part(0.8, "close-up", gap="close up" if mixed else ""),
        ),
        lambda value: f"{100 * value:.0f} %",
        "the face fills {} to {} of the crop's height",
        logarithmic=True,
    )


def _light() -> _Axis:
    return _Axis(
        "light",
        "Light",
        lambda verdict: verdict.measures.luma_median if verdict.measures else None,
        0.0,
        (
            _Part(LUMA_LEAST, "too dark", allowed=False),
            _Part(LUMA_LEAST + LUMA_THIRD, "dim", gap="in dim light"),
            _Part(LUMA_MOST - LUMA_THIRD, "middle", gap="in middling light"),
            _Part(LUMA_MOST, "bright", gap="in bright light"),
            _Part(255.0, "", allowed=False),
        ),
        lambda value: f"{value:.0f}",
        "the median grey of the face is {} to {} of 255",
        frozenset({ReasonCode.TOO_DARK, ReasonCode.TOO_BRIGHT}),
    )


def _sharpness() -> _Axis:
    return _Axis(
        "sharpness",
        "Sharpness",
        lambda verdict: verdict.measures.sharpness if verdict.measures else None,
        0.0,
        (
            _Part(SHARPNESS_LEAST, "blurred", allowed=False),
            _Part(SHARPNESS_SOFT, "soft"),
            _Part(SHARP_SHOWN, "sharp", gap="really sharp"),
        ),
        lambda value: f"{value:.0f}",
        "detail of the face, {} to {}",
        frozenset({ReasonCode.BLURRED}),
    )


def _face_size(selection: Selection, scale: Scale) -> list[_Axis]:
    heights = [verdict.face.box.height for verdict in selection.verdicts if verdict.face]
    least, full = scale.min_face_px, scale.full_face_px
    if not heights or not least or not full or least >= full:
        return []
    return [
        _Axis(
            "face",
            "Face size",
            lambda verdict: verdict.face.box.height if verdict.face else None,
            least / 2.5,
            (
                _Part(float(least), "too small", allowed=False),
                _Part(float(full), "smaller crop"),
                _Part(
                    max(2.5 * full, 1.1 * max(heights)),
                    "full crop",
                    gap="large enough for a full crop",
                ),
            ),
            lambda value: f"{value:.0f} px",
            "the face is {} to {} high",
            frozenset({ReasonCode.FACE_TOO_SMALL}),
            logarithmic=True,
        )
    ]


# ── how it is drawn ────────────────────────────────────────────────────────────────────────────


def _plot(axis: _Axis, selection: Selection) -> Plot:
    values = _values(selection.kept or selection.usable, axis)
    missed = _values([one for one in selection.verdicts if _missed(one, axis)], axis)
    bands, ticks, gaps, begin = [], [], [], -math.inf
    for part in axis.parts:
        last = part is axis.parts[-1]
        end = math.inf if last else part.end
        count = sum(begin <= value < end for value in (values if part.allowed else missed))
        gap = bool(part.gap and values and not count)
        left, right = _place(max(begin, axis.begin), axis), _place(part.end, axis)
        bands.append(Band(left, right, part.label, count, part.allowed, gap))
        if gap:
            gaps.append(part.gap)
        if not last:
            ticks.append((right, axis.shown(part.end).split()[0]))  # the number without its unit
        begin = part.end
    return Plot(
        axis.code,
        axis.title,
        axis.words.format(*(axis.shown(one) for one in (min(values), max(values))))
        if values
        else "not measured",
        tuple(gaps),
        tuple(bands),
        tuple(ticks),
        tuple(_stacked([dot for one in selection.verdicts if (dot := _dot(one, axis))])),
    )


def _values(verdicts: Sequence[Verdict], axis: _Axis) -> list[float]:
    return [value for one in verdicts if (value := axis.value(one)) is not None]


def _missed(verdict: Verdict, axis: _Axis) -> bool:
    """Whether a photo was left out for what this axis measures."""
    return verdict.decision is Decision.LEFT_OUT and any(
        reason.code in axis.against for reason in verdict.reasons
    )


def _dot(verdict: Verdict, axis: _Axis) -> Dot | None:
    value = axis.value(verdict)
    left_out = verdict.decision is Decision.LEFT_OUT
    if value is None or (left_out and not _missed(verdict, axis)):
        return None
    doubted = any(note.code is NoteCode.IDENTITY_DOUBTED for note in verdict.notes)
    kind: Kind = (
        "left_out" if left_out else "kept" if verdict.decision is Decision.KEPT else "spare"
    )
    if doubted and not left_out and axis.code == "distance":
        kind = "doubted"
    return Dot(_place(value, axis), 0.0, kind, f"{verdict.name}: {axis.shown(value)}")


def _place(value: float, axis: _Axis) -> float:
    """Return where a value lies on its strip; what is beyond an end lies at that end."""
    begin, end = axis.begin, axis.parts[-1].end
    value = min(max(value, begin), end)
    if axis.logarithmic:
        value, begin, end = math.log(value), math.log(begin), math.log(end)
    return round(EDGE + (WIDTH - 2 * EDGE) * (value - begin) / (end - begin), 1)


def _stacked(dots: Sequence[Dot]) -> list[Dot]:
    """Return the dots with those at one place above each other, closer where there are many."""
    heights: Counter[int] = Counter()
    levels = []
    for dot in sorted(dots, key=lambda dot: (dot.kind == "left_out", dot.x)):
        column = round(dot.x / DOT)
        levels.append((dot, heights[column]))
        heights[column] += 1
    step = min(DOT, (AXIS - TOP - DOT) / max(1, max(heights.values(), default=1) - 1))
    return [replace(dot, y=round(AXIS - DOT * 0.75 - level * step, 1)) for dot, level in levels]
