"""Captions: a text beside a photo, that travels along under the crop's name.

They are passed on and never made up: newer trainers read them, older ones ignore them.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from lora_prep.errors import CaptionInvalid
from lora_prep.model import Photo

__all__ = ["caption_of", "read_captions"]

LARGEST_BYTES = 10_000
"""Far more than any trainer reads; a larger file is no caption."""

NAMED = 5


def caption_of(photo: Path) -> Path:
    """Return where the caption of a photo lies or would lie: beside it, with the same stem."""
    spellings = photo.with_suffix(".txt"), photo.with_suffix(".TXT")
    return next(filter(os.path.lexists, spellings), spellings[0])


def read_captions(photos: Iterable[Photo], trigger_word: str) -> dict[str, str]:
    """Return the caption of every photo that has one, by the photo's name.

    Raises:
        CaptionInvalid: some are no UTF-8 text, too long, empty, or do not hold the trigger word
            exactly once; all of them are named.
    """
    captions, wrong = {}, []
    for photo in photos:
        path = caption_of(photo.path)
        try:
            data = _bytes_of(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                continue
            wrong.append(f"{photo.name}: {error.strerror}")
            continue
        text, why = _read(data, trigger_word)
        if why:
            wrong.append(f"{Path(photo.name).with_name(path.name).as_posix()} {why}")
        captions[photo.name] = text
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise CaptionInvalid(
            f"{len(wrong)} of the captions cannot be used.",
            why=f"{'; '.join(wrong[:NAMED])}{more}.",
            fix=f"Write UTF-8 text with {trigger_word} in it once, or run without captions.",
        )
    return captions


def _bytes_of(path: Path) -> bytes:
    """Return the file's bytes, of a long one enough to tell; a pipe is not waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "its caption is no file")
    with path.open("rb") as file:
        return file.read(LARGEST_BYTES + 1)


def _read(data: bytes, trigger_word: str) -> tuple[str, str]:
    """Return the caption and what is wrong with it, "" if nothing is."""
    if len(data) > LARGEST_BYTES:
        return "", f"is longer than {LARGEST_BYTES:,} bytes"
    try:
        text = " ".join(data.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        return "", "is no UTF-8 text"
    if "\0" in text:
        return "", "is no UTF-8 text"
    if not text:
        return "", "is empty"
    count = len(re.findall(rf"(?<!\w){re.escape(trigger_word)}(?!\w)", text))
    if count != 1:
        return text, f"holds the trigger word {count or 'no'} time{'s' if count else ''}"
    return text, ""
