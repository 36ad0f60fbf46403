"""Thousands of faces: compared block by block, with the answer of one comparison of all."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from lora_prep.model import Finding
from lora_prep.selection import Identity
from lora_prep.selection import person as rules
from lora_prep.selection.person import Person, find_person
from tests.sample import IDENTITY, a_finding, a_judged_face
from tests.selection.people import (
    Embedding,
    random_person,
)

pytestmark = pytest.mark.slow  # thousands of faces


def find(findings: Sequence[Finding], identity: Identity = IDENTITY) -> Person:
    return find_person(findings, identity)


def showing(name: str, *embeddings: Embedding) -> Finding:
    """A photo with these faces, the first the largest."""
    faces = tuple(
        a_judged_face(400.0 - 10 * number, x=300.0 * number, embedding=vector)
        for number, vector in enumerate(embeddings)
    )
    return a_finding(name, faces=faces)


def many(count: int) -> list[Finding]:
    """Half of them one person, a quarter another, a quarter strangers."""
    rows = [*random_person(1, count // 2, 0.25), *random_person(2, count // 4, 0.25)]
    rows += [random_person(100 + number, 1)[0] for number in range(count - len(rows))]
    return [showing(f"{number:05d}.jpg", row) for number, row in enumerate(rows)]


def test_blocks_give_what_one_comparison_of_all_with_all_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings = many(300)
    found = find(findings)

    vectors = np.array([finding.faces[0].face.embedding for finding in findings])
    apart = np.linalg.norm(vectors[:, None, :] - vectors[None, :, :], axis=2)
    near = apart <= 0.6
    most = near.sum(axis=1)
    centre = max(range(300), key=lambda one: (most[one], -float(apart[one][near[one]].mean())))
    assert set(found.faces) == {findings[one].name for one in np.flatnonzero(near[centre])}
    assert found.faces[findings[centre].name][1] < 1e-6
    for name, (_, away) in {**found.faces, **found.strangers}.items():
        assert away == pytest.approx(apart[centre][int(name[:5])], abs=1e-6)

    monkeypatch.setattr(rules, "BLOCK", 7)
    again = find(findings)
    assert set(again.faces) == set(found.faces)
    assert again.rivals == found.rivals


def test_memory_does_not_grow_with_the_square_of_the_faces() -> None:
    findings = many(1600)
    tracemalloc.start()
    found = find(findings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found.faces) == 800
    # All with all would be 20 MB for the distances alone; a block of 64 is 1 MB.
    assert peak < 12e6
