"""One finding per file: the photo, its faces, and every reason against them.

A photo that is left out is a finding with its measured number and its limit, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_prep.events import Event, Listener, ignore
from lora_prep.faces import FaceAnalyser
from lora_prep.inspection.analysis import Analysis, analyse_photo
from lora_prep.inspection.cache import AnalysisCache
from lora_prep.inspection.judge import judge
from lora_prep.inspection.thresholds import Limits
from lora_prep.model import Finding, Reason
from lora_prep.photos import FoundFile, UnreadablePhoto, read_photo
from lora_prep.workers import side_by_side

__all__ = ["inspect_photos"]


def inspect_photos(
    files: Sequence[FoundFile],
    analyser: FaceAnalyser,
    limits: Limits,
    *,
    cache: AnalysisCache | None = None,
    workers: int = 0,
    on_event: Listener = ignore,
) -> tuple[Finding, ...]:
    """Return one finding per file, in the same order, whatever the number of workers is.

    workers: photos looked at side by side; 0 is one per core. With a `cache`, what was looked at
    before is not decoded again.
    """
    seen = side_by_side(
        lambda file: _analyse(file, analyser, cache),
        files,
        workers=workers,
        on_done=lambda done: on_event(
            Event("prepare", "looking at photos", done=done, total=len(files))
        ),
    )
    return tuple(_finding(file, what, limits) for file, what in zip(files, seen, strict=True))


def _analyse(
    file: FoundFile, analyser: FaceAnalyser, cache: AnalysisCache | None
) -> Analysis | Reason:
    try:
        photo = read_photo(file)
        if cache and (known := cache.get(photo)):
            return known
        analysis, copy = analyse_photo(photo, analyser)
    except UnreadablePhoto as unreadable:
        return unreadable.reason
    if cache:
        cache.put(analysis, copy)
    return analysis


def _finding(file: FoundFile, seen: Analysis | Reason, limits: Limits) -> Finding:
    if isinstance(seen, Reason):
        return Finding(file.name, None, (), (seen,))
    return judge(file.name, seen, limits)
