"""`report.html`: one file that needs nothing else, can be mailed and opens without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.model import Crop, Decision, Photo, Selection
from lora_prep.report.cards import Album, doubted, outliers
from lora_prep.report.drawing import Fact, Scale
from lora_prep.report.pictures import Pictures
from lora_prep.report.plots import coverage, identity_strip
from lora_prep.report.text import breakable, plural, visible, without_secrets

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["StageTime", "write_report"]


MOST_PIPS = 60
"""Squares of the meter at most: one for each usable photo."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long one stage of a run took, s, and when it began; None where nobody noted it."""

    stage: str
    seconds: float | None
    began: datetime | None = None


def write_report(
    path: Path,
    selection: Selection,
    crops: Sequence[Crop] = (),
    facts: Sequence[Fact] = (),
    *,
    title: str,
    rehearsal: bool = False,
    outcome: str | None = None,
    preview_of: Callable[[Photo], Path] | None = None,
    settings: Sequence[Fact] = (),
    scale: Scale = Scale(),  # noqa: B008  frozen
    stages: Sequence[StageTime] = (),
    loras: Sequence[Sequence[Fact]] = (),
) -> None:
    """Write the page that shows every file of a folder exactly once, with its reasons.

    A kept photo is drawn by its crop where `crops` has one, beside the whole photo with the face
    box, the five points and the square that was cut. `facts`, `settings` and `outcome` (how it
    ended, one or more sentences) are shown in the head, `loras` and `stages` at the end; paths and
    queries of URLs are cut out of them. `scale` has the limits of the plots. The page has no
    script, loads nothing and carries no metadata of the photos. `preview_of` says where a small
    picture of a photo lies, if it was made before; without it the photo is decoded. It is written
    beside and renamed, so that `path` is whole or absent.
    """
    album = Album(selection, crops, Pictures(preview_of))

    def told(facts: Sequence[Fact]) -> list[Fact]:
        return [Fact(one.label, without_secrets(one.value, selection.folder)) for one in facts]

    page = _template().generate(
        title=title,
        folder=selection.folder.resolve().name,
        rehearsal=rehearsal,
        verdict=_verdict(selection),
        outcome=without_secrets(outcome or "", selection.folder).splitlines(),
        facts=told(facts),
        settings=told(settings),
        counts=_counts(selection),
        pips=_pips(selection),
        doubted=doubted(selection),
        people=album.people,
        plots=coverage(selection, scale),
        distances=identity_strip(selection, scale),
        outliers=outliers(selection),
        advice=selection.advice,
        kept=album.kept,
        captions=any(crop.caption for crop in crops),
        spare=album.spare,
        left_out=album.left_out,
        stages=stages,
        longest_s=max((stage.seconds or 0 for stage in stages), default=0) or 1,
        loras=[told(lora) for lora in loras],
    )
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(page)
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
    environment.filters |= {
        "breakable": breakable,
        "capitalised": lambda text: text[:1].upper() + text[1:],
        "duration": _duration,
        "moment": _moment,
        "number": _number,
        "plural": plural,
        "words": _words,
    }
    return environment.get_template("report.html")


def _finalize(value: Any) -> Any:
    """Make plain text visible just before it is escaped; what is HTML already stays as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _verdict(selection: Selection) -> tuple[str, str]:
    """Return whether it is a set, as a word of the style sheet and as a sentence."""
    if selection.rivals:
        return "two-people", "Two people: it is not clear whose set this is."
    usable, found = len(selection.usable), len(selection.verdicts)
    enough = usable >= selection.needed
    are = "is" if usable == 1 else "are"
    needed = f"{selection.needed} {'is' if selection.needed == 1 else 'are'} needed"
    sentence = f"{usable} of {plural(found, 'file')} {are} usable; {needed}."
    return ("enough", sentence) if enough else ("too-few", f"Only {sentence}")


def _counts(selection: Selection) -> list[tuple[str, int]]:
    return [
        ("usable", len(selection.usable)),
        ("needed", selection.needed),
        ("kept", len(selection.kept)),
        ("spare", len(selection.having(Decision.SPARE))),
        ("left out", len(selection.having(Decision.LEFT_OUT))),
    ]


def _pips(selection: Selection) -> list[str]:
    """Return the squares of the meter: one for each usable photo, and for each that is missing."""
    usable = min(len(selection.usable), MOST_PIPS)
    needed = min(selection.needed, MOST_PIPS)
    return [
        ("more" if number >= needed else "usable") if number < usable else "missing"
        for number in range(max(usable, needed))
    ]


def _duration(seconds: float) -> str:
    """Return a time for people: 0.43 s, 12 s, 3 min 20 s or 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.095 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def _moment(moment: datetime) -> str:
    """Return a time of day, in UTC: a report is read anywhere."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _number(value: float) -> str:
    """Return a number for people: 250,000,000, 21 or 0.312."""
    text = f"{value:,.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _words(code: str) -> str:
    """Return a reason code as a heading: "no_face" is "No face"."""
    return code.replace("_", " ").capitalize()
