"""Invented people: embeddings that lie as far apart as those of the open pack do."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lora_prep.inspection import SHARPNESS_SOFT
from lora_prep.model import Finding, Framing, JudgedFace, Reason, ReasonCode
from lora_prep.selection.candidates import Candidate, possible_crops, quality_of
from tests.sample import a_finding, a_fingerprint, a_judged_face

Embedding = tuple[float, ...]

NO_FACE = Reason(ReasonCode.NO_FACE, "No face was found in it.", 0, 1, "faces")
BLURRED = Reason(ReasonCode.BLURRED, "The face is blurred.", 12.0, 40.0, "sharpness")
DARK = Reason(ReasonCode.TOO_DARK, "The face is too dark.", 18, 35.0, "luma median")
BROKEN = Reason(ReasonCode.UNREADABLE, "The file is damaged.")

assert SHARPNESS_SOFT < 120  # of a_judged_face: no invented photo is soft unless it is meant to be


def embedding(person: int, photo: int = 0, away: float = 0.2) -> Embedding:
    """The face of a person in a photo, `away` from that person's middle.

    Two photos of one person are away x 1.41 apart, two people at least 0.99.
    """
    vector = [0.0] * 128
    vector[person] = 0.7
    vector[8 + photo % 120] = away
    return tuple(vector)


def at_distance(distance: float, person: int = 0) -> Embedding:
    """A face this far from the middle of a person."""
    vector = list(embedding(person, away=0.0))
    vector[127] = distance
    return tuple(vector)


def face_of(
    person: int,
    photo: int = 0,
    height: float = 400.0,
    *reasons: Reason,
    x: float = 300.0,
    away: float = 0.2,
) -> JudgedFace:
    seen = () if reasons else embedding(person, photo, away)
    phash = a_fingerprint(f"face of {person} in {photo}").phash
    return a_judged_face(height, *reasons, x=x, phash=phash, embedding=seen)


def photo_of(person: int, photo: int, name: str | None = None) -> Finding:
    """One photo of one person."""
    name = name or f"{person}_{photo:02d}.jpg"
    return a_finding(name, faces=(face_of(person, photo),))


def photos_of(person: int, count: int) -> list[Finding]:
    return [photo_of(person, photo) for photo in range(count)]


def renamed(findings: Sequence[Finding], names: Sequence[str]) -> list[Finding]:
    """The same photos under other names."""
    return [
        replace(finding, name=name, photo=finding.photo and replace(finding.photo, name=name))
        for finding, name in zip(findings, names, strict=True)
    ]


def turned(angle: float) -> Embedding:
    """A unit vector, for cosine packs."""
    return (math.cos(angle), math.sin(angle), *([0.0] * 126))


def random_person(seed: int, count: int, spread: float = 0.2) -> list[Embedding]:
    random = np.random.default_rng(seed)
    middle = random.normal(size=128)
    middle *= 1.4 / np.linalg.norm(middle)
    off = random.normal(size=(count, 128))
    off *= spread / np.linalg.norm(off, axis=1)[:, None]
    return [tuple(map(float, row)) for row in middle + off]


def with_bits(phash: int, count: int, seed: str = "") -> int:
    """The hash with `count` of its bits flipped."""
    order = sorted(range(64), key=lambda bit: hashlib.sha256(f"{seed}{bit}".encode()).digest())
    for bit in order[:count]:
        phash ^= 1 << bit
    return phash


def candidate(
    finding: Finding, *, by_hand: bool = False, framing: Framing | None = None
) -> Candidate:
    """The photo as selection sees it once nothing speaks against it."""
    assert finding.photo
    assert finding.fingerprint
    face = finding.faces[0]
    crops, reasons = possible_crops(
        finding.photo, finding.faces, 0, framing or Framing.HEAD_AND_SHOULDERS, 512
    )
    assert not reasons
    return Candidate(
        finding, finding.photo, finding.fingerprint, face, crops, quality_of(face), by_hand=by_hand
    )
