"""Which photos make the set, for any folder one can think of."""

from __future__ import annotations

import random
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.errors import DatasetTooSmall
from lora_prep.model import Decision, Finding, Reason, ReasonCode, Selection, Verdict
from lora_prep.selection import require_enough, select_photos
from tests.sample import a_finding, examples

FOLDER = Path("/photos")
NO_FACE = Reason(ReasonCode.NO_FACE, "No face was found in it.", 0, 1, "faces")
BROKEN = Reason(ReasonCode.UNREADABLE, "The file is damaged.")


def select(findings: list[Finding], *, needed: int = 3, at_most: int = 5) -> Selection:
    return select_photos(FOLDER, findings, needed=needed, at_most=at_most)


@st.composite
def folders(draw: st.DrawFn) -> list[Finding]:
    """Any mix of usable, rejected, broken and repeated files, in any order."""
    names = draw(st.lists(st.from_regex(r"[a-c]{1,4}\.jpg", fullmatch=True), unique=True))
    findings = []
    for name in names:
        reason = draw(st.sampled_from([None, None, None, NO_FACE, BROKEN]))
        if reason is BROKEN:
            findings.append(Finding(name, None, None, (BROKEN,)))
            continue
        contents = draw(st.sampled_from(["one", "two", "three", name, name]))
        reasons = (reason,) if reason else ()
        height = draw(st.sampled_from([240.0, 300.0, 300.4, 900.0]))
        findings.append(a_finding(name, *reasons, sha256=contents, height=height))
    return findings


@examples(60)
@hypothesis.given(folders(), st.integers(1, 6), st.integers(0, 6), st.randoms())
def test_every_folder_gets_verdicts_that_add_up(
    findings: list[Finding], needed: int, extra: int, shuffler: random.Random
) -> None:
    at_most = needed + extra
    selection = select(findings, needed=needed, at_most=at_most)

    # One verdict for each finding, in the order of the findings.
    assert [verdict.name for verdict in selection.verdicts] == [item.name for item in findings]
    by_decision = [len(selection.having(decision)) for decision in Decision]
    assert sum(by_decision) == len(findings)

    # Kept only when there are enough, and then as many as fit.
    usable = len(selection.usable)
    assert len(selection.kept) == (min(usable, at_most) if usable >= needed else 0)

    # Of identical usable files exactly one counts, the first by name.
    groups: dict[str, list[str]] = {}
    for finding in sorted(findings, key=lambda finding: finding.name):
        if finding.usable and finding.photo:
            groups.setdefault(finding.photo.sha256, []).append(finding.name)
    assert {verdict.name for verdict in selection.usable} == {names[0] for names in groups.values()}

    # Whatever is left out says why; what is kept has nothing against it.
    assert all(verdict.reasons for verdict in selection.having(Decision.LEFT_OUT))
    assert not any(verdict.reasons for verdict in selection.kept)

    # No kept face is smaller than a spare one.
    smallest = min((height(verdict) for verdict in selection.kept), default=float("inf"))
    if selection.kept:
        spare = selection.having(Decision.SPARE)
        assert all(height(verdict) <= smallest for verdict in spare)
        assert all(reason_codes(verdict) == [ReasonCode.NOT_CHOSEN] for verdict in spare)

    # The same files in another order get the same verdicts.
    shuffled = list(findings)
    shuffler.shuffle(shuffled)
    again = select(shuffled, needed=needed, at_most=at_most)
    assert set(again.verdicts) == set(selection.verdicts)


def height(verdict: Verdict) -> float:
    assert verdict.face is not None
    return verdict.face.box.height


def reason_codes(verdict: Verdict) -> list[ReasonCode]:
    return [reason.code for reason in verdict.reasons]


def test_of_identical_files_the_first_by_name_stays_and_the_other_names_it() -> None:
    findings = [a_finding("b.jpg", sha256="x"), a_finding("a.jpg", sha256="x"), a_finding("c.jpg")]

    copy, first, other = select(findings, needed=1).verdicts

    assert (first.decision, other.decision) == (Decision.KEPT, Decision.KEPT)
    assert copy.decision is Decision.LEFT_OUT
    assert reason_codes(copy) == [ReasonCode.DUPLICATE]
    assert "a.jpg" in copy.reasons[0].hint


def test_a_rejected_copy_does_not_push_out_a_usable_photo() -> None:
    findings = [a_finding("a.jpg", NO_FACE, sha256="x"), a_finding("b.jpg", sha256="x")]

    assert [verdict.name for verdict in select(findings, needed=1).kept] == ["b.jpg"]


def test_more_than_wanted_keeps_the_largest_faces_and_says_so() -> None:
    findings = [
        a_finding(f"{size}.jpg", height=size) for size in (250.0, 900.0, 400.4, 300.0, 650.0)
    ]

    selection = select(findings, needed=2, at_most=3)

    assert [verdict.name for verdict in selection.kept] == ["900.0.jpg", "400.4.jpg", "650.0.jpg"]
    spare = selection.having(Decision.SPARE)
    assert [(verdict.name, verdict.reasons[0].measured) for verdict in spare] == [
        ("250.0.jpg", 250),
        ("300.0.jpg", 300),
    ]
    assert {(reason.code, reason.limit) for verdict in spare for reason in verdict.reasons} == {
        (ReasonCode.NOT_CHOSEN, 400)
    }


def test_too_few_are_all_spare_without_a_reason_against_them() -> None:
    selection = select([a_finding("a.jpg"), a_finding("b.jpg"), a_finding("c.jpg", NO_FACE)])

    assert selection.kept == ()
    assert [verdict.decision for verdict in selection.verdicts] == [
        Decision.SPARE,
        Decision.SPARE,
        Decision.LEFT_OUT,
    ]
    assert [verdict.reasons for verdict in selection.usable] == [(), ()]


def test_exactly_as_many_as_needed_is_enough() -> None:
    require_enough(select([a_finding(f"{number}.jpg") for number in range(3)], needed=3))


def test_too_few_is_an_error_that_counts_the_reasons() -> None:
    findings = [
        a_finding("a.jpg"),
        a_finding("b.jpg", NO_FACE),
        a_finding("c.jpg", NO_FACE),
        Finding("d.txt", None, None, (BROKEN,)),
    ]

    with pytest.raises(DatasetTooSmall) as refusal:
        require_enough(select(findings, needed=3))

    assert "1 of the 4" in refusal.value.what
    assert refusal.value.why == "Left out: 2 no_face, 1 unreadable."
    assert "at least 2 " in refusal.value.fix
    assert refusal.value.retryable is False


def test_too_few_without_rejects_says_that_there_are_no_more() -> None:
    with pytest.raises(DatasetTooSmall, match="no more photos"):
        require_enough(select([a_finding("a.jpg")], needed=3))
