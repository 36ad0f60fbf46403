"""open, config show: looking at what was done and how it is set."""

from __future__ import annotations

import sys
import webbrowser
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import SecretStr

from lora_prep.cli.session import SessionParameter
from lora_prep.errors import ConfigurationError
from lora_prep.settings import Settings, home_folder, load_settings_with_origins
from pipelines.runs import last_run, run_by_id

__all__ = ["config_show", "open_report"]

VALUE_WIDTH = 30
"""Columns of a table that one very long value must not widen."""


def open_report(
    run: Annotated[
        str | None, Parameter(name="RUN", help="A run's id; the newest without.")
    ] = None,
    /,
    *,
    session: SessionParameter,
) -> None:
    """Show the report of a run in the browser, and print its path."""
    this = run_by_id(run) if run else last_run()
    if this is None or not this.report.exists():
        raise ConfigurationError(
            f"There is no report of the run {run}." if run else "There is no report yet.",
            why=f"Looked in {home_folder() / 'runs'}.",
            fix="Make one with: lora-prep inspect FOLDER",
        )
    session.result = lambda: {"schema": 1, "run": this.id, "report": str(this.report)}
    session.answer(str(this.report))
    if sys.stdout.isatty() and not session.json:
        webbrowser.open(this.report.as_uri())


def config_show(*, session: SessionParameter) -> None:
    """Print every setting, its value and who set it; keys are not shown."""
    problem = None
    try:
        settings, origins = load_settings_with_origins()
    except ConfigurationError as error:  # its advice is to look here: show what there is to set
        settings, origins, problem = Settings(), {}, error
    rows = _rows(settings, origins)
    session.result = lambda: {"schema": 1, "home": str(home_folder()), "settings": rows}
    width = max(len(name) for name in rows)
    wide = min(VALUE_WIDTH, max(len(repr(row["value"])) for row in rows.values()))
    session.answer(f"# state lies in {home_folder()}")
    for name, row in rows.items():
        session.answer(
            f"{name:<{width}} = {row['value']!r:<{wide}} # {row['origin']}; {row['about']}"
        )
    if problem:
        raise problem


def _rows(settings: Settings, origins: dict[str, str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for section in type(settings).model_fields:
        values = getattr(settings, section)
        for name, field in type(values).model_fields.items():
            value = getattr(values, name)
            rows[f"{section}.{name}"] = {
                "value": "(hidden)" if isinstance(value, SecretStr) else value,
                "origin": origins.get(f"{section}.{name}", "default"),
                "about": field.description,
            }
    return rows
