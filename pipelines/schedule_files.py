"""Where the jobs file of a schedule lies: known to this machine alone.

The row of a schedule may be in a database that several people share, and paths hold names of
people. So `schedules/<name>.json` below the home folder holds the path, and the row only the hash
of the jobs file. The hash stands beside the path too: a file that belongs to another schedule of
the same name (one of another database, or one that was removed elsewhere) is not believed.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from lora_prep.errors import ConfigurationError
from lora_prep.settings import home_folder

__all__ = ["forget_jobs", "jobs_file", "jobs_sha256", "remember_jobs"]


def jobs_sha256(jobs: Path) -> str:
    """Return the hash of a jobs file as it is now.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with jobs.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(
            f"The jobs file {jobs} cannot be read.",
            why=f"{error.strerror}.",
            fix="Give the path of a file that you may read.",
        ) from error


def jobs_file(name: str, sha256: str) -> Path | None:
    """Return where the jobs file of a schedule lies, if it was added on this machine.

    Args:
        name: of the schedule.
        sha256: what its row says of the jobs file when it was added; it may have changed since.
    """
    try:
        note = json.loads(_note(name).read_text(encoding="utf-8"))
        return Path(note["jobs"]) if note["jobs_sha256"] == sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember_jobs(name: str, jobs: Path, sha256: str) -> None:
    """Write down where the jobs file of a schedule lies (0600), in place of what was there.

    Raises:
        ConfigurationError: it cannot be written.
    """
    note = _note(name)
    part = note.with_name(f"{note.name}.{os.getpid()}.part")
    facts = {"schema": 1, "schedule": name, "jobs": str(jobs.absolute()), "jobs_sha256": sha256}
    try:
        note.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=2)
            file.flush()
            os.fsync(file.fileno())  # the row that follows outlives a power cut
        part.replace(note)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigurationError(
            "The place of the jobs file cannot be written down.",
            why=f"{error.strerror}: {note}.",
            fix="Make room or give permission there.",
        ) from error


def forget_jobs(name: str) -> None:
    """Forget where the jobs file of a schedule lies; the jobs file stays."""
    _note(name).unlink(missing_ok=True)


def _note(name: str) -> Path:
    return home_folder() / "schedules" / f"{name}.json"
