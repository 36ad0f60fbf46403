"""What the report draws: a card for every file, and the two people of a mixed folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_prep.model import (
    Crop,
    Framing,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.report.pictures import Pictures

__all__ = ["Card", "Group", "Person", "cards_of", "doubted", "grouped", "people_of"]

FACES = 6
"""Faces that show who a person is: as many as fit in one line."""


@dataclass(frozen=True, slots=True)
class Card:
    """One file as the page draws it.

    file: its name below the folder; crop: neutral name of its training picture; caption: the text
    that goes with it; measures: numbers in words; thumbnail: makes a data: URI when it is drawn, so
    that not all are in memory at once, None where the file cannot be shown; doubted: it may show
    somebody else.
    """

    file: str
    crop: str | None
    caption: str | None
    measures: tuple[str, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...]
    thumbnail: Callable[[], str | None]
    doubted: bool


@dataclass(frozen=True, slots=True)
class Group:
    """The photos that were left out for the same first reason. code: None if none was given."""

    code: str | None
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """One of the two people a folder shows.

    photos: how many show that person; faces: some of them, as data: URIs; example: the photo of
    the first face.
    """

    photos: int
    faces: tuple[str, ...]
    example: str | None


def cards_of(
    verdicts: Sequence[Verdict], pictures: Pictures, crops: Sequence[Crop] = ()
) -> list[Card]:
    """Return a card for every verdict, in the order of the crops' names where there are any."""
    crop_of = {crop.source: crop for crop in crops}
    cards = [_card(verdict, crop_of.get(verdict.name), pictures) for verdict in verdicts]
    return sorted(cards, key=lambda card: card.crop or "")


def grouped(left_out: Sequence[Verdict], pictures: Pictures) -> list[Group]:
    """Group by the first reason; the largest group first."""
    groups: dict[str | None, list[Verdict]] = {}
    for verdict in left_out:
        code = verdict.reasons[0].code.value if verdict.reasons else None
        groups.setdefault(code, []).append(verdict)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0] or ""))
    return [Group(code, tuple(cards_of(verdicts, pictures))) for code, verdicts in ordered]


def doubted(selection: Selection) -> list[str]:
    """Return the names of the usable photos that may show somebody else."""
    return [verdict.name for verdict in selection.usable if _is_doubted(verdict)]


def people_of(selection: Selection, pictures: Pictures) -> list[Person]:
    """Return both people of a folder whose set cannot be told; none where it can be.

    A photo of both says little of either, so the faces are taken from the others.
    """
    if not selection.rivals:
        return []
    compared = [one for one in selection.verdicts if one.identity_distance is not None]
    first = selection.usable or [one for one in compared if not _is_stranger(one)]
    first_alone = [one for one in first if one.name not in selection.rivals]
    second_alone = [one for one in compared if _is_stranger(one) and one.name in selection.rivals]
    return [
        _person(len(first), first_alone, pictures),
        _person(len(selection.rivals), second_alone, pictures),
    ]


def _person(photos: int, verdicts: Sequence[Verdict], pictures: Pictures) -> Person:
    """Show a person by the largest faces, which say most."""
    seen = [
        (verdict.face.box, verdict.photo) for verdict in verdicts if verdict.face and verdict.photo
    ]
    seen.sort(key=lambda one: (-one[0].height, one[1].name))
    shown = [(pictures.of_face(photo, box), photo.name) for box, photo in seen[:FACES]]
    faces = [(face, name) for face, name in shown if face]
    return Person(photos, tuple(face for face, _ in faces), faces[0][1] if faces else None)


def _card(verdict: Verdict, crop: Crop | None, pictures: Pictures) -> Card:
    def thumbnail() -> str | None:
        if crop:
            return pictures.of_crop(crop)
        return pictures.of_photo(verdict.photo) if verdict.photo else None

    return Card(
        file=verdict.name,
        crop=crop.name if crop else None,
        caption=crop.caption if crop else None,
        measures=tuple(_measures(verdict, crop)),
        reasons=verdict.reasons,
        notes=verdict.notes,
        thumbnail=thumbnail,
        doubted=_is_doubted(verdict),
    )


def _measures(verdict: Verdict, crop: Crop | None) -> list[str]:
    photo, face, distance = verdict.photo, verdict.face, verdict.identity_distance
    measures = []
    if crop:
        if verdict.framing and verdict.framing is not Framing.HEAD_AND_SHOULDERS:
            measures.append(verdict.framing.value)  # the usual one goes without saying
        measures.append(f"crop {crop.size_px} × {crop.size_px} px")
    elif photo:
        measures.append(f"{photo.width_px} × {photo.height_px} px")
    if face:
        face_px = round(face.box.height)
        measures.append(f"face {face_px} px in photo" if crop else f"face {face_px} px high")
    # Where somebody is a stranger or doubted, the number stands beside its limit already.
    if distance is not None and not _is_stranger(verdict) and not _is_doubted(verdict):
        measures.append(f"distance to the person {distance:.2f}")
    return measures


def _is_stranger(verdict: Verdict) -> bool:
    return any(reason.code is ReasonCode.OTHER_PERSON for reason in verdict.reasons)


def _is_doubted(verdict: Verdict) -> bool:
    return any(note.code is NoteCode.IDENTITY_DOUBTED for note in verdict.notes)
