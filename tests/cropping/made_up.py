"""Photos on disk with a square that somebody wants cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_prep.model import Box, Decision, Framing, Verdict
from lora_prep.photos import FoundFile, read_photo
from tests.photos.pictures import colourful


def verdict_on(path: Path, box: Box) -> Verdict:
    photo = read_photo(FoundFile(path.name, path))
    framing = Framing.HEAD_AND_SHOULDERS
    return Verdict(path.name, Decision.KEPT, (), photo, framing=framing, crop=box)


def made_up(path: Path, size: tuple[int, int], box: Box, seed: int = 1, **options: Any) -> Verdict:
    """A soft, colourful picture."""
    colourful(*size, seed=seed).save(path, quality=98, **options)
    return verdict_on(path, box)


def several(folder: Path, count: int = 5) -> list[Verdict]:
    """As many photos, each with its own square."""
    return [
        made_up(
            folder / f"{number}.jpg",
            (900 + 10 * number, 700),
            Box(20 * number, 10 * number, 600, 600),
            seed=number,
        )
        for number in range(count)
    ]
