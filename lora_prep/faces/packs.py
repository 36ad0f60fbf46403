"""What a face pack is: a folder of ONNX files, and the numbers that belong to them.

The metric and the cut belong to the pack and to no other place: dlib's vectors are compared by
their Euclidean distance as they are, ArcFace's by the cosine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora_prep.errors import ConfigurationError

__all__ = [
    "MANIFEST",
    "OPEN_PACK",
    "FacePack",
    "Metric",
    "ModelFile",
    "ModelPair",
    "manifest_models",
    "verify_pack",
]

MANIFEST = "manifest.json"
"""In a folder, insightface's own description of it: which file does what, and their hashes."""

Metric = Literal["euclidean", "cosine"]
"""euclidean: length of the difference of the raw vectors; cosine: 1 - cosine of their angle."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One ONNX file of a pack; sha256: what it must hash to, None where nothing states it."""

    name: str
    sha256: str | None = None


ModelPair = tuple[ModelFile, ModelFile]
"""The detector and the recogniser."""


@dataclass(frozen=True, slots=True)
class FacePack:
    """A detector and a recogniser, with what their numbers mean.

    folder: absolute; cut: distance beyond which two faces are two people; detection_threshold:
    score, 0 to 1, below which a detection is no face; licence: one line for people; models: which
    files they are, None where the folder's manifest.json says it; remedy: what to do when the
    files are not as they should be.
    """

    name: str
    folder: Path
    metric: Metric
    cut: float
    detection_threshold: float
    licence: str
    noncommercial: bool = False
    models: ModelPair | None = None
    remedy: str = "Put whole, unchanged files into the folder."

    @property
    def pinned(self) -> bool:
        """Whether something states the hashes that the files must have."""
        return self.models is None or all(model.sha256 for model in self.models)


OPEN_PACK = FacePack(
    name="open",
    folder=Path(__file__).resolve().parent / "open_pack",
    metric="euclidean",
    # dlib's customary cut. Sample people: one person 0.22 to 0.53, two people 0.68 to 0.95.
    cut=0.6,
    # Real faces score 0.83 to 0.95; at 0.5 one false face appeared; far ones lie around 0.7.
    detection_threshold=0.6,
    licence="YuNet: MIT; dlib ResNet: CC0. Free for commercial use.",
    remedy="Install lora_prep again; its own pack must not be changed.",
)


def verify_pack(pack: FacePack) -> str:
    """Hash both models of a pack against what is stated of them, and return one hash of both.

    Raises:
        ConfigurationError: the pack is incomplete or a file does not match its hash.
    """
    try:
        both = hashlib.sha256()
        for model in pack.models or manifest_models(pack.folder):
            with (pack.folder / model.name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if model.sha256 not in (None, found):
                raise ValueError(f"{model.name} does not match its hash")
            both.update(bytes.fromhex(found))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"The face pack {pack.name!r} cannot be loaded.",
            why=f"{type(error).__name__}: {error}.",
            fix=pack.remedy,
        ) from error
    return both.hexdigest()


def manifest_models(folder: Path) -> ModelPair:
    """Return the models that a folder's manifest.json names, with the hashes that it states.

    Raises:
        OSError, ValueError, KeyError, TypeError: it cannot be read or does not state them.
    """
    tasks = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["tasks"]
    detector, recogniser = (
        ModelFile(str(task["file"]), str(task["sha256"]))
        for task in (tasks["detection"], tasks["recognition"])
    )
    return detector, recogniser
