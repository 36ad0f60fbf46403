"""init: a few questions, a settings file without secrets, and the doctor."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.doctor import report
from lora_prep.cli.session import Session, SessionParameter
from lora_prep.errors import ConfigurationError
from lora_prep.settings import EMBEDDED, PROJECT_FILE, load_settings

__all__ = ["init"]

QUESTIONS = (
    ("store", "url", "Your bucket, as s3://bucket/prefix; nothing to rehearse on this machine"),
    ("store", "endpoint_url", "Its endpoint, https://...; nothing for AWS"),
    ("store", "region", "Its region; nothing where the service or the AWS files tell"),
    ("trainer", "trigger_word", "The word that calls the person; nothing for p3r5on"),
    ("trainer", "max_cost_usd", "The most a training may cost, USD; nothing for no limit"),
)
REHEARSING = {"endpoint_url", "region", "max_cost_usd"}  # nobody asks for them then
KEYS = """\
# Keys are never kept in a file: WAVESPEED_API_KEY holds the trainer's,
# AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile of the AWS files) those of the bucket.
"""


def init(
    *,
    store: Annotated[str | None, Parameter(help='s3://bucket/prefix, or "embedded".')] = None,
    endpoint_url: Annotated[str | None, Parameter(help="S3 endpoint, other than AWS.")] = None,
    region: Annotated[str | None, Parameter(help="S3 region.")] = None,
    trigger_word: Annotated[str | None, Parameter(help="The word that calls the person.")] = None,
    max_cost: Annotated[float | None, Parameter(help="The most a training may cost, USD.")] = None,
    session: SessionParameter,
) -> None:
    """Ask what is needed, write lora-prep.toml into this folder, and let the doctor look at it.

    What is given as a flag is not asked; without a terminal nothing is. No key is asked for or
    written down. A settings file that is there already is left alone.
    """
    path = Path(PROJECT_FILE)
    given = {
        "url": store,
        "endpoint_url": endpoint_url,
        "region": region,
        "trigger_word": trigger_word,
        "max_cost_usd": max_cost,
    }
    if path.exists():
        raise _exists(path)
    load_settings()  # what is wrong elsewhere is no answer's fault
    values = _answers(session, {name: value for name, value in given.items() if value is not None})
    load_settings(values)  # what does not fit is said before anything is written
    _write(path, _text(values))
    session.say(f"Wrote {path.resolve()}")
    report(load_settings(), session)


def _answers(session: Session, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings that were given or answered, by section."""
    values: dict[str, dict[str, Any]] = {}
    for section, name, question in QUESTIONS:
        rehearses = "url" not in values.get("store", {}) and section + name != "storeurl"
        value = given.get(name)
        if value is None and session.can_ask and not (rehearses and name in REHEARSING):
            value = _ask(section, name, question)
        if value not in (None, "", EMBEDDED):
            values.setdefault(section, {})[name] = value
    return values


def _ask(section: str, name: str, question: str) -> str:
    """Ask until the answer fits; an empty one leaves the setting as it is."""
    while True:
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        if not (answer := sys.stdin.readline().strip()):
            return ""
        try:
            load_settings({section: {name: answer}})
        except ConfigurationError as error:
            sys.stderr.write(f"{error.why}\n")
        else:
            return answer


def _text(values: dict[str, dict[str, Any]]) -> str:
    """Return the file. A JSON string or number is a TOML one, too."""
    lines = [KEYS]
    for section, settings in values.items():
        lines.append(f"[{section}]")
        for name, value in settings.items():
            number = name == "max_cost_usd"
            lines.append(f"{name} = {json.dumps(float(value) if number else value)}")
        lines.append("")
    return "\n".join(lines)


def _write(path: Path, text: str) -> None:
    """Write the file whole, and never over another one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.link(part, path)
    except FileExistsError as error:
        raise _exists(path) from error
    finally:
        part.unlink(missing_ok=True)


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"There is a settings file already: {path.resolve()}.",
        why="What it holds is not overwritten.",
        fix="Edit it, or delete it first. `lora-prep doctor` looks at what it leads to.",
    )
