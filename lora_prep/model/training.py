"""What is sent and what comes back: crops, the zip, the request, the prediction, the LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from lora_prep.model.pictures import Box

__all__ = [
    "Bundle",
    "BundleEntry",
    "Crop",
    "Lora",
    "LoraFacts",
    "Prediction",
    "PredictionStatus",
    "Role",
    "Spelling",
    "StoredObject",
    "TrainingRequest",
]


@dataclass(frozen=True, slots=True)
class Crop:
    """One training picture on disk.

    name: neutral ("0001.jpg"); preview: a small copy of it, which stays on this machine as
    `source`, the photo's name, does; box: the square that was cut, in upright source pixels;
    size_px: side of the stored square; caption: the text that travels along, None without one.
    """

    name: str
    path: Path
    preview: Path
    source: str
    source_sha256: str
    box: Box
    size_px: int
    sha256: str
    caption: str | None = None


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

    @property
    def images(self) -> int:
        """How many pictures are in it; the rest are captions."""
        return sum(entry.name.endswith(".jpg") for entry in self.entries)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket. etag and version_id: what the service calls these very bytes."""

    bucket: str
    key: str
    size_bytes: int
    sha256: str | None
    etag: str | None = field(default=None, compare=False)
    version_id: str | None = field(default=None, compare=False)

    @property
    def url(self) -> str:
        """The object's address for people and tools, without any signature."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Exactly what is sent to the trainer. data_url is a secret: whoever has it has the photos."""

    model: str
    data_url: str = field(repr=False)
    trigger_word: str
    steps: int
    learning_rate: float | None = None
    lora_rank: int | None = None

    @property
    def parameters(self) -> dict[str, str | int | float]:
        """Return what is sent besides the data URL; what is None is left to the trainer."""
        asked: dict[str, str | int | float | None] = {
            "trigger_word": self.trigger_word,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "lora_rank": self.lora_rank,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def to_body(self) -> dict[str, str | int | float]:
        """Return the JSON body of the submission."""
        return {"data": self.data_url, **self.parameters}


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


Spelling = Literal["diffusion_model", "transformer", "lora_unet", "unknown"]
Role = Literal["single", "high_noise", "low_noise"]


@dataclass(frozen=True, slots=True)
class LoraFacts:
    """What the file itself says, read from its safetensors header and its tensors.

    spelling: prefix of the tensor names; rank: of its matrices, the largest where they differ;
    blocks: transformer blocks it touches (40 is Wan 14B, 30 is Wan 1.3B); rehearsal: its metadata
    says that nothing was trained; alpha: the one of all its modules, None where it has none or
    several; modules: what it changes in a block, in the model's own words ("self_attn.q");
    tensor_sha256: of the tensors alone, the same whatever the metadata; verified: False for a file
    of another format, of which only the hash and the length are known.
    """

    sha256: str
    size_bytes: int
    spelling: Spelling
    rank: int | None
    dtype: str
    blocks: int
    tensors: int
    rehearsal: bool
    alpha: float | None = None
    modules: tuple[str, ...] = ()
    tensor_sha256: str | None = None
    verified: bool = True

    @property
    def words(self) -> str:
        """What a person wants to know: its size and its rank."""
        rank = f"rank {self.rank}" if self.verified else "not a safetensors file, unverified"
        return f"{self.size_bytes / 1e6:.1f} MB, {rank}"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoraFacts:
        """Return the facts a sidecar holds, also one that an older version wrote.

        Raises:
            TypeError: something is missing.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**known, "modules": tuple(known.get("modules", ()))})


@dataclass(frozen=True, slots=True)
class Lora:
    """A trained LoRA that was verified and lies in the user's own bucket.

    path: of the local copy; None where another run or machine made it.
    """

    facts: LoraFacts
    role: Role
    object: StoredObject
    path: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the `loras` item of the JSON contract."""
        return {
            "url": self.object.url,
            "sha256": self.facts.sha256,
            "bytes": self.facts.size_bytes,
            "spelling": self.facts.spelling,
            "rank": self.facts.rank,
            "role": self.role,
            "verified": self.facts.verified,
        }
