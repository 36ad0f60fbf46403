"""From a folder to a selection and its crops: the settings meet the rooms here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_prep.bundle import read_captions
from lora_prep.cropping import crop_photos
from lora_prep.errors import ConfigurationError
from lora_prep.events import Event, Listener, ignore
from lora_prep.faces import FaceAnalyser, FacePack, find_pack
from lora_prep.framing import FRAMINGS, smallest_face_px
from lora_prep.inspection import AnalysisCache, Limits, inspect_photos
from lora_prep.model import Crop, Finding, Framing, Selection
from lora_prep.photos import FoundFile, find_photos, free_buffers
from lora_prep.report import Drawing, Fact, Scale, keep_drawing, write_contact_sheet
from lora_prep.selection import (
    Identity,
    Override,
    Wanted,
    overrides_path,
    read_overrides,
    select_photos,
)
from lora_prep.settings import Settings, home_folder
from lora_prep.workers import free_memory
from pipelines.runs import Run

__all__ = [
    "Inspected",
    "Looked",
    "crop_selection",
    "inspect_folder",
    "keep_for_report",
    "look_at_folder",
    "overrides_file",
]

CACHE = "cache"


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in a folder, and all else that the choice depends on.

    cache: None when it is switched off.
    """

    folder: Path
    findings: tuple[Finding, ...]
    wanted: Wanted
    pack: FacePack
    pack_sha256: str
    cache: AnalysisCache | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """A selection with what it was made by. cache: None when it is switched off."""

    selection: Selection
    pack: FacePack
    pack_sha256: str
    overrides: dict[str, Override]
    cache: AnalysisCache | None

    def to_manifest(self) -> dict[str, Any]:
        """Return what the manifest says of the face pack and of decisions made by hand."""
        decided = {
            key: {"verdict": one.verdict, "crop": one.crop and one.crop.to_json()}
            for key, one in self.overrides.items()
        }
        pack = {"name": self.pack.name, "licence": self.pack.licence, "sha256": self.pack_sha256}
        return {"face_pack": pack, "overrides": decided}


def inspect_folder(folder: Path, settings: Settings, on_event: Listener = ignore) -> Inspected:
    """Judge every file of a folder and choose the set.

    Raises:
        NotAPhotoFolder, NoPhotos: there is nothing to judge.
        ConfigurationError: the overrides or the reference photo cannot be used.
        MissingDependency: insightface or a system library is missing.
    """
    overrides = _overrides(folder, settings)
    looked = look_at_folder(folder, settings, overrides, on_event)
    selection = select_photos(folder, looked.findings, looked.wanted)
    _tell_of_unknown(overrides, selection, on_event)
    return Inspected(selection, looked.pack, looked.pack_sha256, overrides, looked.cache)


def look_at_folder(
    folder: Path,
    settings: Settings,
    overrides: Mapping[str, Override],
    on_event: Listener = ignore,
) -> Looked:
    """Look at every file of a folder, and choose nothing yet.

    Raises:
        NotAPhotoFolder, NoPhotos: there is nothing to look at.
        ConfigurationError: the reference photo cannot be used.
        MissingDependency: insightface or a system library is missing.
    """
    wanted = settings.dataset
    framing = Framing(wanted.framing)
    files = find_photos(folder, skip=home_folder())
    faces = settings.faces
    analyser = FaceAnalyser(
        find_pack(faces.pack, home_folder(), accept_noncommercial=faces.accept_noncommercial)
    )
    cache = None
    if wanted.cache:
        cache = AnalysisCache(home_folder() / CACHE, analyser.key)
        cache.prune()
    limits = Limits(smallest_face_px(wanted.min_size, framing), wanted.min_size)
    identity = None
    if wanted.identity:
        reference = _reference(wanted.reference, analyser, limits, cache)
        identity = Identity(analyser.pack.metric, analyser.pack.cut, reference)
    findings = inspect_photos(
        files, analyser, limits, cache=cache, workers=wanted.workers, on_event=on_event
    )
    asked = Wanted(
        needed=wanted.min_images,
        at_most=wanted.max_images,
        framing=framing,
        min_size_px=wanted.min_size,
        identity=identity,
        overrides=overrides,
    )
    return Looked(folder, findings, asked, analyser.pack, analyser.fingerprint, cache)


def overrides_file(folder: Path, settings: Settings) -> Path:
    """Return where decisions by hand on a folder's photos are kept."""
    if settings.dataset.overrides:
        return Path(settings.dataset.overrides)
    return overrides_path(home_folder(), folder)


def crop_selection(
    run: Run, inspected: Inspected, settings: Settings, on_event: Listener = ignore
) -> tuple[Crop, ...]:
    """Crop the kept photos, of a set that is too small the usable ones; draw the contact sheet.

    Raises:
        CaptionInvalid: captions are asked for and some cannot be used.
    """
    selection, wanted = inspected.selection, settings.dataset
    shown = selection.kept or selection.usable
    captions = {}
    if wanted.captions and selection.kept:
        photos = [verdict.photo for verdict in shown if verdict.photo]
        captions = read_captions(photos, settings.trainer.trigger_word)
        message = f"{len(captions)} of {len(photos)} photos have a caption"
        on_event(Event("prepare", message, kind="note"))
    free_memory()  # the models are not needed any more, and whole photos are decoded now
    crops = crop_photos(
        shown,
        run.path / "crops",
        size_px=wanted.size,
        captions=captions,
        cache=home_folder() / CACHE / "crops" if inspected.cache else None,
        workers=wanted.workers,
        on_event=on_event,
    )
    free_buffers()
    free_memory()
    title = selection.folder.resolve().name
    write_contact_sheet(
        run.path / "contact_sheet.jpg",
        crops,
        title=title,
        settings_sha256=_settings_sha256(inspected, settings),
    )
    return crops


def keep_for_report(
    run: Run, inspected: Inspected, crops: Sequence[Crop], settings: Settings
) -> None:
    """Keep what the report draws of the photos in the run's folder: whoever ends it draws it."""
    wanted, pack = settings.dataset, inspected.pack
    framing = Framing(wanted.framing)
    usual = Framing.HEAD_AND_SHOULDERS if framing is Framing.MIXED else framing
    scale = Scale(
        min_face_px=smallest_face_px(wanted.min_size, framing),
        full_face_px=round(wanted.size / FRAMINGS[usual]),
        identity_cut=pack.cut if wanted.identity else None,
    )
    sha256 = _settings_sha256(inspected, settings)
    lines = (
        Fact("Framing", wanted.framing),
        Fact("Crops", f"{wanted.size} px, none below {wanted.min_size} px"),
        Fact("Photos", f"{wanted.min_images} needed, {wanted.max_images} kept at most"),
        Fact("Person", _who(settings)),
        Fact("Captions", "the text beside each photo" if wanted.captions else "none"),
        Fact("Face pack", f"{pack.name} ({pack.licence})"),
        *(
            [Fact("By hand", f"{len(inspected.overrides)} decisions")]
            if inspected.overrides
            else ()
        ),
        Fact("Settings hash", sha256[:12]),
    )
    keep_drawing(
        run.path,
        Drawing(inspected.selection, tuple(crops), scale, lines, sha256),
        inspected.cache.preview if inspected.cache else None,
    )


def _who(settings: Settings) -> str:
    if not settings.dataset.identity:
        return "not compared"
    return "of the reference photo" if settings.dataset.reference else "the one most photos show"


def _settings_sha256(inspected: Inspected, settings: Settings) -> str:
    """Return what tells one way of judging and cropping from another, wherever the files lie."""
    places = {"workers", "cache", "reference", "overrides"}
    what = {
        "dataset": settings.dataset.model_dump(exclude=places),
        "reference": settings.dataset.reference is not None,
        **inspected.to_manifest(),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _overrides(folder: Path, settings: Settings) -> dict[str, Override]:
    named = settings.dataset.overrides is not None
    return read_overrides(overrides_file(folder, settings), needed=named)


def _reference(
    path: str | None, analyser: FaceAnalyser, limits: Limits, cache: AnalysisCache | None
) -> tuple[float, ...] | None:
    """Return the embedding of the one face in the reference photo."""
    if path is None:
        return None
    photo = Path(path).expanduser()
    (finding,) = inspect_photos(
        [FoundFile(photo.name, photo)], analyser, limits, cache=cache, workers=1
    )
    embeddings = [face.face.embedding for face in finding.faces if face.face.embedding]
    if len(embeddings) == 1:
        return embeddings[0]
    reasons = [*finding.reasons, *(reason for face in finding.faces for reason in face.reasons)]
    raise ConfigurationError(
        f"The reference photo {photo} does not show whom you mean.",
        why=reasons[0].hint if reasons else f"It shows {len(embeddings)} people.",
        fix="Give a sharp photo of that person alone.",
    )


def _tell_of_unknown(
    overrides: dict[str, Override], selection: Selection, on_event: Listener
) -> None:
    known = {verdict.photo.sha256 for verdict in selection.verdicts if verdict.photo}
    if unknown := len(set(overrides) - known):
        photos = "photo that is" if unknown == 1 else "photos that are"
        message = f"the overrides name {unknown} {photos} not in this folder"
        on_event(Event("prepare", message, kind="warning"))
