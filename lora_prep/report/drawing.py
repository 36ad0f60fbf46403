"""All that a report draws of the photos, kept in a folder: `drawing.json` and `thumbnails/`.

So the report of a run can be drawn anew at any time, by any process, without the photos: they may
be gone, or on another machine. It holds no embedding.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from lora_prep.model import (
    Box,
    Crop,
    Decision,
    Face,
    Framing,
    Measures,
    NoteCode,
    Photo,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)

__all__ = ["Drawing", "Fact", "Scale", "keep_drawing", "read_drawing", "thumbnail_in"]

FILE = "drawing.json"
THUMBNAILS = "thumbnails"
SCHEMA = 1
NOTES = frozenset(code.value for code in NoteCode)


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the report, such as ("Price", "4.00 USD"). It must hold no secret."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Scale:
    """What the plots measure by; None leaves a mark out.

    min_face_px: height below which a face is too small; full_face_px: from which its crop has the
    wanted size; identity_cut: distance beyond which a face is another person's, in the face pack's
    metric.
    """

    min_face_px: int | None = None
    full_face_px: int | None = None
    identity_cut: float | None = None


@dataclass(frozen=True, slots=True)
class Drawing:
    """The verdicts and crops of a folder, and by what they were made.

    settings: lines for people; settings_sha256: what tells one set of them from another.
    """

    selection: Selection
    crops: tuple[Crop, ...] = ()
    scale: Scale = Scale()
    settings: tuple[Fact, ...] = ()
    settings_sha256: str | None = None


def keep_drawing(
    folder: Path, drawing: Drawing, preview_of: Callable[[Photo], Path] | None = None
) -> None:
    """Write a drawing into a folder; preview_of: where a small picture of a photo lies already.

    A preview is linked, not copied, where the file system can. Photos without one are decoded. It
    is written beside and renamed, and the thumbnails come first: what is there is whole.
    """
    thumbnails = folder / THUMBNAILS
    thumbnails.mkdir(mode=0o700, parents=True, exist_ok=True)
    for verdict in drawing.selection.verdicts:
        if verdict.photo:
            _keep_thumbnail(verdict.photo, thumbnails, preview_of)
    photos = drawing.selection.folder.absolute()  # whoever draws it may stand elsewhere
    values = {
        "schema": SCHEMA,
        "selection": {
            **asdict(replace(drawing.selection, folder=photos, verdicts=())),
            "verdicts": [asdict(_bare(verdict)) for verdict in drawing.selection.verdicts],
        },
        "crops": [_crop_to_json(crop, folder) for crop in drawing.crops],
        "scale": asdict(drawing.scale),
        "settings": [asdict(fact) for fact in drawing.settings],
        "settings_sha256": drawing.settings_sha256,
    }
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(values, default=str), encoding="utf-8")
    part.replace(folder / FILE)


def read_drawing(folder: Path) -> Drawing | None:
    """Return the drawing of a folder; None where there is none, or none that can be read."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        selection = values["selection"]
        photos = Path(selection["folder"])
        return Drawing(
            selection=Selection(
                folder=photos,
                needed=selection["needed"],
                verdicts=tuple(_verdict(one, photos) for one in selection["verdicts"]),
                advice=tuple(selection["advice"]),
                rivals=tuple(selection["rivals"]),
            ),
            crops=tuple(_crop(one, folder) for one in values["crops"]),
            scale=Scale(**values["scale"]),
            settings=tuple(Fact(**one) for one in values["settings"]),
            settings_sha256=values["settings_sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError):  # of another version, or cut off
        return None


def thumbnail_in(folder: Path, photo: Photo) -> Path:
    """Return where the small picture of a photo lies in the folder of a drawing."""
    return folder / THUMBNAILS / f"{photo.sha256}.jpg"


# ── parts ──────────────────────────────────────────────────────────────────────────────────────


def _keep_thumbnail(
    photo: Photo, thumbnails: Path, preview_of: Callable[[Photo], Path] | None
) -> None:
    from lora_prep.report.pictures import thumbnail_of

    target = thumbnails / f"{photo.sha256}.jpg"
    if target.exists():
        return
    if preview_of:
        with suppress(OSError):
            try:
                os.link(preview_of(photo), target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(preview_of(photo), target)
            return
    if data := thumbnail_of(photo):
        target.write_bytes(data)


def _bare(verdict: Verdict) -> Verdict:
    """Return the verdict without what is not drawn: the embedding says who somebody is."""
    photo, face = verdict.photo, verdict.face
    return replace(
        verdict,
        photo=replace(photo, path=Path()) if photo else None,  # its name below the folder is there
        face=replace(face, embedding=()) if face else None,
    )


def _crop_to_json(crop: Crop, folder: Path) -> dict[str, Any]:
    places = {name: os.path.relpath(getattr(crop, name), folder) for name in ("path", "preview")}
    return {**asdict(crop), **places}  # the folder may be moved


def _crop(values: Mapping[str, Any], folder: Path) -> Crop:
    places = {name: folder / values[name] for name in ("path", "preview")}
    return Crop(**{**values, **places, "box": Box(**values["box"])})


def _verdict(values: Mapping[str, Any], photos: Path) -> Verdict:
    photo, face, measures = values["photo"], values["face"], values["measures"]
    return Verdict(
        name=values["name"],
        decision=Decision(values["decision"]),
        reasons=_reasons(values["reasons"]),
        photo=_photo(photo, photos) if photo else None,
        face=_face(face) if face else None,
        measures=Measures(**measures) if measures else None,
        identity_distance=values["identity_distance"],
        framing=Framing(values["framing"]) if values["framing"] else None,
        crop=Box(**values["crop"]) if values["crop"] else None,
        notes=_reasons(values["notes"]),
    )


def _reasons(values: Sequence[Mapping[str, Any]]) -> tuple[Reason, ...]:
    return tuple(Reason(**{**one, "code": _code(one["code"])}) for one in values)


def _code(value: str) -> ReasonCode | NoteCode:
    return NoteCode(value) if value in NOTES else ReasonCode(value)


def _photo(values: Mapping[str, Any], photos: Path) -> Photo:
    taken_at = values["taken_at"]
    moment = datetime.fromisoformat(taken_at) if taken_at else None
    return Photo(**{**values, "path": photos / values["name"], "taken_at": moment})


def _face(values: Mapping[str, Any]) -> Face:
    landmarks = tuple((x, y) for x, y in values["landmarks"])
    return Face(Box(**values["box"]), values["score"], landmarks)
