"""The service does what its own description says: whatever is sent, and whatever comes back.

Bodies are made from the description's schemas, good and spoilt; every answer must have a status
that the description names, and a body that its schema allows.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_prep.trainer_service.openapi import openapi_document

from .helpers import OTHER_KEY, Api, send

pytestmark = pytest.mark.slow  # a server on a thread, and a client

DOCUMENT = json.loads(json.dumps(openapi_document()))
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
MOMENTS = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")


def good(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what a schema of this document allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            required = set(schema.get("required", []))
            parts = {name: good(part) for name, part in schema.get("properties", {}).items()}
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in required},
                optional={name: part for name, part in parts.items() if name not in required},
            )
        case "array":
            return st.lists(good(schema["items"]), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
    if schema.get("format") == "date-time":
        return MOMENTS
    if schema.get("format") == "uri":
        return st.sampled_from(["http://127.0.0.1:9/a.zip", "http://[::1]:9/a.zip?x=y"])
    if "pattern" in schema:
        return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True)
    return st.text(st.characters(codec="utf-8"), min_size=schema.get("minLength", 0))


def spoilt(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return something of the right form with one part replaced by anything, or anything."""
    names = list(schema.get("properties", {})) or ["x"]

    def replace(body: dict[str, Any], name: str, part: Any) -> dict[str, Any]:
        return {**body, name: part}

    return ANYTHING | st.builds(replace, good(schema), st.sampled_from(names), ANYTHING)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


def schema_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    body = operation.get("requestBody")
    return body["content"]["application/json"]["schema"] if body else None


def check(operation: dict[str, Any], answer: httpx.Response) -> None:
    described = operation["responses"].get(str(answer.status_code))
    assert described, f"{answer.status_code} is not described: {answer.text}"
    schema = resolved(described["content"]["application/json"]["schema"])
    jsonschema.validate(answer.json(), schema)
    assert answer.json()["code"] == answer.status_code


def test_the_description_is_served_and_open(api: Api) -> None:
    assert send("GET", f"{api.base_url}/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_an_operation_answers_as_described(
    parsing_api: Api, method: str, path: str, operation: dict[str, Any]
) -> None:
    body_schema = schema_of(operation)
    bodies = good(body_schema) if body_schema else st.none()
    ids = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: "/" not in text)

    @settings(
        max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(body=bodies, broken=spoilt(body_schema) if body_schema else st.none(), name=ids)
    def run(body: Any, broken: Any, name: str) -> None:
        url = path.replace("{id}", httpx.URL("http://x").join(_quoted(name)).raw_path[1:].decode())
        right = parsing_api.http.request(method, url, content=json.dumps(body))
        check(operation, right)
        allowed = {200, 404} if "{id}" in path else {200}
        if "webhook" not in url and body_schema and _is_plain(body):
            assert right.status_code in allowed | _spoken_exceptions(path), right.text
        check(operation, parsing_api.http.request(method, url, content=json.dumps(broken)))

    run()


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return "/" + quote(name, safe="")


def _is_plain(body: Any) -> bool:
    return isinstance(body, dict)


def _spoken_exceptions(path: str) -> set[int]:
    """Return statuses beyond what a schema can say: a blank trigger word, steps in a quote."""
    return {400} if "model/pric" in path or path.endswith("wan-14b-trainer") else set()


def test_every_route_of_the_api_is_described(api: Api) -> None:
    for method, path, _ in OPERATIONS:
        answer = Api(api.base_url, "wrong").http.request(method, path.replace("{id}", "x"))
        assert answer.status_code == 401, path
    described = copy.deepcopy(DOCUMENT["paths"])
    assert len(described) == len({path for _, path, _ in OPERATIONS})
    assert OTHER_KEY not in json.dumps(DOCUMENT)
