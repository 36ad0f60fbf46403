"""`report.html`: one file that needs nothing else, can be mailed and opens without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.model import Crop, Decision, Photo, Selection
from lora_prep.report.cards import cards_of, doubted, grouped, people_of
from lora_prep.report.drawing import Fact
from lora_prep.report.pictures import Pictures
from lora_prep.report.text import plural, visible, without_secrets

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

__all__ = ["write_report"]

JOINTS = re.compile(r"(?<=[_/-])(?=\w)|(?<=\w)(?=\.\w+$)")
"""Where a file name may break: behind the marks inside it and before its suffix."""


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
) -> None:
    """Write the page that shows every file of a folder exactly once, with its reasons.

    A kept photo is drawn by its crop where `crops` has one, else by itself. `facts` and `outcome`
    (how it ended, one or more sentences) are shown in the head; paths of the folder and queries of
    URLs are cut out of them. The page has no script, loads nothing and carries no metadata of the
    photos. `preview_of` says where a small picture of a photo lies, if it was made before; without
    it the photo is decoded. It is written beside and renamed, so that `path` is whole or absent.
    """
    pictures = Pictures(preview_of)
    page = _template().generate(
        title=title,
        folder=selection.folder.resolve().name,
        rehearsal=rehearsal,
        verdict=_verdict(selection),
        outcome=without_secrets(outcome or "", selection.folder).splitlines(),
        facts=[Fact(fact.label, without_secrets(fact.value, selection.folder)) for fact in facts],
        counts=_counts(selection),
        doubted=doubted(selection),
        people=people_of(selection, pictures),
        advice=selection.advice,
        kept=cards_of(selection.kept, pictures, crops),
        captions=any(crop.caption for crop in crops),
        spare=cards_of(selection.having(Decision.SPARE), pictures),
        left_out=grouped(selection.having(Decision.LEFT_OUT), pictures),
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
        "breakable": _breakable,
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


def _number(value: float) -> str:
    """Return a number for people: 250,000,000, 21 or 0.312."""
    text = f"{value:,.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _words(code: str) -> str:
    """Return a reason code as a heading: "no_face" is "No face"."""
    return code.replace("_", " ").capitalize()


def _breakable(name: str) -> Markup:
    """Return a file name as HTML that breaks where its parts meet, not before its last letter."""
    from markupsafe import Markup, escape

    return Markup(JOINTS.sub("<wbr>", escape(visible(name))))  # noqa: S704  it is escaped
