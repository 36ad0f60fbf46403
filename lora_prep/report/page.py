"""`report.html`: one file that needs nothing else, can be mailed and opens without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.model import Crop, Decision, Reason, Selection, Verdict
from lora_prep.photos import UnreadablePhoto, open_upright
from lora_prep.report.text import plural, visible, without_secrets

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Fact", "write_report"]

THUMBNAIL_SIDE_PX = 320
"""Longer side of an embedded picture: twice the width of a card, for dense screens."""

THUMBNAIL_QUALITY = 80
"""JPEG quality: 10 to 20 kB a picture, so that 60 photos stay far below 5 MB."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the report's head, such as ("Price", "4.00 USD"). It must hold no secret."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class _Card:
    """One file as the page draws it.

    file: its name below the folder; crop: neutral name of its training picture; measures: sizes
    in words; thumbnail: a data: URI, None where the file cannot be shown.
    """

    file: str
    crop: str | None
    measures: tuple[str, ...]
    reasons: tuple[Reason, ...]
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class _Group:
    """The photos that were left out for the same first reason. code: None if none was given."""

    code: str | None
    cards: tuple[_Card, ...]


def write_report(
    path: Path,
    selection: Selection,
    crops: Sequence[Crop] = (),
    facts: Sequence[Fact] = (),
    *,
    title: str,
    rehearsal: bool = False,
    outcome: str | None = None,
) -> None:
    """Write the page that shows every file of a folder exactly once, with its reasons.

    A kept photo is drawn by its crop where `crops` has one, else by itself. `facts` and `outcome`
    (how it ended, one or more sentences) are shown in the head; paths of the folder and queries of
    URLs are cut out of them. The page has no script, loads nothing and carries no metadata of the
    photos. It is written beside and renamed, so that `path` is whole or absent.
    """
    crop_of = {crop.source: crop for crop in crops}
    page = _template().render(
        title=title,
        folder=selection.folder.resolve().name,
        rehearsal=rehearsal,
        enough=len(selection.usable) >= selection.needed,
        verdict=_verdict_sentence(selection),
        outcome=without_secrets(outcome or "", selection.folder).splitlines(),
        facts=[Fact(fact.label, without_secrets(fact.value, selection.folder)) for fact in facts],
        counts=_counts(selection),
        kept=[_card(verdict, crop_of.get(verdict.name)) for verdict in selection.kept],
        spare=[_card(verdict, None) for verdict in selection.having(Decision.SPARE)],
        left_out=_grouped(selection.having(Decision.LEFT_OUT)),
    )
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8", newline="\n")
    part.replace(path)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lora_prep.report"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "words": _words}
    return environment.get_template("report.html")


def _finalize(value: Any) -> Any:
    """Make plain text visible just before it is escaped; what is HTML already stays as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _verdict_sentence(selection: Selection) -> str:
    usable, found = len(selection.usable), len(selection.verdicts)
    only = "" if usable >= selection.needed else "Only "
    are = "is" if usable == 1 else "are"
    needed = f"{selection.needed} {'is' if selection.needed == 1 else 'are'} needed"
    return f"{only}{usable} of {plural(found, 'file')} {are} usable; {needed}."


def _counts(selection: Selection) -> list[tuple[str, int]]:
    return [
        ("usable", len(selection.usable)),
        ("needed", selection.needed),
        ("kept", len(selection.kept)),
        ("spare", len(selection.having(Decision.SPARE))),
        ("left out", len(selection.having(Decision.LEFT_OUT))),
    ]


def _grouped(left_out: Sequence[Verdict]) -> list[_Group]:
    """Group by the first reason; the largest group first."""
    groups: dict[str | None, list[_Card]] = {}
    for verdict in left_out:
        code = verdict.reasons[0].code.value if verdict.reasons else None
        groups.setdefault(code, []).append(_card(verdict, None))
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0] or ""))
    return [_Group(code, tuple(cards)) for code, cards in ordered]


def _card(verdict: Verdict, crop: Crop | None) -> _Card:
    photo, face = verdict.photo, verdict.face
    measures = []
    if crop:
        measures.append(f"crop {crop.size_px} × {crop.size_px} px")
    elif photo:
        measures.append(f"{photo.width_px} × {photo.height_px} px")
    if face:
        face_px = round(face.box.height)
        measures.append(f"face {face_px} px in photo" if crop else f"face {face_px} px high")
    shown = crop or photo
    return _Card(
        file=verdict.name,
        crop=crop.name if crop else None,
        measures=tuple(measures),
        reasons=verdict.reasons,
        thumbnail=_thumbnail(shown.path) if shown else None,
    )


def _thumbnail(path: Path) -> str | None:
    """Return the picture as a small data: URI without metadata, None if it cannot be read."""
    try:
        image = open_upright(path, max_side_px=THUMBNAIL_SIDE_PX)
    except UnreadablePhoto:
        return None
    out = io.BytesIO()
    image.save(out, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def _number(value: float) -> str:
    """Return a number for people: 250,000,000, 21 or 0.312."""
    text = f"{value:,.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _words(code: str) -> str:
    """Return a reason code as a heading: "no_face" is "No face"."""
    return code.replace("_", " ").capitalize()
