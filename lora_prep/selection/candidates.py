"""A photo that may be chosen: the person's face in it, and the square it would be cropped to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_prep.framing import FRAMINGS, crop_box, smallest_face_px
from lora_prep.inspection import SHARPNESS_LEAST, SHARPNESS_SOFT
from lora_prep.model import (
    Box,
    Decision,
    Finding,
    Fingerprint,
    Framing,
    JudgedFace,
    NoteCode,
    Photo,
    Reason,
    ReasonCode,
    Verdict,
)

__all__ = ["Candidate", "possible_crops", "quality_of"]

SHARP_ENOUGH = 135.0
"""Sharpness from which more says nothing: photos measured 135 to 207."""

FACE_ENOUGH_PX = 465.0
"""Face height from which a head-and-shoulders crop fills 1024 px."""

LUMA_BEST = 128.0

WEIGHTS = {"sharpness": 0.4, "size": 0.3, "light": 0.2, "score": 0.1}
"""A judgement, not a measurement: blur is what a LoRA learns first."""

SCORE_ENOUGH = 0.9

COLOUR_LEAST = 0.02
"""Difference of red, green and blue, 0 to 1, in some part of a picture that is not grey."""

TIGHTER_ENOUGH = 0.98
"""Share of the wanted square below which a crop counts as framed tighter; above, it is rounding."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable photo.

    crops: the square of every framing that is possible; quality: 0 to 1; distance: to the person;
    by_hand: kept by hand, so that no measure speaks against it; recropped: its square was given.
    """

    finding: Finding
    photo: Photo
    fingerprint: Fingerprint
    face: JudgedFace
    crops: Mapping[Framing, Box]
    quality: float
    distance: float | None = None
    notes: tuple[Reason, ...] = ()
    by_hand: bool = False
    recropped: bool = False

    @property
    def name(self) -> str:
        """The photo's name."""
        return self.finding.name

    @property
    def rank(self) -> tuple[bool, float, str, str]:
        """Sorts the best first; of equals by content, so that names do not matter."""
        return (not self.by_hand, -self.quality, self.photo.sha256, self.name)

    @property
    def fidelity(self) -> tuple[bool, bool, bool, int, bool, int]:
        """Sorts copies of one picture, the one that lost most first.

        What may be lost: colours (a GIF has 256), the word which side is up, pixels, the time it
        was taken, bytes. One whose square was given by hand is meant.
        """
        look, photo = self.fingerprint.look, self.photo
        parts = zip(look[::3], look[1::3], look[2::3], strict=True)
        coloured = any(max(part) - min(part) > COLOUR_LEAST for part in parts)
        return (
            self.recropped,
            coloured and photo.format != "GIF",
            photo.turned_deg == 0,
            photo.width_px * photo.height_px,
            photo.taken_at is not None,
            photo.size_bytes,
        )

    def verdict(
        self,
        decision: Decision,
        *reasons: Reason,
        framing: Framing | None = None,
        notes: tuple[Reason, ...] = (),
    ) -> Verdict:
        """Return the verdict on this photo, with its crop in one framing."""
        return Verdict(
            name=self.name,
            decision=decision,
            reasons=reasons,
            photo=self.photo,
            face=self.face.face,
            measures=self.face.measures,
            identity_distance=self.distance,
            framing=framing,
            crop=self.crops[framing] if framing else None,
            notes=(*_notes_on(self, framing), *self.notes, *notes),
        )


def possible_crops(
    photo: Photo, faces: tuple[JudgedFace, ...], index: int, framing: Framing, min_size_px: int
) -> tuple[dict[Framing, Box], tuple[Reason, ...]]:
    """Return the square of every framing that shows the face alone and large enough.

    Without any, the reason why. Mixed tries them all.
    """
    face = faces[index].face.box
    others = [other.face.box for number, other in enumerate(faces) if number != index]
    wanted = list(FRAMINGS) if framing is Framing.MIXED else [framing]
    crops: dict[Framing, Box] = {}
    largest = 0.0
    for one in wanted:
        box = crop_box(face, photo.width_px, photo.height_px, one, others)
        largest = max(largest, box.width if box else 0)
        high_enough = face.height >= smallest_face_px(min_size_px, one)
        if box and high_enough and box.width >= min_size_px:
            crops[one] = box
    if crops:
        return crops, ()
    if others and largest < min_size_px:
        hint = "Another face is so close that no crop shows this one alone."
        return {}, (Reason(ReasonCode.SEVERAL_FACES, hint, int(largest), min_size_px, "px"),)
    hint = "The photo is too small for a crop; use the original, not a thumbnail."
    return {}, (Reason(ReasonCode.CROP_TOO_SMALL, hint, int(largest), min_size_px, "px"),)


def _notes_on(candidate: Candidate, framing: Framing | None) -> list[Reason]:
    """Return what is worth knowing about a usable photo in a framing."""
    photo, face, notes = candidate.photo, candidate.face, []
    if face.measures and SHARPNESS_LEAST <= face.measures.sharpness < SHARPNESS_SOFT:
        hint, sharpness = "A little soft.", round(face.measures.sharpness, 1)
        notes.append(Reason(NoteCode.SOFT, hint, sharpness, SHARPNESS_SOFT, "sharpness"))
    if photo.turned_deg:
        hint = "Turned upright: the file does not say which side is up."
        notes.append(Reason(NoteCode.TURNED, hint, photo.turned_deg, None, "degrees"))
    if framing and not candidate.recropped:
        height = face.face.box.height
        room = min(FRAMINGS[framing] * height, photo.width_px, photo.height_px)
        wide = candidate.crops[framing].width
        if wide < TIGHTER_ENOUGH * room:
            hint = f"Cropped tighter than {framing.value}, so that no other face is in it."
            ratio = round(wide / height, 2)
            notes.append(Reason(NoteCode.FRAMED_TIGHTER, hint, ratio, unit="face heights"))
    return notes


def quality_of(face: JudgedFace) -> float:
    """Return how good a face is to learn from, 0 to 1: sharp, large, well lit, surely seen."""
    measures = face.measures
    if measures is None:
        return 0.0
    return (
        WEIGHTS["sharpness"] * min(1.0, measures.sharpness / SHARP_ENOUGH)
        + WEIGHTS["size"] * min(1.0, face.face.box.height / FACE_ENOUGH_PX)
        + WEIGHTS["light"] * max(0.0, 1 - abs(measures.luma_median - LUMA_BEST) / LUMA_BEST)
        + WEIGHTS["score"] * min(1.0, face.face.score / SCORE_ENOUGH)
    )
