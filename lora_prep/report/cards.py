"""What the report draws: a card for every file, and the two people of a mixed folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_prep.model import (
    Box,
    Crop,
    Decision,
    Framing,
    NoteCode,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.report.pictures import Pictures

__all__ = ["Album", "Card", "Group", "Marks", "Person", "View", "doubted", "outliers"]

FACES = 6
"""Faces that show who a person is: as many as fit in one line."""

LOOKS_STRAIGHT_DEG = 1.0  # what is nearer to frontal has no side


@dataclass(frozen=True, slots=True)
class Marks:
    """What is drawn over a whole photo, in its upright pixels: [x, y, width, height], rounded.

    points: right eye, left eye, nose, right and left mouth corner.
    """

    width: int
    height: int
    face: tuple[int, ...] | None
    points: tuple[tuple[int, int], ...]
    crop: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class View:
    """A picture. source: makes a data: URI when it is drawn, so that not all are in memory at once.

    It is None where the file cannot be shown. alt: what it is, for those who do not see it; label:
    what stands below it.
    """

    alt: str
    source: Callable[[], str | None]
    marks: Marks | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One file as the page draws it.

    file: its name below the folder; crop: neutral name of its training picture; caption: the text
    that goes with it; measures: numbers in words; views: its pictures, the one that matters first;
    compared: beside the better one that it repeats; doubted: it may show somebody else.
    """

    file: str
    crop: str | None
    caption: str | None
    measures: tuple[str, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...]
    views: tuple[View, ...]
    compared: bool
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


class Album:
    """The cards of a selection and its crops, with the pictures that are found for them."""

    def __init__(self, selection: Selection, crops: Sequence[Crop], pictures: Pictures) -> None:
        self._selection = selection
        self._crops = {crop.source: crop for crop in crops}
        self._by_name = {verdict.name: verdict for verdict in selection.verdicts}
        self._pictures = pictures

    @property
    def kept(self) -> list[Card]:
        """The training set, in the order of the crops' names."""
        cards = [self._card(one, self._crops.get(one.name)) for one in self._selection.kept]
        return sorted(cards, key=lambda card: card.crop or "")

    @property
    def spare(self) -> list[Card]:
        """What is usable and not kept, in the folder's order."""
        return [self._card(one) for one in self._selection.having(Decision.SPARE)]

    @property
    def left_out(self) -> list[Group]:
        """Everything else by its first reason, the largest group first."""
        groups: dict[str | None, list[Card]] = {}
        for verdict in self._selection.having(Decision.LEFT_OUT):
            code = verdict.reasons[0].code.value if verdict.reasons else None
            groups.setdefault(code, []).append(self._card(verdict))
        ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0] or ""))
        return [Group(code, tuple(cards)) for code, cards in ordered]

    @property
    def people(self) -> list[Person]:
        """Both people of a folder whose set cannot be told; none where it can be.

        A photo of both says little of either, so the faces are taken from the others.
        """
        selection = self._selection
        if not selection.rivals:
            return []
        compared = [one for one in selection.verdicts if one.identity_distance is not None]
        strangers = [one for one in compared if _is_stranger(one)]
        first = selection.usable or [one for one in compared if not _is_stranger(one)]
        first_alone = [one for one in first if one.name not in selection.rivals]
        second_alone = [one for one in strangers if one.name in selection.rivals]
        return [
            self._person(len(first), first_alone),
            self._person(len(selection.rivals), second_alone),
        ]

    def _person(self, photos: int, verdicts: Sequence[Verdict]) -> Person:
        """Show a person by the largest faces, which say most."""
        seen = [(one.face.box, one.photo) for one in verdicts if one.face and one.photo]
        seen.sort(key=lambda one: (-one[0].height, one[1].name))
        shown = [(self._pictures.of_face(photo, box), photo.name) for box, photo in seen[:FACES]]
        faces = [(face, name) for face, name in shown if face]
        return Person(photos, tuple(face for face, _ in faces), faces[0][1] if faces else None)

    def _card(self, verdict: Verdict, crop: Crop | None = None) -> Card:
        named = (self._by_name.get(reason.of) for reason in verdict.reasons if reason.of)
        better = next(filter(None, named), None)
        return Card(
            file=verdict.name,
            crop=crop.name if crop else None,
            caption=crop.caption if crop else None,
            measures=tuple(_measures(verdict, crop)),
            reasons=verdict.reasons,
            notes=verdict.notes,
            views=tuple(self._views(verdict, crop, better)),
            compared=better is not None,
            doubted=_is_doubted(verdict),
        )

    def _views(self, verdict: Verdict, crop: Crop | None, better: Verdict | None) -> list[View]:
        if crop:
            small = View(f"Crop {crop.name}", lambda: self._pictures.of_crop(crop))
            return [small, self._whole(verdict, small=True)]
        if better:
            whose = self._whole(better, small=True, label=f"better: {better.name}")
            return [self._whole(verdict, small=True, label="this one"), whose]
        return [self._whole(verdict)]

    def _whole(self, verdict: Verdict, *, small: bool = False, label: str | None = None) -> View:
        photo, marks = verdict.photo, _marks(verdict)
        alt = f"Photo {verdict.name}"
        if marks and marks.face:
            alt += " with its face box, five points" if marks.points else " with its face box"
            alt += " and the square that is cut" if marks.crop else ""
        return View(
            alt,
            lambda: self._pictures.of_photo(photo, small=small) if photo else None,
            marks,
            label,
        )


def doubted(selection: Selection) -> list[str]:
    """Return the names of the usable photos that may show somebody else."""
    return [verdict.name for verdict in selection.usable if _is_doubted(verdict)]


def outliers(selection: Selection) -> list[tuple[str, float, bool]]:
    """Return what is doubted or somebody else's, the farthest first: name, distance, stranger."""
    far = [
        (verdict.name, verdict.identity_distance, _is_stranger(verdict))
        for verdict in selection.verdicts
        if verdict.identity_distance is not None
        and (_is_stranger(verdict) or (_is_doubted(verdict) and verdict in selection.usable))
    ]
    return sorted(far, key=lambda one: -one[1])


# ── parts ──────────────────────────────────────────────────────────────────────────────────────


def _marks(verdict: Verdict) -> Marks | None:
    photo, face, crop = verdict.photo, verdict.face, verdict.crop
    if not photo or not face:
        return None
    points = tuple((round(x), round(y)) for x, y in face.landmarks)
    return Marks(
        photo.width_px,
        photo.height_px,
        _rounded(face.box),
        points,
        _rounded(crop) if crop else None,
    )


def _rounded(box: Box) -> tuple[int, ...]:
    return tuple(round(value) for value in (box.x, box.y, box.width, box.height))


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
        measures.append(f"distance {distance:.2f}")
    if verdict.decision is not Decision.LEFT_OUT:
        measures += _scores(verdict)
    return measures


def _scores(verdict: Verdict) -> list[str]:
    scores = []
    if seen := verdict.measures:
        scores += [f"sharpness {seen.sharpness:.0f}", f"light {seen.luma_median:.0f}"]
        side = "right" if seen.yaw_deg > 0 else "left"
        straight = abs(seen.yaw_deg) < LOOKS_STRAIGHT_DEG
        scores.append("straight" if straight else f"{abs(seen.yaw_deg):.0f}° to the {side}")
    if verdict.face:
        scores.append(f"detector {verdict.face.score:.2f}")
    return scores


def _is_stranger(verdict: Verdict) -> bool:
    return any(reason.code is ReasonCode.OTHER_PERSON for reason in verdict.reasons)


def _is_doubted(verdict: Verdict) -> bool:
    return any(note.code is NoteCode.IDENTITY_DOUBTED for note in verdict.notes)
