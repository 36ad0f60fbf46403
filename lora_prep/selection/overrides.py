"""Decisions made by hand: keep, leave out or crop single photos, by the hash of their file.

[photos.b7f9c3f8984f511427d8df0d84e85b7d9c50fc733d226a007e7c65a20c986a7e]
file = "ada_01.jpg"            # for people; nobody reads it
verdict = "keep"               # or "leave_out"
crop = [120, 80, 900]          # left, top and side, in upright pixels of the photo
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from lora_prep.errors import ConfigurationError
from lora_prep.model import Box

__all__ = ["Override", "overrides_path", "read_overrides", "write_override"]

SHA256 = re.compile(r"[0-9a-f]{64}")
VERDICTS = ("keep", "leave_out")
HEAD = "# Decisions by hand; lora-prep review changes them, docs/overrides.md says how to.\n"
TABLE = re.compile(r"\s*\[")  # a line that begins a table
NAME = re.compile(r"""\s*(?:file|verdict|crop|"file"|"verdict"|"crop")\s*=""")


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


def write_override(
    path: Path, sha256: str, override: Override, *, file: str
) -> dict[str, Override]:
    """Change what the file says of one photo, and return all that it says then.

    An override that says nothing takes the photo out. Every other photo, of this folder or not,
    and the comments stay as they are. The file appears whole or stays as it was, readable by its
    owner alone. file: the photo's name, for people.

    Raises:
        ConfigurationError: what is there cannot be read as overrides.
        OSError: it cannot be written.
    """
    wanted = read_overrides(path)
    wanted.pop(sha256, None)
    if override != Override():
        wanted[sha256] = override
    text = path.read_text(encoding="utf-8-sig") if path.exists() else HEAD
    changed = _edited(text, sha256, _lines_of(override, file))
    if _said(changed) != wanted:  # it is written in another way than ours: all of it anew
        tables = tomllib.loads(text).get("photos", {})
        names = {key: table.get("file", "") for key, table in tables.items()} | {sha256: file}
        changed = HEAD
        for key, one in wanted.items():
            changed = _edited(changed, key, _lines_of(one, names.get(key, "")))
    _write(path, changed)
    return wanted


def _edited(text: str, sha256: str, lines: list[str]) -> str:
    """Return the text with these lines in the photo's table; without any the table goes."""
    header = re.compile(rf"""\s*\[\s*photos\s*\.\s*["']?{sha256}["']?\s*\]\s*(#.*)?$""")
    old = text.splitlines()
    start = next((number for number, line in enumerate(old) if header.match(line)), None)
    if start is None:
        gap = [""] if lines and old and old[-1].strip() else []
        added = [f"[photos.{sha256}]", *lines] if lines else []
        return "\n".join([*old, *gap, *added]) + "\n"
    end = next(
        (number for number in range(start + 1, len(old)) if TABLE.match(old[number])), len(old)
    )
    inside = [line for line in old[start + 1 : end] if not NAME.match(line)]
    kept = [old[start], *lines, *inside] if lines else []
    if not lines and end == len(old) and start and not old[start - 1].strip():
        start -= 1  # the empty line before the last table came with it
    return "\n".join([*old[:start], *kept, *old[end:]]) + "\n"


def _lines_of(override: Override, file: str) -> list[str]:
    lines = []
    if override.verdict:
        lines.append(f'verdict = "{override.verdict}"')
    if box := override.crop:
        lines.append(f"crop = [{box.x:.0f}, {box.y:.0f}, {box.width:.0f}]")
    return [f"file = {_quoted(file)}", *lines] if lines else []


def _quoted(text: str) -> str:
    """Return a string of TOML; bytes of a file name that are no UTF-8 stand as escapes."""
    known = text.encode("utf-8", "backslashreplace").decode()
    letters = (
        f"\\{letter}" if letter in '"\\'
        else letter if letter.isprintable()
        else f"\\U{ord(letter):08X}"
        for letter in known
    )  # fmt: skip
    return f'"{"".join(letters)}"'


def _said(text: str) -> dict[str, Override] | None:
    """Return what a text says; None where it is no overrides file."""
    try:
        photos = tomllib.loads(text).get("photos", {})
        return {key: _override(Path(), key, value) for key, value in photos.items()}
    except (ValueError, ConfigurationError):
        return None


def _write(path: Path, text: str) -> None:
    path = path.resolve()  # a link stays one
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


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
