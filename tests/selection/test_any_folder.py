"""Verdicts that add up and do not depend on order or names, for any folder one can think of."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.model import (
    Decision,
    Finding,
    Framing,
    JudgedFace,
    Selection,
    Verdict,
)
from lora_prep.selection import Override, Wanted, select_photos
from tests.sample import IDENTITY, a_finding, a_fingerprint, examples
from tests.selection.people import (
    BLURRED,
    BROKEN,
    DARK,
    NO_FACE,
    face_of,
    renamed,
    with_bits,
)

pytestmark = pytest.mark.slow  # many folders are selected

FOLDER = Path("/photos")
NOON = datetime(2026, 5, 1, 12, 0, 0)  # noqa: DTZ001  what a camera says has no zone


def codes(verdict: Verdict) -> list[str]:
    return [reason.code.value for reason in verdict.reasons]


FACES = st.builds(
    lambda who, which, height, reason, x: face_of(who, which, height, *reason, x=x),
    st.integers(0, 2),
    st.integers(0, 4),
    st.sampled_from([240.0, 300.4, 420.0, 900.0]),
    st.sampled_from([(), (), (), (), (BLURRED,), (DARK, BLURRED)]),
    st.sampled_from([0.0, 300.0, 900.0]),
)


@st.composite
def photos(draw: st.DrawFn, name: str) -> Finding:
    """A photo with up to two faces; some are copies, broken, of one burst or much alike."""
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return Finding(name, None, (), (BROKEN,))
    if kind == 1:
        return a_finding(name, NO_FACE, faces=())
    faces: list[JudgedFace] = draw(st.lists(FACES, min_size=1, max_size=2))
    faces.sort(key=lambda face: -face.face.box.height)
    look = a_fingerprint(draw(st.sampled_from([name, name, "one", "two"])))
    return a_finding(
        name,
        faces=tuple(faces),
        sha256=draw(st.sampled_from([None, None, None, "5" * 64])),
        size=draw(st.sampled_from([(1200, 1600), (2400, 1800), (3000, 4000), (530, 700)])),
        taken_at=draw(st.none() | st.integers(0, 5).map(lambda s: NOON + timedelta(seconds=s))),
        fingerprint=replace(
            look,
            pixels_sha256=a_fingerprint(name).pixels_sha256,
            phash=with_bits(look.phash, draw(st.integers(0, 14)), seed=name),
        ),
    )


@st.composite
def folders(draw: st.DrawFn) -> list[Finding]:
    findings = [draw(photos(f"{number}.jpg")) for number in range(draw(st.integers(0, 12)))]
    # Files of one hash are one picture.
    same = [one for one in findings if one.photo and one.photo.sha256 == "5" * 64]
    return [
        replace(
            same[0],
            name=one.name,
            photo=same[0].photo and replace(same[0].photo, name=one.name),
        )
        if same and one.photo and one.photo.sha256 == "5" * 64
        else one
        for one in findings
    ]


@st.composite
def wishes(draw: st.DrawFn) -> Wanted:
    needed = draw(st.integers(1, 6))
    decided = st.sampled_from([Override("keep"), Override("leave_out")])
    hashes = [a_finding(f"{number}.jpg").photo for number in range(12)]
    return Wanted(
        needed,
        needed + draw(st.integers(0, 6)),
        draw(st.sampled_from(list(Framing))),
        identity=draw(st.sampled_from([IDENTITY, IDENTITY, None])),
        overrides={
            photo.sha256: draw(decided)
            for photo in hashes
            if photo and draw(st.integers(0, 7)) == 0
        },
    )


@examples(70)
@hypothesis.given(folders(), wishes())
def test_every_folder_gets_verdicts_that_add_up(findings: list[Finding], wanted: Wanted) -> None:
    selection = select_photos(FOLDER, findings, wanted)

    # One verdict for each finding, in the order of the findings.
    assert [verdict.name for verdict in selection.verdicts] == [one.name for one in findings]
    assert sum(len(selection.having(decision)) for decision in Decision) == len(findings)

    # Kept only when there are enough photos of one person, and then as many as fit.
    usable = len(selection.usable)
    enough = usable >= wanted.needed and not selection.rivals
    assert len(selection.kept) == (min(usable, wanted.at_most) if enough else 0)

    # Each picture is counted once.
    files = [verdict.photo.sha256 for verdict in selection.usable if verdict.photo]
    assert len(files) == len(set(files)) == usable

    # Whatever is left out says why; what is kept has nothing against it and is not enlarged.
    assert all(verdict.reasons for verdict in selection.having(Decision.LEFT_OUT))
    for verdict in selection.kept:
        assert verdict.reasons == ()
        assert verdict.face is not None
        assert verdict.photo is not None
        assert verdict.crop is not None
        assert verdict.framing in set(Framing) - {Framing.MIXED}
        assert verdict.crop.width >= wanted.min_size_px
        assert verdict.crop.x + verdict.crop.width <= verdict.photo.width_px
        assert verdict.crop.y + verdict.crop.width <= verdict.photo.height_px
    for verdict in selection.having(Decision.SPARE):
        assert codes(verdict) == (["not_chosen"] if enough else [])

    # What was decided by hand is done, and nobody else is let in.
    for verdict in selection.verdicts:
        decided = wanted.overrides.get(verdict.photo.sha256) if verdict.photo else None
        if decided and decided.verdict == "leave_out":
            assert verdict.decision is Decision.LEFT_OUT
        if wanted.identity and verdict.decision is Decision.KEPT and not decided:
            assert verdict.identity_distance is not None
            assert verdict.identity_distance <= IDENTITY.cut


@examples(50)
@hypothesis.given(folders(), wishes(), st.randoms(use_true_random=False))
def test_neither_order_nor_names_change_a_verdict(
    findings: list[Finding], wanted: Wanted, shuffler: random.Random
) -> None:
    selection = select_photos(FOLDER, findings, wanted)

    shuffled = list(findings)
    shuffler.shuffle(shuffled)
    again = select_photos(FOLDER, shuffled, wanted)
    assert {one.name: one for one in again.verdicts} == {
        one.name: one for one in selection.verdicts
    }
    assert again.advice == selection.advice
    assert again.rivals == selection.rivals

    names = [f"holiday {number}" for number in range(len(findings))]
    shuffler.shuffle(names)
    other = select_photos(FOLDER, renamed(findings, names), wanted)

    def kept(selection: Selection) -> set[tuple[str, object, object]]:
        return {
            (verdict.photo.sha256, verdict.framing, verdict.crop)
            for verdict in selection.kept
            if verdict.photo
        }

    assert kept(other) == kept(selection)
    assert len(other.usable) == len(selection.usable)
    assert other.advice == selection.advice
