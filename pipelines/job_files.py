"""The two kinds of jobs file, as tables: TOML with [[job]], and CSV with a header."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_prep.errors import ConfigurationError
from lora_prep.redaction import redacted
from lora_prep.settings import nearest, refuse_secrets

__all__ = [
    "COLUMNS",
    "SECTIONS",
    "SHORT",
    "Entry",
    "JobsFile",
    "Table",
    "check_known",
    "read_jobs_file",
]

Table = Mapping[str, Any]

SHORT = {
    "trigger_word": ("trainer", "trigger_word"),
    "steps": ("trainer", "steps"),
    "model": ("trainer", "model"),
    "reference": ("dataset", "reference"),
}
"""Settings that a job may give without their section."""
COLUMNS = ("folder", "name", *SHORT)
SECTIONS = ("dataset", "faces", "store", "trainer", "archive")
"""What may differ from job to job. The rest says how this machine works."""
DEFAULTS = ("trigger_word", "steps", "model", *SECTIONS)  # the others are one person's


@dataclass(frozen=True, slots=True)
class Entry:
    """One job as it is written. where: in the file it stands ("job 2", "line 3")."""

    where: str
    table: Table


@dataclass(frozen=True, slots=True)
class JobsFile:
    """What a jobs file says. Its tables may still hold names and values that are none."""

    defaults: Table
    entries: tuple[Entry, ...]


def read_jobs_file(path: Path) -> JobsFile:
    """Read a file by what its name ends in, .toml or .csv.

    Raises:
        ConfigurationError: it cannot be read, holds no job, or is no list of jobs.
    """
    kind = path.suffix.lower()
    if kind not in (".toml", ".csv"):
        raise ConfigurationError(
            f"The jobs file {path} is neither TOML nor CSV.",
            why=f"Its name ends in {kind or 'nothing'!r}.",
            fix="Name it jobs.toml or jobs.csv, after what is in it.",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        jobs = _from_toml(text) if kind == ".toml" else _from_csv(text)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        # tomllib: ValueError is also a number too long for Python, RecursionError lists in lists.
        raise ConfigurationError(
            f"The jobs file {path} cannot be read.",
            why=f"{redacted(str(error))}.",
            fix="Give a file of UTF-8 text, as TOML or CSV.",
        ) from error
    if jobs.entries:
        return jobs
    example = 'Write [[job]] and folder = "..." below it.'
    raise ConfigurationError(
        f"The jobs file {path} holds no job.",
        why="Nothing in it names a folder of photos." if text.strip() else "It is empty.",
        fix=example if kind == ".toml" else "Write a line for each person below folder,name.",
    )


def check_known(names: Iterable[str], known: Sequence[str], holder: str) -> None:
    """Raise for a name nobody knows.

    Raises:
        ConfigurationError: there is one; it offers the nearest.
    """
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"There is no {name!r} in {holder}.",
                why=nearest(name, known),
                fix=f"Known are {', '.join(known)}.",
            )


def _from_toml(text: str) -> JobsFile:
    content = tomllib.loads(text)
    check_known(content, ("defaults", "job"), "a jobs file")
    defaults, tables = content.get("defaults", {}), content.get("job", [])
    if not isinstance(defaults, dict):
        raise ConfigurationError(
            "The defaults of the jobs file are no table.",
            why="They hold names and values.",
            fix="Write [defaults], and the values below it.",
        )
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(
            "The jobs of the jobs file are no list of tables.",
            why="There can be several, each with names and values.",
            fix="Write [[job]], with two brackets on each side.",
        )
    refuse_secrets({"defaults": defaults}, "The jobs file")
    check_known(defaults, DEFAULTS, "[defaults]")
    return JobsFile(
        defaults, tuple(Entry(f"job {number}", table) for number, table in enumerate(tables, 1))
    )


def _from_csv(text: str) -> JobsFile:
    first = next(iter(text.lstrip().splitlines()), "")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    filled = ((line, row) for line, row in rows if any(row))
    header = next(filled, (0, []))[1]
    while header and not header[-1]:  # what a spreadsheet leaves of a deleted column
        header.pop()
    _check_header(header)
    return JobsFile({}, tuple(_entry(line, row, header, delimiter) for line, row in filled))


def _check_header(header: Sequence[str]) -> None:
    refuse_secrets({"header": dict.fromkeys(header, "")}, "The jobs file")
    check_known(header, COLUMNS, "the header of a jobs file")
    if header and "folder" not in header:
        raise ConfigurationError(
            "The header of the jobs file does not name the folder.",
            why="Each line must say where its photos are.",
            fix=f"Begin the file with a line of some of these names: {','.join(COLUMNS)}",
        )
    if len(set(header)) < len(header):
        raise ConfigurationError(
            "The header of the jobs file has a name twice.",
            why="It would not be clear which of the two values holds.",
            fix="Remove one of the two columns.",
        )


def _entry(line: int, row: Sequence[str], header: Sequence[str], delimiter: str) -> Entry:
    if any(row[len(header) :]):
        raise ConfigurationError(
            f"Line {line} of the jobs file has more values than the header has names.",
            why=f"The header has {len(header)}; perhaps a value holds a {delimiter!r}.",
            fix='Put a value that holds one into "quotation marks".',
        )
    given = {name: cell for name, cell in zip(header, row, strict=False) if cell}
    return Entry(f"line {line}", given)
