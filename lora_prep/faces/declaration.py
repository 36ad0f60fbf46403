"""pack.json: what lies beside the models of a pack and says what they are.

`fetch` writes it. By hand it may be as short as {"metric": "euclidean", "cut": 0.6}; what it does
not say is taken from what is known of the files.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lora_prep.errors import ConfigurationError
from lora_prep.faces.packs import Metric, ModelFile, ModelPair

__all__ = ["PACK_JSON", "Declaration", "DeclaredFile", "DeclaredSource", "read_declaration"]

PACK_JSON = "pack.json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """One of the two models: its name in the folder, and what it must be."""

    file: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """Where a pack was fetched from, and the zip that came."""

    url: str
    sha256: str
    bytes: int
    fetched_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What pack.json says; None where it says nothing."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    schema: Literal[1] = 1
    name: str | None = None
    metric: Metric | None = None
    cut: float | None = None
    detection_threshold: float | None = None
    licence: str | None = None
    noncommercial: bool | None = None
    detector: DeclaredFile | None = None
    recogniser: DeclaredFile | None = None
    source: DeclaredSource | None = None

    def __post_init__(self) -> None:
        if self.cut is not None and not 0 < self.cut < math.inf:
            raise ValueError("cut must be a distance above 0")
        if self.detection_threshold is not None and not 0 < self.detection_threshold < 1:
            raise ValueError("detection_threshold must lie between 0 and 1")
        if (self.detector is None) != (self.recogniser is None):
            raise ValueError("detector and recogniser go together")
        for model in (self.detector, self.recogniser):
            if model and (Path(model.file).name != model.file or not model.file.endswith(".onnx")):
                raise ValueError(f"{model.file!r} is not the name of an .onnx file in the folder")

    @property
    def models(self) -> ModelPair | None:
        """The two models, where it names them."""
        if self.detector is None or self.recogniser is None:
            return None
        return (
            ModelFile(self.detector.file, self.detector.sha256),
            ModelFile(self.recogniser.file, self.recogniser.sha256),
        )

    def said(self, *names: str) -> dict[str, Any]:
        """Return those of the named fields that it says something about."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def to_text(self) -> str:
        """Return it as the text of pack.json."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(said, indent=2) + "\n"


def read_declaration(folder: Path) -> Declaration | None:
    """Return what a folder's pack.json says, None without one.

    Raises:
        ConfigurationError: it is no JSON, or has names or values that do not belong there.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / PACK_JSON
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES)
        declaration: Declaration = TypeAdapter(Declaration).validate_json(text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            why = f"{place} {first['msg'].removeprefix('Value error, ')}".strip()
        raise ConfigurationError(
            f"The description {path} cannot be used.",
            why=f"{why.rstrip('.')}.",
            fix="Mend it; docs/schemas/faces-pack.json says what may stand in it.",
        ) from error
    return declaration
