"""From findings to verdicts: the person, the crop, copies, and the best and most varied photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lora_prep.model import (
    Box,
    Decision,
    Finding,
    Framing,
    JudgedFace,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.selection.candidates import Candidate, possible_crops, quality_of
from lora_prep.selection.duplicates import echoes, single_out
from lora_prep.selection.enough import RELAXABLE
from lora_prep.selection.overrides import Override
from lora_prep.selection.person import Identity, Person, find_person
from lora_prep.selection.variety import advise, choose, doubtful, frame

__all__ = ["Wanted", "select_photos"]

PHYSICAL = frozenset({ReasonCode.NO_FACE, ReasonCode.FACE_TOO_SMALL, ReasonCode.CROP_TOO_SMALL})
"""What no hand can change: there is no face, or a crop of it would have to be enlarged."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What set is to be made.

    needed: usable photos; at_most: photos kept; min_size_px: of a crop; identity: how the person
    is told, None takes every face for the person's; overrides: by the SHA-256 of a photo's file.
    """

    needed: int
    at_most: int
    framing: Framing = Framing.HEAD_AND_SHOULDERS
    min_size_px: int = 512
    identity: Identity | None = None
    overrides: Mapping[str, Override] = field(default_factory=dict)


def select_photos(
    folder: Path, findings: Sequence[Finding], wanted: Wanted, *, person: Person | None = None
) -> Selection:
    """Return a verdict for every finding, in the same order.

    The same photos get the same verdicts in whatever order and under whatever names they come.
    When fewer than needed are usable, or two people share the folder, nothing is kept: what is
    usable is spare. person: who it is, where the same findings were asked before.
    """
    if person is None and wanted.identity:
        person = find_person(findings, wanted.identity)
    verdicts: dict[str, Verdict] = {}
    candidates: list[Candidate] = []
    for finding in findings:
        judged = _judge(finding, person, wanted)
        if isinstance(judged, Candidate):
            candidates.append(judged)
        else:
            verdicts[finding.name] = judged
    singled = single_out(candidates, wanted.identity)
    for candidate, reason in singled.copies:
        verdicts[candidate.name] = candidate.verdict(Decision.LEFT_OUT, reason)
    for name, reason in _echoes(findings, verdicts, singled.stay, wanted.identity).items():
        verdicts[name] = replace(verdicts[name], reasons=(*verdicts[name].reasons, reason))
    rivals = person.rivals if person else ()
    enough = len(singled.stay) >= wanted.needed and not rivals
    chosen = choose(singled.stay, wanted.at_most, wanted.identity) if enough else singled.stay
    framings = frame(chosen, wanted.framing)
    for candidate in chosen:
        note = singled.similar.get(candidate.name)
        verdicts[candidate.name] = candidate.verdict(
            Decision.KEPT if enough else Decision.SPARE,
            framing=framings[candidate.name],
            notes=(note,) if note else (),
        )
    for candidate in singled.stay:
        if candidate.name not in verdicts:
            verdicts[candidate.name] = candidate.verdict(Decision.SPARE, _not_chosen(wanted))
    return Selection(
        folder,
        wanted.needed,
        tuple(verdicts[finding.name] for finding in findings),
        advice=advise(chosen, framings, wanted.framing) if enough else (),
        rivals=rivals,
    )


def _judge(finding: Finding, person: Person | None, wanted: Wanted) -> Candidate | Verdict:
    """Return a photo as a candidate, or the verdict that leaves it out."""
    photo, fingerprint = finding.photo, finding.fingerprint
    if photo is None or fingerprint is None or not finding.faces:
        return _left_out(finding, finding.reasons)
    override = wanted.overrides.get(photo.sha256, Override())
    by_hand = override.verdict == "keep"
    index, distance, strange = _whose(finding, person)
    face = finding.faces[index]
    if override.verdict == "leave_out":
        reasons: tuple[Reason, ...] = (Reason(ReasonCode.OVERRIDDEN, "Left out by hand."),)
    else:
        stranger = (_stranger(distance, wanted.identity),) if strange and wanted.identity else ()
        reasons = (*finding.reasons, *stranger, *face.reasons)
    against = reasons if by_hand else ()
    if by_hand:
        reasons = tuple(reason for reason in reasons if reason.code in PHYSICAL)
    if reasons:
        return _left_out(finding, reasons, face, distance)
    crops, reasons = possible_crops(photo, finding.faces, index, wanted.framing, wanted.min_size_px)
    if override.crop:
        crops, reasons = _recropped(override.crop, finding, face, wanted)
    if reasons:
        return _left_out(finding, reasons, face, distance)
    candidate = Candidate(
        finding=finding,
        photo=photo,
        fingerprint=fingerprint,
        face=face,
        crops=crops,
        quality=quality_of(face),
        distance=distance,
        notes=tuple(_notes(finding, distance, person, by_hand, against)),
        by_hand=by_hand,
        recropped=override.crop is not None,
    )
    return doubtful(candidate) if person and finding.name in person.doubted else candidate


def _echoes(
    findings: Sequence[Finding],
    verdicts: Mapping[str, Verdict],
    stay: Sequence[Candidate],
    identity: Identity | None,
) -> dict[str, Reason]:
    """Return which photos with a fault would, without it, only repeat another picture."""
    faulty = []
    for finding in findings:
        verdict = verdicts.get(finding.name)
        if verdict and finding.photo and finding.fingerprint:
            face = next((one for one in finding.faces if one.face == verdict.face), None)
            if face and verdict.reasons[0].code in RELAXABLE:
                facts = (finding.photo, finding.fingerprint, face)
                faulty.append(Candidate(finding, *facts, crops={}, quality=quality_of(face)))
    return echoes(faulty, stay, identity)


def _stranger(distance: float | None, identity: Identity) -> Reason:
    hint = "Another person than the one of this set."
    measured = round(distance or 0, 3)
    return Reason(ReasonCode.OTHER_PERSON, hint, measured, identity.cut, "distance")


def _whose(finding: Finding, person: Person | None) -> tuple[int, float | None, bool]:
    """Return which face is cropped, its distance, and whether it is a stranger's.

    Where nobody was told apart it is the largest one without fault, else the largest.
    """
    if person and (known := person.faces.get(finding.name)):
        return (*known, False)
    if person and (known := person.strangers.get(finding.name)):
        return (*known, True)
    faultless = (index for index, face in enumerate(finding.faces) if not face.reasons)
    return (next(faultless, 0), None, False)


def _recropped(
    box: Box, finding: Finding, face: JudgedFace, wanted: Wanted
) -> tuple[dict[Framing, Box], tuple[Reason, ...]]:
    """Return the square that was given by hand, or why it cannot be cut."""
    photo, seen = finding.photo, face.face.box
    centre_x, centre_y = seen.x + seen.width / 2, seen.y + seen.height / 2
    inside = photo and box.x + box.width <= photo.width_px and box.y + box.width <= photo.height_px
    shows = box.x < centre_x < box.x + box.width and box.y < centre_y < box.y + box.width
    if not inside or not shows:
        hint = "The crop given by hand leaves the picture or misses the face."
        return {}, (Reason(ReasonCode.OVERRIDDEN, hint),)
    if box.width < wanted.min_size_px:
        hint = "The crop given by hand is too small."
        small = Reason(ReasonCode.CROP_TOO_SMALL, hint, box.width, wanted.min_size_px, "px")
        return {}, (small,)
    mixed = wanted.framing is Framing.MIXED
    return {Framing.HEAD_AND_SHOULDERS if mixed else wanted.framing: box}, ()


def _notes(
    finding: Finding,
    distance: float | None,
    person: Person | None,
    by_hand: bool,
    against: tuple[Reason, ...],
) -> list[Reason]:
    notes = []
    if by_hand:
        codes = ", ".join(reason.code.value for reason in against)
        hint = f"Kept by hand{f' in spite of {codes}' if codes else ''}."
        notes.append(Reason(NoteCode.KEPT_BY_HAND, hint))
    if person and distance is not None and finding.name in person.doubted:
        hint = "Less like the others than they are among each other: look whether it is the person."
        numbers = (round(distance, 3), round(person.doubt, 3))
        notes.append(Reason(NoteCode.IDENTITY_DOUBTED, hint, *numbers, "distance"))
    return notes


def _not_chosen(wanted: Wanted) -> Reason:
    hint = f"Usable, but {wanted.at_most} better or more different photos were kept."
    return Reason(ReasonCode.NOT_CHOSEN, hint, limit=wanted.at_most, unit="photos")


def _left_out(
    finding: Finding,
    reasons: tuple[Reason, ...],
    face: JudgedFace | None = None,
    distance: float | None = None,
) -> Verdict:
    face = face or next(iter(finding.faces), None)
    return Verdict(
        name=finding.name,
        decision=Decision.LEFT_OUT,
        reasons=reasons,
        photo=finding.photo,
        face=face.face if face else None,
        measures=face.measures if face else None,
        identity_distance=distance,
    )
