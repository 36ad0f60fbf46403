"""From what --face-pack says to a pack: the open one, a fetched one by its name, or a folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lora_prep.errors import ConfigurationError
from lora_prep.faces.declaration import PACK_JSON, read_declaration
from lora_prep.faces.known import (
    ARCFACE_CUT,
    INSIGHTFACE_LICENCE,
    KNOWN_PACKS,
    SCRFD_THRESHOLD,
    KnownPack,
    known_pack,
)
from lora_prep.faces.packs import (
    MANIFEST,
    OPEN_PACK,
    FacePack,
    ModelFile,
    ModelPair,
    manifest_models,
)
from lora_prep.faces.terms import require_terms

__all__ = ["fetched_pack", "find_pack", "locate_pack", "task_of"]

MANIFEST_VERSION = 2

# How insightface 2.1 tells models apart (its model_zoo/model_zoo.py, ModelRouter).
MIN_DETECTOR_OUTPUTS = 5
IMAGE_SIDES = 2
MIN_RECOGNISER_SIDE_PX, RECOGNISER_STEP_PX = 112, 16
OTHER_SIDES_PX = (96, 192)  # age and gender; landmarks

COPY_AGAIN = "Copy the open pack again, or use the one that comes along: --face-pack open"

UNSTATED_LICENCE = (
    "The folder does not say what its models may be used for, so the worst is taken: "
    "for non-commercial research only."
)


def find_pack(wanted: str, home: Path, *, accept_noncommercial: bool) -> FacePack:
    """Return the pack that a name or a folder means, ready to be loaded.

    wanted: "open"; the name of a pack that was fetched into `home`; or a folder. A name is never
    taken for a folder of that name in the working directory: "./buffalo_l" is the folder.
    accept_noncommercial: the terms are accepted; recorded, so that it is needed once.

    Raises:
        ConfigurationError: there is no such pack, it was not fetched, it is not whole, or its
            terms were not accepted.
    """
    pack = locate_pack(wanted, home)
    require_terms(pack, home, accept=accept_noncommercial)
    return pack


def locate_pack(wanted: str, home: Path) -> FacePack:
    """Do what `find_pack` does without asking whether the terms were accepted.

    Raises:
        ConfigurationError: there is no such pack, it was not fetched, or it is not whole.
    """
    if wanted == OPEN_PACK.name:
        return OPEN_PACK
    if wanted in KNOWN_PACKS:
        return fetched_pack(KNOWN_PACKS[wanted], home)
    folder = _folder(wanted)
    if folder and folder.is_dir():
        return _pack_of(folder)
    if not {"/", os.sep} & set(wanted):
        known_pack(wanted)  # raises, and offers the near name
    raise ConfigurationError(
        f"The face pack {wanted!r} is not there.",
        why=f"{folder} is no folder." if folder else "No folder can have that name.",
        fix="Give a folder of ONNX models, or a name of: lora-prep faces list",
    )


def _folder(wanted: str) -> Path | None:
    """Return the absolute path that is meant, None when there can be none of that name."""
    try:
        folder = Path(wanted).expanduser().resolve()
        folder.is_dir()  # a name that is too long fails only here
    except (OSError, ValueError, RuntimeError):
        return None
    return folder if wanted else None


def fetched_pack(known: KnownPack, home: Path) -> FacePack:
    """Return a known pack as it was fetched; its numbers are this version's, not the folder's.

    Raises:
        ConfigurationError: it was not fetched.
    """
    folder = known.folder(home)
    declaration = read_declaration(folder)
    pinned = declaration and declaration.models
    if not pinned:
        raise ConfigurationError(
            f"The face pack {known.name!r} was not fetched yet.",
            why=f"There is none in {folder}.",
            fix=f"Fetch it once ({known.archive_bytes / 1e6:.0f} MB): "
            f"lora-prep faces fetch {known.name}",
        )
    models = tuple(
        replace(pin, sha256=model.sha256 or pin.sha256)
        for model, pin in zip(known.models, pinned, strict=True)
    )
    return known.at(
        folder,
        (models[0], models[1]),
        f"Fetch it again: lora-prep faces fetch {known.name}",
    )


def _pack_of(folder: Path) -> FacePack:
    """Return the pack that a folder holds: what it says of itself, then what its files are."""
    declaration = read_declaration(folder)
    if _has_manifest(folder):
        pack = _pack_with_manifest(folder)
    else:
        pack = _pack_of_models(folder, declaration.models if declaration else None)
    if declaration is None:
        return pack
    return replace(
        pack,
        **declaration.said(
            "name", "metric", "cut", "detection_threshold", "licence", "noncommercial"
        ),
    )


def _has_manifest(folder: Path) -> bool:
    """Whether insightface itself goes by the folder's manifest.json; of others it takes no note."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("manifest_version") == MANIFEST_VERSION


def _pack_with_manifest(folder: Path) -> FacePack:
    try:
        models = manifest_models(folder)
        ours = manifest_models(OPEN_PACK.folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"The face pack {folder} cannot be used.",
            why=f"Its {MANIFEST} does not name a detector and a recogniser with their hashes "
            f"({type(error).__name__}: {error}).",
            fix="State file and sha256 of tasks.detection and tasks.recognition in it.",
        ) from error
    if [model.sha256 for model in models] == [model.sha256 for model in ours]:
        return replace(OPEN_PACK, folder=folder, remedy=COPY_AGAIN)
    return replace(_unknown_pack(folder), models=None)


def _pack_of_models(folder: Path, declared: ModelPair | None) -> FacePack:
    names = {path.name for path in folder.glob("*.onnx")}
    for known in KNOWN_PACKS.values():
        if declared in (None, known.models) and {model.name for model in known.models} <= names:
            return known.at(
                folder,
                known.models,
                f"The files have the names of {known.name}'s but are others. Copy that pack "
                f"again, or name the files in {PACK_JSON} if they are meant to be others.",
            )
    return replace(_unknown_pack(folder), models=declared or _recognised(folder, sorted(names)))


def _unknown_pack(folder: Path) -> FacePack:
    return FacePack(
        name=folder.name,
        folder=folder,
        metric="cosine",  # what insightface's own recognisers are trained for
        cut=ARCFACE_CUT,
        detection_threshold=SCRFD_THRESHOLD,
        licence=f"{UNSTATED_LICENCE} {INSIGHTFACE_LICENCE}",
        noncommercial=True,
    )


def _recognised(folder: Path, names: list[str]) -> ModelPair:
    """Return the one detector and the one recogniser among the files of a folder."""
    found: dict[str, list[str]] = {"detection": [], "recognition": []}
    for name in names:
        if task := task_of(folder / name):
            found[task].append(name)
    if [len(models) for models in found.values()] != [1, 1]:
        said = (f"{task}: {', '.join(models) or 'none'}" for task, models in found.items())
        raise ConfigurationError(
            f"The face pack {folder} cannot be used.",
            why=f"It must hold one detector and one recogniser, and holds {'; '.join(said)}.",
            fix=f"Name the two in {PACK_JSON} beside them, or leave only them in the folder.",
        )
    return ModelFile(found["detection"][0]), ModelFile(found["recognition"][0])


def task_of(path: Path) -> Literal["detection", "recognition"] | None:
    """Return what insightface would use a model for, by the shapes it goes by; None for others.

    A model that keeps its weights in another file is none: its hash would not cover them.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (OSError, ValueError, DecodeError):
        return None
    if any(weights.data_location == onnx.TensorProto.EXTERNAL for weights in graph.initializer):
        return None
    if len(graph.output) >= MIN_DETECTOR_OUTPUTS:
        return "detection"
    weights_too = {weights.name for weights in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights_too]
    if len(inputs) != 1:
        return None
    sides = [axis.dim_value for axis in inputs[0].type.tensor_type.shape.dim][2:]
    if len(sides) != IMAGE_SIDES or sides[0] != sides[1] or sides[0] in OTHER_SIDES_PX:
        return None
    large = sides[0] >= MIN_RECOGNISER_SIDE_PX and sides[0] % RECOGNISER_STEP_PX == 0
    return "recognition" if large else None
