"""Analyses that were made before, so that a second run of a folder costs next to nothing.

Keyed by the photo's content, the face pack and what the analysis itself depends on; a name or a
folder is no part of it. One file per photo, written beside and renamed: several commands may use
a cache at once. An entry that cannot be read is dropped and made anew. The folder may be deleted
at any time; it holds embeddings and small pictures of faces, so only its owner can read it.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.inspection.analysis import Analysis
from lora_prep.model import Photo
from lora_prep.photos import open_upright

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["AnalysisCache"]

VERSION = 2
"""Raised with every change of what an analysis holds or of how it is measured."""

PREVIEW_SIDE_PX = 320
"""Longer side at least of the picture in the report: twice a card's width, for dense screens."""

PREVIEW_QUALITY = 80
"""JPEG quality: 10 to 20 kB a picture, so that a report of 60 photos stays far below 5 MB."""

END_OF_JPEG = b"\xff\xd9"

UNUSED_DAYS = 90
"""An entry that nothing asked for in this time is deleted."""


class AnalysisCache:
    """A folder of analyses and previews for one face pack."""

    def __init__(self, folder: Path, analyser_key: str) -> None:
        """Open or make the folder; `analyser_key` says what finds the faces: `FaceAnalyser.key`."""
        self._folder = folder
        self._settings = hashlib.sha256(f"{VERSION} {analyser_key}".encode()).hexdigest()[:16]
        with suppress(OSError):  # a cache that cannot be kept is no reason to fail
            for part in (folder, *(folder / name for name in ("analyses", "previews", "views"))):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, photo: Photo) -> Analysis | None:
        """Return the analysis of a photo with the same bytes, None when there is none."""
        path = self._path(photo)
        try:
            seal, _, text = path.read_bytes().partition(b"\n")
            if seal != _seal(text):  # a changed digit would be JSON all the same
                raise ValueError("the entry is damaged")
            analysis: Analysis = _adapter().validate_json(text)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # pydantic's ValidationError is a ValueError
            with suppress(OSError):
                path.unlink()
            return None
        if analysis.photo.sha256 != photo.sha256 or not self.preview(photo).exists():
            return None
        with suppress(OSError):  # a cache that may only be read is of use too
            for used in (path, self.preview(photo)):
                os.utime(used)
        # What was learnt of the pixels is kept, where the file lies is what it is now.
        seen = replace(analysis.photo, name=photo.name, path=photo.path)
        return replace(analysis, photo=seen)

    def put(self, analysis: Analysis, copy: Image.Image) -> None:
        """Keep an analysis, and a small picture made from the copy that was looked at."""
        nameless = replace(analysis.photo, name="", path=Path())
        text = _adapter().dump_json(replace(analysis, photo=nameless))
        self._write(self._path(analysis.photo), _seal(text) + b"\n" + text)
        self._write(self.preview(analysis.photo), _preview(copy))

    def preview(self, photo: Photo) -> Path:
        """Return where the small picture of a photo lies, if it is there."""
        return self._folder / "previews" / f"{photo.sha256}-{self._settings}.jpg"

    def view(self, photo: Photo, side_px: int) -> bytes:
        """Return a photo as a JPEG for a screen, upright, at most `side_px` on its longer side.

        It is made when it is first asked for.

        Raises:
            UnreadablePhoto: the file cannot be decoded any more.
        """
        path = self._folder / "views" / f"{photo.sha256}-{photo.turned_deg}-{side_px}.jpg"
        try:
            known = path.read_bytes()
        except OSError:
            known = b""
        if known.endswith(END_OF_JPEG):
            with suppress(OSError):
                os.utime(path)
            return known
        from PIL import Image

        image = open_upright(photo.path, least_side_px=side_px, turned_deg=photo.turned_deg)
        image.thumbnail((side_px, side_px), Image.Resampling.HAMMING)
        view = _jpeg(image)
        self._write(path, view)
        return view

    def prune(self) -> None:
        """Delete what was not used for a long time."""
        limit = time.time() - UNUSED_DAYS * 86400
        for path in self._folder.glob("*/*"):
            with suppress(OSError):
                if path.stat().st_mtime < limit:
                    path.unlink()

    def _path(self, photo: Photo) -> Path:
        return self._folder / "analyses" / f"{photo.sha256}-{self._settings}.json"

    def _write(self, path: Path, data: bytes) -> None:
        with suppress(OSError):
            number, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(data)
                Path(part).replace(path)
            except OSError:
                Path(part).unlink(missing_ok=True)


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Analysis)


def _preview(copy: Image.Image) -> bytes:
    # By a whole factor: a fifth of the time of a filter, and nobody trains on it.
    return _jpeg(copy.reduce(max(1, max(copy.size) // PREVIEW_SIDE_PX)))


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=PREVIEW_QUALITY)
    return out.getvalue()
