"""Decide about photos by hand: what a review knows, and what a decision changes.

    review = open_review(Path("photos"), settings)
    review = decide(review, 3, "leave_out")           # saved; the choice is made anew
    review, index = undo(review)                      # as it was

A review is a value: every function returns another one. Each decision is saved at once, in the
overrides file that `run` obeys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from lora_prep.errors import ConfigurationError
from lora_prep.events import Listener, ignore
from lora_prep.framing import FRAMINGS, crop_box
from lora_prep.model import Box, Framing, Selection, Verdict
from lora_prep.selection import (
    Override,
    Person,
    find_person,
    read_overrides,
    select_photos,
    write_override,
)
from lora_prep.settings import Settings, load_settings
from pipelines.preparing import Looked, look_at_folder, overrides_file
from pipelines.runs import Run
from pipelines.sources import is_in_a_bucket
from pipelines.steps import Sections, as_opened

__all__ = [
    "ByHand",
    "Review",
    "alike_in",
    "can_be_cropped",
    "crop_shown",
    "decide",
    "fitted",
    "folder_of",
    "open_review",
    "recrop",
    "settings_of",
    "undo",
]

ByHand = Literal["keep", "leave_out"]


@dataclass(frozen=True, slots=True)
class Step:
    """One decision, to be taken back: the photo's index, and what the file said of it before."""

    index: int
    before: Override


@dataclass(frozen=True, slots=True)
class Review:
    """A folder under review.

    file: where decisions are kept; person: who it is, which no decision changes; selection: a
    verdict for every file, in the folder's order; an index is a place in it; alike: photos that
    repeat one another, whatever is decided; steps: what can be taken back, the last one first.
    """

    looked: Looked
    file: Path
    person: Person | None
    selection: Selection
    alike: tuple[tuple[int, ...], ...] = ()
    steps: tuple[Step, ...] = ()

    def verdict(self, index: int) -> Verdict:
        """Return the verdict on one file."""
        return self.selection.verdicts[index]

    def override(self, index: int) -> Override:
        """Return what was decided by hand about one file."""
        photo = self.verdict(index).photo
        return self.overrides.get(photo.sha256, Override()) if photo else Override()

    @property
    def overrides(self) -> Mapping[str, Override]:
        """All decisions by hand, also on photos that are not in this folder, by their SHA-256."""
        return self.looked.wanted.overrides


def open_review(folder: Path, settings: Settings, on_event: Listener = ignore) -> Review:
    """Look at every photo of a folder, and at what was decided before.

    Raises:
        NotAPhotoFolder, NoPhotos: there is nothing to review.
        ConfigurationError: the overrides or the reference photo cannot be used.
        MissingDependency: insightface or a system library is missing.
    """
    file = overrides_file(folder, settings)
    looked = look_at_folder(folder, settings, read_overrides(file), on_event)
    identity = looked.wanted.identity
    person = find_person(looked.findings, identity) if identity else None
    by_measure = replace(looked, wanted=replace(looked.wanted, overrides={}))
    groups = alike_in(_chosen(by_measure, person))
    return Review(looked, file, person, _chosen(looked, person), groups)


def decide(review: Review, index: int, verdict: ByHand | None) -> Review:
    """Keep a photo, leave it out, or let the measures decide again (None).

    Raises:
        ConfigurationError: somebody else changed the file, and it cannot be read any more.
        OSError: it cannot be written.
    """
    return _decided(review, index, replace(review.override(index), verdict=verdict))


def recrop(review: Review, index: int, box: Box | None) -> Review:
    """Give a photo's crop by hand; None: as it was found. The box is fitted into the picture.

    Raises:
        ConfigurationError, OSError: as `decide`.
    """
    fitting = fitted(review, index, box) if box else None
    return _decided(review, index, replace(review.override(index), crop=fitting))


def undo(review: Review) -> tuple[Review, int | None]:
    """Take the last decision of this review back; return whose it was, None: there is none.

    Raises:
        ConfigurationError, OSError: as `decide`.
    """
    if not review.steps:
        return review, None
    last, *rest = review.steps
    undone = _decided(review, last.index, last.before)
    return replace(undone, steps=tuple(rest)), last.index


def fitted(review: Review, index: int, box: Box) -> Box | None:
    """Return the square nearest to `box` that can be cut: whole pixels, inside the picture.

    It is as large as a crop must be at least and shows the middle of the face. None: there is no
    such square, or no face.
    """
    verdict = review.verdict(index)
    photo, face = verdict.photo, verdict.face
    if photo is None or face is None or not can_be_cropped(review, index):
        return None
    least, most = review.looked.wanted.min_size_px, min(photo.width_px, photo.height_px)
    side = min(max(round(box.width), least), most)
    middle_x, middle_y = face.box.x + face.box.width / 2, face.box.y + face.box.height / 2
    left = _start(box.x, side, middle_x, photo.width_px)
    top = _start(box.y, side, middle_y, photo.height_px)
    return Box(left, top, side, side)


def can_be_cropped(review: Review, index: int) -> bool:
    """Whether a photo has a face and room for the smallest crop."""
    photo = review.verdict(index).photo
    if photo is None or review.verdict(index).face is None:
        return False
    return min(photo.width_px, photo.height_px) >= review.looked.wanted.min_size_px


def crop_shown(review: Review, index: int) -> Box | None:
    """Return the square that is cut, or for a photo that is left out the one that would be."""
    verdict, by_hand = review.verdict(index), review.override(index).crop
    if verdict.crop or by_hand:
        return verdict.crop or (fitted(review, index, by_hand) if by_hand else None)
    photo, face = verdict.photo, verdict.face
    if photo is None or face is None or not can_be_cropped(review, index):
        return None
    asked = review.looked.wanted.framing
    framing = Framing.HEAD_AND_SHOULDERS if asked is Framing.MIXED else asked
    return fitted(review, index, _usual(face.box, photo.width_px, photo.height_px, framing))


def folder_of(run: Run) -> Path:
    """Return the folder of photos that a run was made from.

    Raises:
        ConfigurationError: it is not known, or it is a prefix of a bucket.
    """
    record = run.record()
    folder = (record.get("opened") or {}).get("folder")
    folder = folder or (record.get("inspection") or {}).get("folder")
    if not folder or is_in_a_bucket(folder):
        raise ConfigurationError(
            f"The photos of the run {run.id} cannot be reviewed.",
            why="They lie in a bucket." if folder else "Its record does not say where they lie.",
            fix="Give a folder of this machine: lora-prep review FOLDER",
        )
    return Path(folder)


def settings_of(run: Run, sections: Sections) -> Settings:
    """Return the settings that a run judged its photos by, below those that are given now."""
    return load_settings(as_opened(run, sections))


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _decided(review: Review, index: int, override: Override) -> Review:
    photo, before = review.verdict(index).photo, review.override(index)
    if photo is None or override == before:
        return review
    overrides = write_override(review.file, photo.sha256, override, file=photo.name)
    looked = replace(review.looked, wanted=replace(review.looked.wanted, overrides=overrides))
    return replace(
        review,
        looked=looked,
        selection=_chosen(looked, review.person),
        steps=(Step(index, before), *review.steps),
    )


def _chosen(looked: Looked, person: Person | None) -> Selection:
    return select_photos(looked.folder, looked.findings, looked.wanted, person=person)


def alike_in(selection: Selection) -> tuple[tuple[int, ...], ...]:
    """Return the groups of photos that repeat one another, each in the folder's order."""
    places = {verdict.name: place for place, verdict in enumerate(selection.verdicts)}
    group_of = {place: {place} for place in places.values()}
    for verdict in selection.verdicts:
        for reason in (*verdict.reasons, *verdict.notes):
            if reason.of in places:
                both = group_of[places[verdict.name]] | group_of[places[reason.of]]
                group_of.update(dict.fromkeys(both, both))
    groups = {tuple(sorted(group)) for group in group_of.values() if len(group) > 1}
    return tuple(sorted(groups))


@lru_cache(maxsize=10_000)  # of a folder of hundreds asked after every decision
def _usual(face: Box, width_px: int, height_px: int, framing: Framing) -> Box:
    """Return the square around a face as if it were alone in the picture."""
    side = FRAMINGS[framing] * face.height
    found = crop_box(face, width_px, height_px, framing)
    return found or replace(face, width=side, height=side)


def _start(wanted: float, side: int, middle: float, length_px: int) -> int:
    """Return where a square begins on one axis: inside the picture, over the middle of the face."""
    first = max(0, math.floor(middle - side) + 1)
    last = min(length_px - side, math.ceil(middle) - 1)
    return max(0, min(max(round(wanted), first), max(first, last), length_px - side))
