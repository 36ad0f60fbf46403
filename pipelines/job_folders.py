"""Where the photos of a job are: a folder, the folders that a pattern finds, a bucket's prefix."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from lora_prep.errors import ConfigurationError, NotAPhotoFolder
from lora_prep.photos.kinds import SYSTEM_FOLDERS
from lora_prep.redaction import redacted

__all__ = ["MANY", "S3", "below", "folders_of", "is_of_people", "name_of", "nothing_matches"]

S3 = "s3://"
MANY = "/*"


def below(parent: Path, name: str) -> Path:
    """Return the path that a file in `parent` means by a name: relative, absolute or with ~."""
    return parent.absolute() / os.path.expanduser(name)  # noqa: PTH111  Path's own raises


def folders_of(folder: str, parent: Path) -> tuple[list[str], bool]:
    """Return the folders that a job names, sorted, and whether it names them by a pattern.

    The pattern of a bucket is returned as it is: listing it takes a store.

    Raises:
        NotAPhotoFolder: there is no such folder.
        ConfigurationError: none is named, none matches, or it is no kind of folder.
    """
    if not folder:
        raise ConfigurationError(
            "It names no folder.",
            why="Each job must say where its photos are.",
            fix="Give a folder beside the jobs file, or s3://bucket/prefix.",
        )
    if "://" in folder:
        return _in_a_bucket(folder)
    place = below(parent, folder)
    if os.path.isdir(place):  # noqa: PTH112  Path's own raises where a name is too long
        return [str(place)], False  # even where its name looks like a pattern
    if not glob.has_magic(folder):
        raise NotAPhotoFolder(
            f"There is no folder {place}.",
            why="It is a file." if os.path.isfile(place) else "The path does not exist.",  # noqa: PTH113
            fix="Check the spelling; folders are looked for beside the jobs file.",
        )
    pattern = below(Path(glob.escape(str(parent.absolute()))), folder)
    found = (Path(one) for one in glob.glob(str(pattern)))  # noqa: PTH207  Path's own raises
    people = sorted(str(one) for one in found if one.is_dir() and is_of_people(one.name))
    if not people:
        raise nothing_matches(folder)
    return people, True


def is_of_people(name: str) -> bool:
    """Say whether a folder that a pattern finds is one that a person made, and not a system.

    >>> [is_of_people(name) for name in ("ada", ".Trash", "@eaDir")]
    [True, False, False]
    """
    return bool(name) and not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS


def name_of(folder: str) -> str:
    """Return the last part of a folder.

    Raises:
        ConfigurationError: it has none.
    """
    name = folder.rpartition("/")[2] if folder.startswith(S3) else Path(folder).name
    if name in ("", ".."):
        name = Path(os.path.realpath(folder)).name
    if name:
        return name
    raise ConfigurationError(
        f"The folder {folder} gives no name.", why="It is all of a disk.", fix="Give a name."
    )


def nothing_matches(pattern: str) -> ConfigurationError:
    """Return the error of a pattern that finds nothing."""
    return ConfigurationError(
        f"No folder matches {pattern}.",
        why="Files and hidden folders do not count.",
        fix="Check the spelling; folders are looked for beside the jobs file.",
    )


def _in_a_bucket(folder: str) -> tuple[list[str], bool]:
    url = folder.rstrip("/")
    place = url.removesuffix(MANY)
    if not re.match(rf"{S3}[^/\s]+(/.|$)", place):
        raise ConfigurationError(
            f"{redacted(folder)} is no folder.",
            why="A folder is one on this machine, or s3://bucket/prefix.",
            fix="Correct it; photos behind other links must be downloaded first.",
        )
    if "*" in place:
        raise ConfigurationError(
            f"The pattern {redacted(folder)} cannot be used.",
            why="In a bucket it can only be /* at the end.",
            fix="Write s3://bucket/prefix/* for all folders in that place.",
        )
    return [url], url != place
