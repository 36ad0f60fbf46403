"""What a batch is to do: one job a person, read from a TOML or a CSV file.

    [defaults]
    trigger_word = "p3r5on"

    [[job]]
    folder = "people/ada"         # beside this file, or s3://bucket/prefix
    steps = 3000
    dataset.framing = "close-up"  # any setting of the training, by section

    [[job]]
    folder = "more_people/*"      # one job for each folder in it

The header of a CSV file names some of folder, name, trigger_word, steps, model and reference.
Everything is checked before anything starts, and one error names all jobs that cannot be used.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_prep.errors import ConfigurationError
from lora_prep.settings import load_settings, refuse_secrets
from pipelines.backends import request_for
from pipelines.job_files import COLUMNS, SECTIONS, SHORT, Table, check_known, read_jobs_file
from pipelines.job_folders import (
    MANY,
    S3,
    below,
    folders_of,
    is_of_people,
    name_of,
    nothing_matches,
)

__all__ = ["Job", "Sections", "expand", "read_jobs"]

Sections = dict[str, dict[str, Any]]

FILES = (("dataset", "reference"), ("dataset", "overrides"))
"""Settings that are paths: in a jobs file they are meant from its own folder."""
INVISIBLE = ("Cc", "Cs")  # control characters, halves of characters; joiners belong to names
NAMED = 20  # jobs in one error: more fill the screen and say no more


@dataclass(frozen=True, slots=True)
class Job:
    """One person's training.

    name: for people, its own in the batch; folder: an absolute path or s3://bucket/prefix;
    sections: all that `load_settings` takes; where: in the file it stands ("job 2", "line 3").
    """

    name: str
    folder: str
    sections: Sections
    where: str

    @property
    def many(self) -> bool:
        """Whether it stands for one job for each folder in a bucket, which `expand` lists."""
        return self.folder.startswith(S3) and self.folder.endswith(MANY)


def read_jobs(path: Path, base: Sections) -> tuple[Job, ...]:
    """Read what a batch is to do, and check every job's folder and settings; nothing is started.

    base: settings of all jobs; what the file says lies on top of them. A pattern in a bucket gives
    one job (`many`), which `expand` replaces.

    Raises:
        UnknownSetting, NotAPhotoFolder: the one job that cannot be used.
        ConfigurationError: the file cannot be read or holds no job, or jobs cannot be used.
    """
    load_settings(base)  # what is wrong there is no job's fault
    read = read_jobs_file(path)
    common = _merged(base, _sections(read.defaults, path.parent))
    jobs: list[Job] = []
    wrong: list[tuple[str, ConfigurationError]] = []
    for entry in read.entries:
        try:
            jobs += _jobs_of(entry.where, entry.table, common, path)
        except ConfigurationError as error:
            wrong.append((entry.where, error))
    wrong += _twice(jobs)
    if wrong:
        raise _all_of(wrong, path, len(read.entries))
    return tuple(jobs)


def expand(jobs: Iterable[Job], list_prefixes: Callable[[str], Iterable[str]]) -> tuple[Job, ...]:
    """Replace each job that stands for many by one for each folder at its place in the bucket.

    list_prefixes: returns the names of the folders at s3://bucket/prefix (`sources.subfolders`).

    Raises:
        ConfigurationError: there is none, or two jobs have the same name or folder.
    """
    expanded: list[Job] = []
    for job in jobs:
        if not job.many:
            expanded.append(job)
            continue
        place = job.folder.removesuffix(MANY)
        names = sorted(set(filter(is_of_people, list_prefixes(place))))
        if not names:
            raise _at(job.where, nothing_matches(job.folder))
        expanded += [replace(job, name=name, folder=f"{place}/{name}") for name in names]
    for where, error in _twice(expanded):
        raise _at(where, error)
    return tuple(expanded)


# ── one job ───────────────────────────────────────────────────────────────────────────────────


def _jobs_of(where: str, table: Table, common: Sections, path: Path) -> list[Job]:
    """Return the jobs that one entry of the file makes: several where its folder is a pattern."""
    sections = _sections(table, path.parent)
    check_known(table, (*COLUMNS, *SECTIONS), "a job")
    sections = _merged(common, sections)
    # By the trainer's own limits, too: else a job would be refused after hours of the others.
    request_for("", load_settings(sections, origin=path.name))
    _check_files(sections)
    name = _text(table, "name")
    folders, pattern = folders_of(_text(table, "folder"), path.parent)
    for what, given in (
        ("name", name),
        ("reference", sections.get("dataset", {}).get("reference")),
    ):
        if pattern and given:
            raise ConfigurationError(
                f"A job for many folders has a {what}.",
                why="It is one person's.",
                fix="Remove it, or write a job for each folder.",
            )
    return [Job(name or name_of(folder), folder, sections, where) for folder in folders]


def _sections(table: Table, parent: Path) -> Sections:
    """Return the settings that a table gives, those with a short name in their section."""
    given: Sections = {}
    for section in SECTIONS:
        values = table.get(section, {})
        if not isinstance(values, Mapping):
            raise ConfigurationError(
                f"{section} is no single value.",
                why="It is a section of settings.",
                fix=f"Write {section}.NAME = ...; `lora-prep config show` lists every setting.",
            )
        given[section] = dict(values)
    refuse_secrets({"job": table, **given}, "The jobs file")
    for short, (section, name) in SHORT.items():
        if short in table and name in given[section]:
            raise ConfigurationError(
                f"{short} and {section}.{name} are the same setting.",
                why="It would not be clear which of the two values holds.",
                fix="Remove one of them.",
            )
        if short in table:
            given[section][name] = table[short]
    for section, name in FILES:
        value = given[section].get(name)
        if isinstance(value, str) and value.strip():
            given[section][name] = str(below(parent, value.strip()))
    return {section: values for section, values in given.items() if values}


def _merged(lower: Sections, upper: Sections) -> Sections:
    sections = [*lower, *(section for section in upper if section not in lower)]
    return {section: {**lower.get(section, {}), **upper.get(section, {})} for section in sections}


def _text(table: Table, name: str) -> str:
    """Return a value that is one line of text, "" when it is not given."""
    value = table.get(name, "")
    if not isinstance(value, str):
        raise ConfigurationError(
            f"The {name} is no text.", why="It is another kind of value.", fix='Write it in "...".'
        )
    if any(unicodedata.category(character) in INVISIBLE for character in value):
        raise ConfigurationError(
            f"The {name} {value!r} cannot be used.",
            why="It holds a control character.",
            fix="Write it anew by hand.",
        )
    return value.strip()


def _check_files(sections: Sections) -> None:
    for section, name in FILES:
        path = sections.get(section, {}).get(name)
        if path and not os.path.isfile(below(Path(), path)):  # noqa: PTH113  Path's own raises
            raise ConfigurationError(
                f"There is no file {path} ({section}.{name}).",
                why="The path does not exist, or is no file.",
                fix="Check the spelling; it is looked for beside the jobs file.",
            )


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────


def _twice(jobs: Iterable[Job]) -> list[tuple[str, ConfigurationError]]:
    """Return what is wrong with each job whose folder or name an earlier one has."""
    names: dict[str, Job] = {}
    folders: dict[str, Job] = {}
    wrong = []
    for job in jobs:
        # Two ways to one folder are still one person.
        folder = job.folder if job.folder.startswith(S3) else os.path.realpath(job.folder)
        first = folders.setdefault(folder, job)
        namesake = names.setdefault(job.name, job)
        if first is not job:
            fix = "Remove one of the two jobs."
            wrong.append((job.where, _the_same(f"folder {job.folder}", first, fix)))
        elif namesake is not job:
            fix = "Give each job a name of its own."
            wrong.append((job.where, _the_same(f"name {job.name!r}", namesake, fix)))
    return wrong


def _the_same(what: str, first: Job, fix: str) -> ConfigurationError:
    return ConfigurationError(
        f"The {what} is there twice.", why=f"It is that of {first.where}, too.", fix=fix
    )


def _all_of(
    wrong: Sequence[tuple[str, ConfigurationError]], path: Path, jobs: int
) -> ConfigurationError:
    """Return one error for all jobs that cannot be used."""
    if len(wrong) == 1:
        where, error = wrong[0]
        return _at(f"{where} of {path.name}", error)
    said = [f"{where}: {error.what} {error.why}" for where, error in wrong[:NAMED]]
    if len(wrong) > NAMED:
        said.append(f"And {len(wrong) - NAMED} more.")
    return ConfigurationError(
        f"{len(wrong)} of the {jobs} jobs in {path} cannot be used.",
        why=" ".join(said),
        fix="Correct them; nothing was started.",
    )


def _at(where: str, error: ConfigurationError) -> ConfigurationError:
    """Return an error with the place it is about; its kind stays."""
    where = where[0].upper() + where[1:]
    return type(error)(f"{where}: {error.what}", why=error.why, fix=error.fix)
