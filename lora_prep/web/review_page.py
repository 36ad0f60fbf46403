"""What the review page shows: a card for each file, filters, the meter, one photo at large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lora_prep.model import Box, Decision, NoteCode, Reason, ReasonCode, Verdict
from lora_prep.report.text import plural, visible
from pipelines.reviewing import ByHand, Review, can_be_cropped, crop_shown

__all__ = [
    "ALL",
    "Card",
    "Fact",
    "Filter",
    "Large",
    "Meter",
    "Page",
    "facts_of",
    "large_of",
    "page_of",
    "said_of",
]

ALL = "all"
ALIKE, BY_HAND, DOUBTED = "alike", "by-hand", "doubted"
SAYS: dict[str, str] = {
    ALL: "All",
    Decision.KEPT: "Kept",
    Decision.SPARE: "Spare",
    Decision.LEFT_OUT: "Left out",
    BY_HAND: "By hand",
    ALIKE: "Alike",
    DOUBTED: "Somebody else?",
    ReasonCode.NOT_AN_IMAGE: "No image",
    ReasonCode.OVERRIDDEN: "Left out by hand",
    ReasonCode.NOT_CHOSEN: "Not needed",
}
"""Words for filters; of all others the code itself, with spaces."""


@dataclass(frozen=True, slots=True)
class Card:
    """One file in the grid.

    name: its path below the folder, fit to be shown; size: of the upright photo, px, None where it
    cannot be shown; crop: what is cut, or would be; why: the first reason, in words; about: its
    whole sentence with the numbers; by_hand: what was decided; cropped: its crop was given by
    hand; keys: the filters it passes.
    """

    index: int
    name: str
    decision: Decision
    why: str
    about: str
    size: tuple[int, int] | None
    crop: Box | None
    by_hand: ByHand | None
    cropped: bool
    keys: frozenset[str]
    has_face: bool

    @property
    def says(self) -> str:
        """What became of it, in words."""
        return SAYS[self.decision]


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of cards. part: whether it is one of the reasons for leaving out."""

    key: str
    label: str
    count: int
    part: bool = False


@dataclass(frozen=True, slots=True)
class Meter:
    """How far the set is: usable photos of those needed, and how many of them are trained on."""

    usable: int
    needed: int
    kept: int
    at_most: int
    rivals: int

    @property
    def about(self) -> str:
        """What it means, in a sentence."""
        if self.rivals:
            return (
                "Two people are in this folder nearly equally often: it is not clear whose it is."
            )
        if self.usable < self.needed:
            return f"{plural(self.needed - self.usable, 'photo')} more needed."
        if self.usable > self.kept:
            return f"The best and most varied {self.kept} are trained on."
        return f"All {self.kept} are trained on."


@dataclass(frozen=True, slots=True)
class Page:
    """Everything but the photo at large."""

    title: str
    cards: tuple[Card, ...]
    filters: tuple[Filter, ...]
    meter: Meter
    advice: tuple[str, ...]
    can_undo: int

    def shown(self, key: str) -> tuple[Card, ...]:
        """Return the cards that a filter lets pass."""
        return tuple(card for card in self.cards if key in card.keys)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the photo at large, beside its limit where it has one."""

    label: str
    value: str
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Large:
    """One photo at large.

    least, most: side of a crop, px; can_crop: whether it can be changed; against, notes: whole
    sentences; alike: the cards of the photos that are like it, itself among them.
    """

    card: Card
    face: Box | None
    facts: tuple[Fact, ...]
    against: tuple[Fact, ...]
    notes: tuple[Fact, ...]
    least: int
    most: int
    can_crop: bool
    alike: tuple[Card, ...]


def page_of(review: Review) -> Page:
    """Return what the page shows of a review."""
    alike = {index for group in review.alike for index in group}
    verdicts = review.selection.verdicts
    cards = tuple(_card(review, index, index in alike) for index in range(len(verdicts)))
    return Page(
        title=visible(review.looked.folder.resolve().name),
        cards=cards,
        filters=_filters(cards),
        meter=Meter(
            usable=len(review.selection.usable),
            needed=review.selection.needed,
            kept=len(review.selection.kept),
            at_most=review.looked.wanted.at_most,
            rivals=len(review.selection.rivals),
        ),
        advice=review.selection.advice,
        can_undo=len(review.steps),
    )


def large_of(review: Review, page: Page, index: int) -> Large:
    """Return what is shown of one photo at large."""
    verdict = review.verdict(index)
    photo = verdict.photo
    group = next((group for group in review.alike if index in group), ())
    return Large(
        card=page.cards[index],
        face=verdict.face.box if verdict.face else None,
        facts=tuple(_facts(verdict)),
        against=tuple(map(_fact, verdict.reasons)),
        notes=tuple(map(_fact, verdict.notes)),
        least=review.looked.wanted.min_size_px,
        most=min(photo.width_px, photo.height_px) if photo else 0,
        can_crop=can_be_cropped(review, index),
        alike=tuple(page.cards[one] for one in group),
    )


def facts_of(review: Review, index: int) -> tuple[Fact, ...]:
    """Return the numbers by which photos that are alike can be compared."""
    return tuple(_facts(review.verdict(index)))


def said_of(page: Page, index: int) -> str:
    """Return what a screen reader is told after a decision."""
    card, meter = page.cards[index], page.meter
    by_hand = ", by hand" if card.by_hand else ", crop by hand" if card.cropped else ""
    what = f"{card.says}{by_hand}"
    if card.by_hand == "keep" and card.decision is Decision.LEFT_OUT:
        what = f"Left out all the same: {card.about}"
    return f"{card.name}: {what}. {meter.usable} of {meter.needed} needed."


def _card(review: Review, index: int, alike: bool) -> Card:
    verdict, override = review.verdict(index), review.override(index)
    first = next(iter(verdict.reasons), None)
    photo = verdict.photo
    keys = {ALL, verdict.decision.value}
    keys |= {first.code.value} if first else set()
    keys |= {ALIKE} if alike else set()
    keys |= {BY_HAND} if override.verdict or override.crop else set()
    if any(note.code is NoteCode.IDENTITY_DOUBTED for note in verdict.notes):
        keys.add(DOUBTED)
    return Card(
        index=index,
        name=visible(verdict.name),
        decision=verdict.decision,
        why=_words(first.code.value).lower() if first else "",
        about=_sentence(first) if first else "",
        size=(photo.width_px, photo.height_px) if photo else None,
        crop=crop_shown(review, index),
        by_hand=override.verdict,
        cropped=override.crop is not None,
        keys=frozenset(keys),
        has_face=verdict.face is not None,
    )


def _filters(cards: Sequence[Card]) -> tuple[Filter, ...]:
    counts = Counter(key for card in cards for key in card.keys)
    first = [ALL, *(decision.value for decision in Decision)]
    extra = [BY_HAND, ALIKE, DOUBTED]
    reasons = sorted(
        (key for key in counts if key not in {*first, *extra}), key=lambda key: (-counts[key], key)
    )
    return tuple(
        Filter(key, _words(key), counts[key], part=key in reasons)
        for key in (*first, *extra, *reasons)
        if counts[key] or key == ALL
    )


def _words(key: str) -> str:
    return SAYS.get(key) or key.replace("_", " ").capitalize()


def _sentence(reason: Reason) -> str:
    numbers = _fact(reason)
    inside = " ".join(filter(None, (numbers.value, numbers.limit)))
    return f"{visible(reason.hint)}{f' {inside}' if inside else ''}"


def _fact(reason: Reason) -> Fact:
    value = "" if reason.measured is None else f"{reason.measured:g} {reason.unit or ''}".strip()
    limit = "" if reason.limit is None else f"(limit {reason.limit:g})"
    return Fact(visible(reason.hint), value, limit)


def _facts(verdict: Verdict) -> list[Fact]:
    photo, face, measures = verdict.photo, verdict.face, verdict.measures
    facts = []
    if photo:
        facts.append(Fact("Photo", f"{photo.width_px} × {photo.height_px} px"))
        facts.append(Fact("File", f"{_size(photo.size_bytes)}, {photo.format}"))
    if photo and photo.taken_at:
        facts.append(Fact("Taken", f"{photo.taken_at:%Y-%m-%d %H:%M}"))
    if face:
        facts.append(Fact("Face", f"{face.box.height:.0f} px high"))
    if measures:
        facts += [
            Fact("Sharpness", f"{measures.sharpness:.0f}"),
            Fact("Light", f"{measures.luma_median:.0f} of 255"),
            Fact("Turned", f"{abs(measures.yaw_deg):.0f}°"),
        ]
    if verdict.identity_distance is not None:
        facts.append(Fact("Distance to the person", f"{verdict.identity_distance:.2f}"))
    return facts


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
