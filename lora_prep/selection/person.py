"""Who the set is of: the person most photos show, or the one of a reference photo."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lora_prep.model import Finding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float64]  # (faces, dimensions)

__all__ = ["Identity", "Person", "distance", "find_person"]

RIVAL_SHARE = 0.70
"""A second person in this share of the first one's photos makes it unsure whose set it is."""

RIVAL_LEAST = 2
"""Photos a second person must be in: one stranger is a stranger."""

DOUBT_DEVIATIONS = 3.5
"""Deviations from the median beyond which a face is doubted (Iglewicz and Hoaglin, 1993)."""

NORMAL_MAD = 1.4826
"""Standard deviation over the median absolute deviation of normally spread numbers."""

LEAST_DEVIATION = 0.10
"""Of the cut: in a set of much the same pictures a profile must not be doubted."""

DOUBT_LEAST_PHOTOS = 5
"""Photos a set must have before its spread means anything."""

BLOCK = 64
"""Faces compared with all others at a time: 8,000 faces need 38 MB, with 512 at a time 185 MB."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How faces are told apart: the face pack's metric and cut, and a reference if there is one.

    reference: the embedding of the person to look for; None looks for the one most photos show.
    """

    metric: Literal["euclidean", "cosine"]
    cut: float
    reference: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Whose set it is, by the names of the photos.

    faces: which face of a photo is the person's, and its distance; strangers: the nearest face of
    photos in which the person is not, and its distance; doubted: photos whose face lies clearly
    outside the set's own spread, beyond `doubt`; rivals: photos of a second person, when there
    are nearly as many of them.
    """

    faces: Mapping[str, tuple[int, float]]
    strangers: Mapping[str, tuple[int, float]]
    doubted: frozenset[str] = frozenset()
    doubt: float = 0.0
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    name: str
    index: int


def find_person(findings: Sequence[Finding], identity: Identity) -> Person:
    """Return whose set this is: the densest cluster of faces, or the faces near the reference.

    The face with most others within the cut stands for the person, and distances are to it. Only
    faces with an embedding count, and of identical files one.
    """
    import numpy as np

    seen, counted, vectors = _collect(findings)
    if not seen:
        return Person({}, {})
    matrix = np.array(vectors, dtype=np.float64)
    rivals: tuple[str, ...] = ()
    if identity.reference is not None:
        centre = np.array(identity.reference, dtype=np.float64)
    else:
        centre, rivals = _densest(matrix, counted, seen, identity)
    distances = _distances(matrix, centre[None, :], identity.metric)[:, 0]
    nearest: dict[str, tuple[int, float]] = {}
    for face, distance in zip(seen, distances, strict=True):
        if face.name not in nearest or distance < nearest[face.name][1]:
            nearest[face.name] = (face.index, float(distance))
    faces = {name: near for name, near in nearest.items() if near[1] <= identity.cut}
    strangers = {name: near for name, near in nearest.items() if near[1] > identity.cut}
    doubt = _doubt([distance for _, distance in faces.values()], identity.cut)
    doubted = frozenset(name for name, (_, distance) in faces.items() if distance > doubt)
    return Person(faces, strangers, doubted, doubt, rivals)


def distance(one: Sequence[float], other: Sequence[float], metric: str) -> float:
    """Return how far two embeddings are apart in a face pack's metric."""
    if metric == "euclidean":
        return math.dist(one, other)
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return 1 - product / max(math.hypot(*one) * math.hypot(*other), sys.float_info.min)


def _collect(
    findings: Sequence[Finding],
) -> tuple[list[_Seen], list[bool], list[tuple[float, ...]]]:
    """Return every face with an embedding, whether it counts, and the embeddings."""
    # By content and not by name: who the person is must not depend on how files are called.
    ordered = sorted(
        (finding for finding in findings if finding.photo),
        key=lambda finding: (finding.photo.sha256 if finding.photo else "", finding.name),
    )
    seen, counted, vectors = [], [], []
    last = ""
    for finding in ordered:
        content = finding.photo.sha256 if finding.photo else ""
        for index, face in enumerate(finding.faces):
            if face.face.embedding:
                seen.append(_Seen(finding.name, index))
                counted.append(content != last)
                vectors.append(face.face.embedding)
        last = content
    return seen, counted, vectors


def _densest(
    matrix: Vectors, counted: Sequence[bool], seen: Sequence[_Seen], identity: Identity
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the face that most others are near to, and the photos of a second such person."""
    import numpy as np

    counts = np.array(counted)
    first, members = _densest_of(matrix, counts, identity)
    rest = counts & ~members
    rivals: tuple[str, ...] = ()
    if rest.any():
        _, others = _densest_of(matrix, rest, identity)
        second = _photos(seen, others & rest)
        if len(second) >= max(RIVAL_LEAST, RIVAL_SHARE * len(_photos(seen, members & counts))):
            rivals = tuple(sorted(second))
    return matrix[first], rivals


def _photos(seen: Sequence[_Seen], which: NDArray[np.bool_]) -> set[str]:
    return {face.name for face, one in zip(seen, which, strict=True) if one}


def _densest_of(
    matrix: Vectors, counts: NDArray[np.bool_], identity: Identity
) -> tuple[int, NDArray[np.bool_]]:
    """Return the index of the face with most counting ones within the cut, and which all those are.

    Of equals the one that is nearest to its neighbours.
    """
    import numpy as np

    others = matrix[counts]
    best = (0, 0.0, 0)
    for start in range(0, len(matrix), BLOCK):
        between = _distances(matrix[start : start + BLOCK], others, identity.metric)
        near = between <= identity.cut
        for row in range(len(between)):
            index = start + row
            number = int(near[row].sum())
            mean = float(between[row][near[row]].mean()) if number else 0.0
            if counts[index] and (number, -mean) > best[:2]:
                best = (number, -mean, index)
    index = best[2]
    members = _distances(matrix, matrix[index][None, :], identity.metric)[:, 0] <= identity.cut
    return index, np.asarray(members)


def _distances(one: Vectors, other: Vectors, metric: str) -> NDArray[np.float64]:
    """Return the distance of every vector of `one` to every one of `other`: (one, other)."""
    import numpy as np

    # Not by the linear algebra library: it starts threads, and which sums it forms depends on them.
    products = np.einsum("ik,jk->ij", one, other)
    if metric == "cosine":
        lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(other, axis=1)[None, :]
        return np.asarray(1 - products / np.maximum(lengths, np.finfo(float).tiny))
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * products
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _doubt(distances: Sequence[float], cut: float) -> float:
    """Return the distance beyond which a face lies clearly outside the set's own spread."""
    import numpy as np

    if len(distances) < DOUBT_LEAST_PHOTOS:
        return cut
    median = float(np.median(distances))
    spread = float(np.median(np.abs(np.array(distances) - median))) * NORMAL_MAD
    return min(cut, median + DOUBT_DEVIATIONS * max(spread, LEAST_DEVIATION * cut))
