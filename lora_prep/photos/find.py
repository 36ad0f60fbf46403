"""Find every file below a folder, in one fixed order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lora_prep.errors import NoPhotos, NotAPhotoFolder

__all__ = ["FoundFile", "find_photos"]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that will get a verdict. name: its path below the folder, with "/"."""

    name: str
    path: Path


def find_photos(folder: Path, *, skip: Path | None = None) -> tuple[FoundFile, ...]:
    """Return every file below `folder`, by name, whatever it holds.

    The folder `skip` is not entered: our own home, whose crops are no photos.

    Nothing is left out here: what is no picture gets that verdict from inspection, so that the
    counts add up. Folders behind symbolic links are not entered, which also ends loops; such a link
    and a folder that cannot be listed count as files.

    Raises:
        NotAPhotoFolder: the path is missing, is no folder, or cannot be listed.
        NoPhotos: there is no file at all.
    """
    try:
        exists = folder.exists()
    except OSError as error:
        raise NotAPhotoFolder(
            f"The folder {folder} cannot be opened.",
            why=f"{error.strerror}.",
            fix="Check the spelling and your permission to read it.",
        ) from error
    if not exists:
        raise NotAPhotoFolder(
            f"There is no folder {folder}.",
            why="The path does not exist.",
            fix="Check the spelling, and give the folder that holds the photos.",
        )
    if not folder.is_dir():
        raise NotAPhotoFolder(
            f"{folder} is a file, not a folder.",
            why="A training set is made from a folder of at least 10 photos.",
            fix=f"Give the folder that holds it: {folder.parent}",
        )
    found = tuple(sorted(_walk(folder, skip), key=lambda file: file.name))
    if not found:
        raise NoPhotos(
            f"The folder {folder} is empty.",
            why="There is no file in it or below it.",
            fix="Put at least 10 photos of one person into it.",
        )
    return found


def _walk(folder: Path, skip: Path | None) -> list[FoundFile]:
    paths = []

    def not_listed(error: OSError) -> None:
        if Path(error.filename) != folder:
            paths.append(Path(error.filename))
            return
        raise NotAPhotoFolder(
            f"The folder {folder} cannot be listed.",
            why=f"{error.strerror}.",
            fix="Give yourself permission to read it, or move it elsewhere.",
        ) from error

    for name, folders, names in os.walk(folder, onerror=not_listed):
        parent = Path(name)
        if skip:
            folders[:] = [each for each in folders if (parent / each).resolve() != skip]
        paths += [parent / each for each in folders if (parent / each).is_symlink()]
        paths += [parent / each for each in names]
    return [FoundFile(path.relative_to(folder).as_posix(), path) for path in paths]
