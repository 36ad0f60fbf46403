"""The best and most varied of many: a training set must show a person in many situations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from lora_prep.framing import FRAMINGS
from lora_prep.model import Framing
from lora_prep.selection.candidates import Candidate
from lora_prep.selection.person import Identity, distance

__all__ = ["advise", "choose", "frame"]

YAW_UNIT_DEG = 45.0
"""A turn of the head that counts as much as one unit of any other difference."""

FRAMING_UNIT = 1.0
"""The same for the share of the picture the face fills, in powers of two."""

LOOK_UNIT = 0.25
"""The same for colours: root mean square over the 4 x 4 grid. Different photos measure about that,
photos of one session half of it and less."""

MIXED_SHARES = {Framing.UPPER_BODY: 0.20, Framing.CLOSE_UP: 0.40}
"""Shares of a mixed set; the rest are head-and-shoulders."""

RECOMMENDED = 15
"""Pictures from which guides call a set good; 10 is what the trainer asks for."""

PROFILE_DEG, TURNED_DEG = 40.0, 15.0
ROOMY = 0.75  # of the wanted square
ONE_SESSION = timedelta(hours=3)
ONE_LOOK = LOOK_UNIT / 2


def choose(
    candidates: Sequence[Candidate], at_most: int, identity: Identity | None
) -> tuple[Candidate, ...]:
    """Return at most `at_most` photos: the best one, then always the best among the most different.

    Farthest-point choice (Gonzalez, 1985) with the distance weighted by quality; what is kept by
    hand comes first. The same photos give the same choice, in whatever order they come; when all
    are taken, they come by their rank.
    """
    left = sorted(candidates, key=lambda one: one.rank)
    if len(left) <= at_most:
        return tuple(left)
    chosen: list[Candidate] = []
    nearest = [math.inf] * len(left)
    traits = [_traits_of(one) for one in left]
    last: _Traits | None = None
    while left and len(chosen) < at_most:
        if last:
            nearest = [
                min(near, _difference(one, last, identity))
                for near, one in zip(nearest, traits, strict=True)
            ]
        # max() takes the first of equals, and `left` is in the order of rank.
        index = max(
            range(len(left)),
            key=lambda index: (left[index].by_hand, left[index].quality * nearest[index]),
        )
        chosen.append(left.pop(index))
        nearest.pop(index)
        last = traits.pop(index)
    return tuple(chosen)


def frame(chosen: Sequence[Candidate], framing: Framing) -> dict[str, Framing]:
    """Return the framing of every photo, by name; a mixed set is shared out 40/40/20.

    Upper bodies are cut from the photos with most room around the face, close-ups from those with
    the largest faces; a photo that allows only one framing gets it.
    """
    if framing is not Framing.MIXED:
        return {one.name: framing for one in chosen}
    framings: dict[str, Framing] = {}
    left = list(chosen)
    for wanted, share in MIXED_SHARES.items():
        number = round(share * len(chosen))
        able = [one for one in left if wanted in one.crops]
        forced = {one.name for one in able if len(one.crops) == 1}
        able.sort(key=lambda one: (one.name not in forced, -_aptness(one, wanted), one.rank))
        for one in able[: max(number, len(forced))]:
            framings[one.name] = wanted
        left = [one for one in left if one.name not in framings]
    for one in left:
        fallback = next(iter(sorted(one.crops, key=lambda each: FRAMINGS[each])))
        usual = Framing.HEAD_AND_SHOULDERS
        framings[one.name] = usual if usual in one.crops else fallback
    return framings


def advise(
    kept: Sequence[Candidate], framings: dict[str, Framing], wanted: Framing
) -> tuple[str, ...]:
    """Return what a set lacks, in whole sentences, the weightiest first."""
    if not kept:
        return ()
    advice = []
    if len(kept) < RECOMMENDED:
        advice.append(f"{len(kept)} photos are few: {RECOMMENDED} or more teach a face better.")
    turns = [abs(one.face.measures.yaw_deg) for one in kept if one.face.measures]
    if turns and max(turns) < TURNED_DEG:
        advice.append("Every photo looks straight at the camera: add some turned to the side.")
    elif turns and max(turns) < PROFILE_DEG:
        advice.append("No photo shows the face from the side: add a profile or two.")
    times = sorted(one.photo.taken_at for one in kept if one.photo.taken_at)
    if len(times) == len(kept) > 1 and times[-1] - times[0] <= ONE_SESSION:
        advice.append("All photos are from one session: add other days, clothes and light.")
    elif len(kept) > 1 and _median_look(kept) < ONE_LOOK:
        advice.append("All photos have nearly the same colours: add other places, clothes, light.")
    tight = sum(_narrowed(one, framings[one.name]) for one in kept)
    if tight > len(kept) / 2:
        advice.append(
            f"{tight} photos have less room around the face than {wanted.value} asks for."
        )
    return tuple(advice)


def doubtful(candidate: Candidate) -> Candidate:
    """Return the candidate with half its quality: it is chosen when nothing better is left."""
    return replace(candidate, quality=candidate.quality / 2)


def _narrowed(one: Candidate, framing: Framing) -> bool:
    """Return whether the picture ends well before the square of the framing does."""
    return one.crops[framing].width < ROOMY * FRAMINGS[framing] * one.face.face.box.height


def _aptness(one: Candidate, framing: Framing) -> float:
    height = one.face.face.box.height
    if framing is Framing.CLOSE_UP:
        return height
    return min(one.photo.width_px, one.photo.height_px) / height


class _Traits(NamedTuple):
    """What tells a photo from others. yaw_deg: None where it was not measured."""

    look: tuple[float, ...]
    yaw_deg: float | None
    share: float
    embedding: tuple[float, ...]


def _traits_of(one: Candidate) -> _Traits:
    yaw_deg = one.face.measures.yaw_deg if one.face.measures else None
    return _Traits(one.fingerprint.look, yaw_deg, _share(one), one.face.face.embedding)


def _difference(one: _Traits, other: _Traits, identity: Identity | None) -> float:
    """Return how different two photos are, in units of pose, framing, look and embedding."""
    parts = [_look_difference(one.look, other.look) / LOOK_UNIT]
    if one.yaw_deg is not None and other.yaw_deg is not None:
        parts.append((one.yaw_deg - other.yaw_deg) / YAW_UNIT_DEG)
    parts.append((one.share - other.share) / FRAMING_UNIT)
    if identity and one.embedding and other.embedding:
        parts.append(distance(one.embedding, other.embedding, identity.metric) / identity.cut)
    return math.hypot(*parts)


def _share(one: Candidate) -> float:
    """Return the share of the picture's shorter side the face fills, as a power of two."""
    height = max(1.0, one.face.face.box.height)
    return math.log2(height / max(1, min(one.photo.width_px, one.photo.height_px)))


def _look_difference(one: Sequence[float], other: Sequence[float]) -> float:
    return math.dist(one, other) / math.sqrt(max(1, len(one)))


def _median_look(kept: Sequence[Candidate]) -> float:
    differences = sorted(
        _look_difference(one.fingerprint.look, other.fingerprint.look)
        for number, one in enumerate(kept)
        for other in kept[:number]
    )
    return differences[len(differences) // 2]
