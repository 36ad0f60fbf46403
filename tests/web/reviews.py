"""A review of real findings, without the command and without a browser."""

from __future__ import annotations

from pathlib import Path

from lora_prep.inspection import AnalysisCache
from lora_prep.model import Finding
from lora_prep.selection import Person, Wanted, find_person, select_photos
from pipelines.preparing import Looked
from pipelines.reviewing import Review, alike_in
from tests.sample import IDENTITY, SAMPLE_DATA, analyser, findings

__all__ = ["a_review", "a_review_of"]

FOLDER = "nine"


def a_review(file: Path) -> Review:
    """Return the review of sample_data/nine: nine usable photos, a copy, and six faults."""
    return a_review_of(findings(FOLDER), file, SAMPLE_DATA / FOLDER)


def a_review_of(
    seen: tuple[Finding, ...], file: Path, folder: Path = Path("/photos"), *, needed: int = 10
) -> Review:
    wanted = Wanted(needed=needed, at_most=30, identity=IDENTITY)
    person: Person = find_person(seen, IDENTITY)
    selection = select_photos(folder, seen, wanted, person=person)
    pack = analyser()
    looked = Looked(folder, seen, wanted, pack.pack, pack.fingerprint, None)
    return Review(looked, file, person, selection, alike_in(selection))


def pictures(folder: Path) -> AnalysisCache:
    return AnalysisCache(folder, analyser().key)
