"""The keys that the person who starts the service gives it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lora_prep.errors import ConfigurationError

__all__ = ["API_KEY_VARIABLE", "given_keys"]

API_KEY_VARIABLE: Final = "WAVESPEED_API_KEY"  # the name every official client reads


def given_keys(keys_file: Path | None) -> tuple[tuple[str, ...], str]:
    """Return the keys and where they are, for people; none when nobody gave any.

    Raises:
        ConfigurationError: the file cannot be read or holds no key.
    """
    if keys_file is None:
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        return ((key,), f"the one in {API_KEY_VARIABLE}") if key else ((), "")
    try:
        lines = keys_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(keys_file, f"{error}.") from error
    given = (line.strip() for line in lines)
    keys = tuple(dict.fromkeys(line for line in given if line and not line.startswith("#")))
    if not keys:
        raise _unusable(keys_file, "It holds no key.")
    return keys, f"{len(keys)} in the file {keys_file}"


def _unusable(keys_file: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The keys file {keys_file} cannot be used.",
        why=why,
        fix="Write one key a line into it; lines that begin with # are not read.",
    )
