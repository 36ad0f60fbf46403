"""Decisions made by hand: keep, leave out or crop single photos, by the hash of their file.

[photos.b7f9c3f8984f511427d8df0d84e85b7d9c50fc733d226a007e7c65a20c986a7e]
file = "ada_01.jpg"            # for people; nobody reads it
verdict = "keep"               # or "leave_out"
crop = [120, 80, 900]          # left, top and side, in upright pixels of the photo
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from lora_prep.errors import ConfigurationError
from lora_prep.model import Box

__all__ = ["Override", "overrides_path", "read_overrides"]

SHA256 = re.compile(r"[0-9a-f]{64}")
VERDICTS = ("keep", "leave_out")


@dataclass(frozen=True, slots=True)
class Override:
    """What was decided about one photo. crop: a square in upright source pixels."""

    verdict: Literal["keep", "leave_out"] | None = None
    crop: Box | None = None


def overrides_path(home: Path, folder: Path) -> Path:
    """Return where the overrides of a folder of photos lie; its name is no part of theirs."""
    return home / "overrides" / f"{sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.toml"


def read_overrides(path: Path, *, needed: bool = False) -> dict[str, Override]:
    """Return the overrides of a file, by the photo's SHA-256; {} when there is no file.

    Raises:
        ConfigurationError: the file is no TOML or says something else than overrides do, or it is
            missing and `needed`.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        if not needed:
            return {}
        raise _unfit(path, "The file does not exist") from error
    except RecursionError as error:
        raise _unfit(path, "It is nested too deeply") from error
    except (OSError, ValueError) as error:  # a huge number is a ValueError of Python's own
        raise _unfit(path, str(error)) from error
    photos = values.get("photos", {})
    if not isinstance(photos, Mapping) or set(values) - {"photos", "schema"}:
        raise _unfit(path, "Every table must be [photos.SHA256]")
    return {str(key): _override(path, str(key), value) for key, value in photos.items()}


def _override(path: Path, key: str, value: Any) -> Override:
    if not SHA256.fullmatch(key):
        raise _unfit(path, f"{key[:80]!r} is no SHA-256 of a photo's file")
    if not isinstance(value, Mapping) or set(value) - {"file", "verdict", "crop"}:
        raise _unfit(path, f"[photos.{key[:12]}...] may hold file, verdict and crop, nothing else")
    verdict, crop = value.get("verdict"), value.get("crop")
    if verdict is not None and verdict not in VERDICTS:
        raise _unfit(path, f'verdict must be "keep" or "leave_out", not {verdict!r}')
    if crop is None:
        return Override(verdict)
    whole = isinstance(crop, list) and all(type(number) is int for number in crop)
    if not whole or len(crop) != 3 or min(crop[:2]) < 0 or crop[2] < 1:
        raise _unfit(path, "crop must be [left, top, side] in whole pixels of the upright photo")
    left, top, side = crop
    return Override(verdict, Box(left, top, side, side))


def _unfit(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The overrides {path} cannot be used.",
        why=f"{why}.",
        fix="Correct the file or move it away; the photos' hashes stand in `inspect --json`.",
    )
