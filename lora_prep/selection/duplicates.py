"""The same picture twice: the best stays, the others name it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_prep.model import NoteCode, Reason, ReasonCode
from lora_prep.selection.candidates import Candidate
from lora_prep.selection.person import Identity, distance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Singled", "echoes", "single_out"]

NEAR_BITS = 6
"""Of 64 bits of pHash: two pictures that differ in no more are one. Copies of a sample photo at
half the size and JPEG quality 70 differ in 2, different photos of one person in 16 and more."""

SIMILAR_BITS = 10
"""Up to here the report says that two are alike; as a limit it took 24 innocent pairs in 100."""

BURST_S = 3.0
"""Seconds between two photos of one burst."""

BURST_BITS = 14
"""Of 64 bits: within a burst hands and heads move."""

EQUAL_QUALITY = 0.05
"""Quality that says nothing between copies: grey, re-saved and shrunk ones of the sample photos
measure up to 0.03 above their originals."""

ALL_BITS = 64
BLOCK = 64  # photos compared with all others at a time
AGAINST = frozenset({ReasonCode.DUPLICATE, ReasonCode.NEAR_DUPLICATE})

SAME_MOMENT = 0.3
"""Share of the pack's cut: faces this near show one moment. One person in different photos is 0.22
apart and more (of 0.6), crops and copies of one photo 0.1 and less. The pHash of the face alone is
not enough: two photos with one expression differ in 6 bits."""


@dataclass(frozen=True, slots=True)
class Singled:
    """What stays, and for every other photo why it goes; similar: notes on what stays."""

    stay: tuple[Candidate, ...]
    copies: tuple[tuple[Candidate, Reason], ...]
    similar: dict[str, Reason]


def single_out(candidates: Sequence[Candidate], identity: Identity | None) -> Singled:
    """Leave one of each picture: the best, and of equally good ones the one that lost least.

    Without `identity` no embeddings are compared.
    """
    near = _near(candidates)
    groups: list[list[Candidate]] = []
    heads: dict[str, int] = {}  # the number of a group, by the name of its first photo
    for candidate in sorted(candidates, key=lambda one: one.rank):
        possible = sorted(heads[name] for name in near[candidate.name] if name in heads)
        of_one = (
            groups[number]
            for number in possible
            if _is_copy(candidate, groups[number][0], identity)
        )
        if group := next(of_one, None):
            group.append(candidate)
        else:
            heads[candidate.name] = len(groups)
            groups.append([candidate])
    stay = [group[0] for group in groups]
    for number, group in enumerate(groups):
        if len(group) > 1:
            others = (*stay[:number], *stay[number + 1 :])
            around = set().union(*(near[one.name] for one in group))
            stay[number] = _truest(group, [one for one in others if one.name in around], identity)
    copies = [
        (candidate, reason)
        for group, better in zip(groups, stay, strict=True)
        for candidate in group
        if candidate is not better and (reason := _likeness(candidate, better, identity))
    ]
    stay.sort(key=lambda one: one.rank)
    similar: dict[str, Reason] = {}
    places = {one.name: place for place, one in enumerate(stay)}
    for place, one in enumerate(stay):
        before = sorted(places[name] for name in near[one.name] if places.get(name, place) < place)
        likeness = (_likeness(one, stay[better], identity) for better in before)
        if note := next(filter(None, likeness), None):
            similar[one.name] = note
    return Singled(tuple(stay), tuple(copies), similar)


def echoes(
    faulty: Sequence[Candidate], stay: Sequence[Candidate], identity: Identity | None
) -> dict[str, Reason]:
    """Return which of these only repeat one that stays, or a better one of their own, by name."""
    known, found = list(stay), dict[str, Reason]()
    for one in sorted(faulty, key=lambda one: one.rank):
        likeness = (_likeness(one, better, identity) for better in known)
        against = (reason for reason in likeness if reason and reason.code in AGAINST)
        if reason := next(against, None):
            found[one.name] = reason
        else:
            known.append(one)
    return found


def _near(candidates: Sequence[Candidate]) -> dict[str, set[str]]:
    """Return, for each photo, those that may be like it at all, by name: few of many.

    Every pair of 500 photos costs 150 ms one by one, and 5 ms this way; a block of rows at a time
    keeps a folder of thousands small.
    """
    import numpy as np

    names = [one.name for one in candidates]
    near: dict[str, set[str]] = {name: set() for name in names}
    whole = np.array([one.fingerprint.phash for one in candidates], np.uint64)
    faces = np.array([one.face.phash or 0 for one in candidates], np.uint64)
    files = _numbered([one.photo.sha256 for one in candidates])
    pixels = _numbered([one.fingerprint.pixels_sha256 for one in candidates])
    for first in range(0, len(names), BLOCK):
        rows = slice(first, first + BLOCK)
        alike = np.bitwise_count(whole[rows, None] ^ whole) <= BURST_BITS
        alike |= np.bitwise_count(faces[rows, None] ^ faces) <= SIMILAR_BITS
        alike |= (files[rows, None] == files) | (pixels[rows, None] == pixels)
        for row, column in np.argwhere(alike).tolist():
            if first + row != column:
                near[names[first + row]].add(names[column])
    return near


def _numbered(hashes: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each hash, the same for the same ones: (hashes,)."""
    import numpy as np

    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in hashes], np.int64)


def _truest(
    group: Sequence[Candidate], others: Sequence[Candidate], identity: Identity | None
) -> Candidate:
    """Return which of a group of copies, the best first, stays: the original, if it can be told.

    It must be like all of the group and like none of the `others` that stay.
    """
    best, *rest = group
    equals = [
        one
        for one in rest
        if one.by_hand == best.by_hand
        and one.quality >= best.quality - EQUAL_QUALITY
        and all(_is_copy(other, one, identity) for other in group if other is not one)
        and not any(_is_copy(one, other, identity) for other in others)
    ]
    return max([best, *equals], key=lambda one: one.fidelity)


def _is_copy(one: Candidate, better: Candidate, identity: Identity | None) -> bool:
    reason = _likeness(one, better, identity)
    return reason is not None and reason.code in AGAINST


def _likeness(one: Candidate, better: Candidate, identity: Identity | None) -> Reason | None:
    """Return why `one` is the same picture as `better`, or a note that it is much like it."""
    name = better.name
    if one.photo.sha256 == better.photo.sha256:
        return Reason(ReasonCode.DUPLICATE, f"The same file as {name}.", of=name)
    if one.fingerprint.pixels_sha256 == better.fingerprint.pixels_sha256:
        return Reason(ReasonCode.DUPLICATE, f"The same picture as {name}, saved again.", of=name)
    bits = (one.fingerprint.phash ^ better.fingerprint.phash).bit_count()
    if bits > NEAR_BITS and identity:
        bits = min(bits, _face_bits(one, better, identity))
    if bits <= NEAR_BITS and not one.by_hand:
        hint = f"Nearly the same picture as {name}."
        return Reason(ReasonCode.NEAR_DUPLICATE, hint, bits, NEAR_BITS, "bits of 64", name)
    if bits <= BURST_BITS and not one.by_hand and (seconds := _seconds(one, better)) <= BURST_S:
        hint = f"From one burst with {name}, {seconds:.0f} s apart."
        return Reason(ReasonCode.NEAR_DUPLICATE, hint, bits, BURST_BITS, "bits of 64", name)
    if bits <= SIMILAR_BITS:
        hint = f"Much like {name}; another situation would teach more."
        return Reason(NoteCode.SIMILAR, hint, bits, SIMILAR_BITS, "bits of 64", name)
    return None


def _face_bits(one: Candidate, other: Candidate, identity: Identity) -> int:
    """Return by how many bits the faces differ, if both show one moment; else all of them."""
    if one.face.phash is None or other.face.phash is None:
        return ALL_BITS
    bits = (one.face.phash ^ other.face.phash).bit_count()
    vectors = one.face.face.embedding, other.face.face.embedding
    if bits > SIMILAR_BITS or not all(vectors):
        return ALL_BITS
    return bits if distance(*vectors, identity.metric) <= SAME_MOMENT * identity.cut else ALL_BITS


def _seconds(one: Candidate, other: Candidate) -> float:
    if not one.photo.taken_at or not other.photo.taken_at:
        return math.inf
    return abs((one.photo.taken_at - other.photo.taken_at).total_seconds())
