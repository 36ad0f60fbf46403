"""The values that cross from one room to the next, in the order the data flows.

All are frozen. Pixels are counted in the upright picture, after the EXIF orientation was applied;
sizes are in bytes, times are aware UTC. URLs that open without a key are secrets: their fields
are left out of `repr` and of every JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "Box",
    "Bundle",
    "BundleEntry",
    "Crop",
    "Decision",
    "Face",
    "Finding",
    "Lora",
    "LoraFacts",
    "Measures",
    "Photo",
    "Prediction",
    "PredictionStatus",
    "Reason",
    "ReasonCode",
    "Selection",
    "StoredObject",
    "TrainingRequest",
    "Verdict",
]


# ── photos ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Photo:
    """A file that was opened and is a picture.

    name: path below the folder, with "/"; format: what the bytes are, in Pillow's word ("JPEG");
    width_px and height_px: upright; sha256: of the file's bytes.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    format: str
    width_px: int
    height_px: int


# ── faces ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in upright source pixels: left and top edge, width and height."""

    x: float
    y: float
    width: float
    height: float

    def to_json(self) -> list[float]:
        """Return [x, y, width, height], rounded to a tenth of a pixel."""
        return [round(value, 1) for value in (self.x, self.y, self.width, self.height)]


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    score: the detector's own, 0 to 1; landmarks: right eye, left eye, nose, right and left mouth
    corner as (x, y) in upright source pixels, the person's own right and left; embedding: the
    face pack's vector, raw (not normalised).
    """

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...]
    embedding: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured on a face.

    sharpness: variance of the Laplacian over that of the grey values, x 1000; luma_median: 0 to
    255; clipped_share: part of the face that is black or white, 0 to 1; yaw_deg: 0 is frontal.
    """

    sharpness: float
    luma_median: float
    clipped_share: float
    yaw_deg: float


# ── inspection and selection ──────────────────────────────────────────────────────────────────


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
    NOT_CHOSEN = "not_chosen"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, with the number that was measured beside the limit it was held against."""

    code: ReasonCode
    hint: str
    measured: float | None = None
    limit: float | None = None
    unit: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the `reasons` item of the JSON contract."""
        return {
            "code": self.code.value,
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """What inspection found in one file of the folder: a usable photo, or the reasons against it.

    photo is None when the file is no readable picture; face is the one a crop is made of, and
    measures are of it.
    """

    name: str
    photo: Photo | None
    face: Face | None
    reasons: tuple[Reason, ...]
    measures: Measures | None = None

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against the photo."""
        return not self.reasons


class Decision(StrEnum):
    """What became of one file."""

    KEPT = "kept"
    SPARE = "spare"
    LEFT_OUT = "left_out"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one file, with every reason for it."""

    name: str
    decision: Decision
    reasons: tuple[Reason, ...]
    photo: Photo | None
    face: Face | None

    def to_json(self) -> dict[str, Any]:
        """Return the `photos` item of the JSON contract."""
        face = self.face
        return {
            "file": self.name,
            "verdict": self.decision.value,
            "reasons": [reason.to_json() for reason in self.reasons],
            "face": face
            and {
                "box": face.box.to_json(),
                "score": round(face.score, 3),
                "height_px": round(face.box.height),
                "identity_distance": None,
            },
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """A verdict for every file of a folder; `needed` usable photos make it a data set."""

    folder: Path
    needed: int
    verdicts: tuple[Verdict, ...]

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
            "photos": [verdict.to_json() for verdict in self.verdicts],
        }


# ── cropping and bundle ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Crop:
    """One training picture on disk.

    name: neutral ("0001.jpg"); source: the photo's name, which stays on this machine; box: the
    square that was cut, in upright source pixels; size_px: side of the stored square.
    """

    name: str
    path: Path
    source: str
    source_sha256: str
    box: Box
    size_px: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One file inside the data set zip."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The data set zip on disk; the same crops always give the same bytes."""

    path: Path
    sha256: str
    size_bytes: int
    entries: tuple[BundleEntry, ...]


# ── stores ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket."""

    bucket: str
    key: str
    size_bytes: int
    sha256: str | None

    @property
    def url(self) -> str:
        """The object's address for people and tools, without any signature."""
        return f"s3://{self.bucket}/{self.key}"


# ── trainers ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Exactly what is sent to the trainer. data_url is a secret: whoever has it has the photos."""

    model: str
    data_url: str = field(repr=False)
    trigger_word: str
    steps: int

    def to_body(self) -> dict[str, str | int]:
        """Return the JSON body of the submission."""
        return {"data": self.data_url, "trigger_word": self.trigger_word, "steps": self.steps}


class PredictionStatus(StrEnum):
    """The states of a training at the provider; anything it says besides is `UNKNOWN`."""

    CREATED = "created"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    DELETED = "deleted"
    UNKNOWN = "unknown"

    @property
    def terminal(self) -> bool:
        """Whether the provider will not change it any more."""
        return self not in {self.CREATED, self.PROCESSING, self.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A training as the provider reports it.

    outputs: links to the LoRA files, secrets that live 7 days; error_code: the provider's own
    (0 is none); created_at: None when the provider did not say.
    """

    id: str
    model: str
    status: PredictionStatus
    outputs: tuple[str, ...] = field(default=(), repr=False)
    error: str = ""
    error_code: int = 0
    created_at: datetime | None = None


# ── archive ───────────────────────────────────────────────────────────────────────────────────

Spelling = Literal["diffusion_model", "transformer", "lora_unet", "unknown"]
Role = Literal["single", "high_noise", "low_noise"]


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """What the file itself says, read from its safetensors header.

    spelling: prefix of the tensor names; rank: of its matrices; blocks: transformer blocks it
    touches (40 is Wan 14B, 30 is Wan 1.3B); rehearsal: its metadata says that nothing was trained.
    """

    sha256: str
    size_bytes: int
    spelling: Spelling
    rank: int
    dtype: str
    blocks: int
    tensors: int
    rehearsal: bool


@dataclass(frozen=True, slots=True)
class Lora:
    """A trained LoRA that was verified and lies in the user's own bucket."""

    facts: LoraFacts
    role: Role
    object: StoredObject
    path: Path

    def to_json(self) -> dict[str, Any]:
        """Return the `loras` item of the JSON contract."""
        return {
            "url": self.object.url,
            "sha256": self.facts.sha256,
            "bytes": self.facts.size_bytes,
            "spelling": self.facts.spelling,
            "rank": self.facts.rank,
            "role": self.role,
        }
