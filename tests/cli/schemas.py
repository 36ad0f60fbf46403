"""Validate what `--json` prints against the schemas in docs/schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@cache
def _registry() -> Registry[Any]:
    return Registry().with_resources(
        (path.name, Resource.from_contents(json.loads(path.read_text())))
        for path in SCHEMAS.glob("*.json")
    )


def valid(value: object, name: str) -> None:
    """Assert that a value fits docs/schemas/<name>.json."""
    schema = _registry().contents(f"{name}.json")
    validator = Draft202012Validator(
        schema, registry=_registry(), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert problems == []
