"""What is decided about a photo: reasons, findings, verdicts, and the selection of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lora_prep.model.pictures import Box, Face, Fingerprint, Framing, Measures, Photo

__all__ = [
    "Decision",
    "Finding",
    "JudgedFace",
    "NoteCode",
    "Reason",
    "ReasonCode",
    "Selection",
    "Verdict",
]


class ReasonCode(StrEnum):
    """Why a photo was left out, or what became of a usable one. Stable: part of the JSON."""

    NOT_AN_IMAGE = "not_an_image"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"
    TOO_MANY_PIXELS = "too_many_pixels"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    CROP_TOO_SMALL = "crop_too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    EXTREME_POSE = "extreme_pose"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    OTHER_PERSON = "other_person"
    OVERRIDDEN = "overridden"
    NOT_CHOSEN = "not_chosen"


class NoteCode(StrEnum):
    """What is worth knowing about a usable photo and does not speak against it. Stable."""

    IDENTITY_DOUBTED = "identity_doubted"
    SIMILAR = "similar"
    SOFT = "soft"
    TURNED = "turned"
    FRAMED_TIGHTER = "framed_tighter"
    KEPT_BY_HAND = "kept_by_hand"


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason or a note, with the number that was measured beside the limit it was held to.

    of: the name of the photo that this one repeats or resembles.
    """

    code: ReasonCode | NoteCode
    hint: str
    measured: float | None = None
    limit: float | None = None
    unit: str | None = None
    of: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the `reasons` or `notes` item of the JSON contract."""
        return {
            "code": self.code.value,
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "hint": self.hint,
            **({"of": self.of} if self.of is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class JudgedFace:
    """One face of a photo: what was measured on it and what speaks against it.

    measures and phash (64 bits, of the face alone) are None on a face too small to measure.
    """

    face: Face
    measures: Measures | None
    phash: int | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What inspection found in one file of the folder.

    photo and fingerprint are None when the file is no readable picture; faces: the largest first;
    reasons: what speaks against the file or the whole photo, whoever is in it.
    """

    name: str
    photo: Photo | None
    faces: tuple[JudgedFace, ...]
    reasons: tuple[Reason, ...]
    fingerprint: Fingerprint | None = None


class Decision(StrEnum):
    """What became of one file."""

    KEPT = "kept"
    SPARE = "spare"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one file, with every reason for it.

    face: the person's, or the largest where it is not known whose is whose; crop: the square to
    cut, in upright source pixels; identity_distance: to the person of the set, in the face pack's
    metric, None where it was not asked.
    """

    name: str
    decision: Decision
    reasons: tuple[Reason, ...]
    photo: Photo | None = None
    face: Face | None = None
    measures: Measures | None = None
    identity_distance: float | None = None
    framing: Framing | None = None
    crop: Box | None = None
    notes: tuple[Reason, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the `photos` item of the JSON contract."""
        face, distance = self.face, self.identity_distance
        return {
            "file": self.name,
            "sha256": self.photo and self.photo.sha256,
            "verdict": self.decision.value,
            "reasons": [reason.to_json() for reason in self.reasons],
            "notes": [note.to_json() for note in self.notes],
            "face": face
            and {
                "box": face.box.to_json(),
                "score": round(face.score, 3),
                "height_px": round(face.box.height),
                "identity_distance": None if distance is None else round(distance, 3),
            },
            "crop": self.crop and self.crop.to_json(),
            "framing": self.framing and self.framing.value,
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """A verdict for every file of a folder; `needed` usable photos make it a data set.

    advice: what the set lacks, in whole sentences; rivals: names of the photos that show a second
    person nearly as often as the first, which makes the set unusable.
    """

    folder: Path
    needed: int
    verdicts: tuple[Verdict, ...]
    advice: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()

    def having(self, *decisions: Decision) -> tuple[Verdict, ...]:
        """Return the verdicts with one of these decisions, in the folder's order."""
        return tuple(verdict for verdict in self.verdicts if verdict.decision in decisions)

    @property
    def kept(self) -> tuple[Verdict, ...]:
        """The photos that go into the training set."""
        return self.having(Decision.KEPT)

    @property
    def usable(self) -> tuple[Verdict, ...]:
        """The photos that could: kept and spare."""
        return self.having(Decision.KEPT, Decision.SPARE)

    def to_json(self, report: Path | None) -> dict[str, Any]:
        """Return the inspection object of the JSON contract."""
        return {
            "schema": 1,
            "folder": str(self.folder),
            "needed": self.needed,
            "found": len(self.verdicts),
            "usable": len(self.usable),
            "selected": len(self.kept),
            "report": report and str(report),
            "advice": list(self.advice),
            "photos": [verdict.to_json() for verdict in self.verdicts],
        }
