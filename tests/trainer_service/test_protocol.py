"""The HTTP contract: envelope, parameters, the key, unknown things, hostile bodies."""

from __future__ import annotations

import json
import re
import socket
import time
from datetime import datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .helpers import SUBMIT, Api, DataServer, RunningService, send, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client

DATA = "http://127.0.0.1:9/data.zip"  # nothing listens there


def test_the_accepted_envelope_has_every_documented_field(
    api: Api, data_server: DataServer
) -> None:
    answer = api.http.post(SUBMIT, json={"data": data_server.url(zip_of_images(10))})
    assert answer.status_code == 200
    envelope = answer.json()
    assert {key: envelope[key] for key in ("code", "message")} == {
        "code": 200,
        "message": "success",
    }
    data = envelope["data"]
    assert re.fullmatch(r"[0-9a-f]{32}", data["id"])
    assert data["urls"] == {"get": f"{api.base_url}/api/v3/predictions/{data['id']}/result"}
    assert data["created_at"].endswith("Z")
    assert datetime.fromisoformat(data["created_at"]).utcoffset() == timedelta(0)
    fixed = {key: data[key] for key in data if key not in {"id", "urls", "created_at"}}
    assert fixed == {
        "model": "wavespeed-ai/wan-14b-trainer",
        "outputs": [],
        "has_nsfw_contents": [],
        "status": "created",
        "error": "",
        "timings": {"inference": 0},
        "executionTime": 0,
        "code": 0,
    }


def test_the_completed_prediction_is_the_same_at_both_result_paths(
    api: Api, data_server: DataServer
) -> None:
    done = api.train(data_server.url(zip_of_images(10)), steps=1000, trigger_word="ohwx")
    assert (done["status"], done["code"], done["error"]) == ("completed", 0, "")
    assert done["has_nsfw_contents"] == [False]
    assert done["executionTime"] == done["timings"]["inference"]
    [output] = done["outputs"]
    assert re.search(rf"/{done['id']}-u0_[0-9a-f-]{{36}}\.safetensors$", output)
    printed = api.http.get(f"/api/v3/wavespeed-ai/wan-trainer{done['id']}/result")
    assert printed.json() == {"code": 200, "message": "success", "data": done}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "data is required"),
        ({"data": None}, "data is required"),
        ({"data": 7}, "http or https"),
        ({"data": ""}, "http or https"),
        ({"data": "file:///etc/passwd"}, "http or https"),
        ({"data": "ftp://host/a.zip"}, "http or https"),
        ({"data": "http://"}, "http or https"),
        ({"data": "http://[::1"}, "http or https"),
        ({"data": "http://a\x00b/"}, "http or https"),
        ({"data": "http://host/\ud800"}, "http or https"),
        ({"data": DATA, "steps": 999}, "between 1000 and 4000"),
        ({"data": DATA, "steps": 4001}, "between 1000 and 4000"),
        ({"data": DATA, "steps": -(10**300)}, "between 1000 and 4000"),
        ({"data": DATA, "steps": "2000"}, "must be an integer"),
        ({"data": DATA, "steps": 2000.0}, "must be an integer"),
        ({"data": DATA, "steps": True}, "must be an integer"),
        ({"data": DATA, "steps": None}, "must be an integer"),
        ({"data": DATA, "trigger_word": ""}, "trigger_word"),
        ({"data": DATA, "trigger_word": " \n"}, "trigger_word"),
        ({"data": DATA, "trigger_word": None}, "trigger_word"),
        ({"data": DATA, "trigger_word": ["p3r5on"]}, "trigger_word"),
        ({"data": DATA, "trigger_word": "a\ud800"}, "Unicode"),
        ([DATA], "JSON object"),
        ("data", "JSON object"),
        (None, "JSON object"),
    ],
)
def test_bad_parameters_are_refused_with_an_envelope(api: Api, body: object, message: str) -> None:
    answer = api.http.post(SUBMIT, content=json.dumps(body))
    assert answer.status_code == 400
    envelope = answer.json()
    assert envelope.keys() == {"code", "message", "error_code"}
    assert envelope["code"] == 400
    assert envelope["error_code"] == ("1400" if "required" in message else "1401")
    assert message in envelope["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"steps":' + b"9" * 5000]
)
def test_a_body_that_is_no_json_is_refused(api: Api, body: bytes) -> None:
    answer = api.http.post(SUBMIT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


def test_an_endless_body_is_refused(api: Api) -> None:
    answer = api.http.post(SUBMIT, content=b" " * (1024**2 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, 413)


@pytest.mark.parametrize("steps", [1000, 4000])
def test_the_ends_of_the_range_and_unknown_parameters_are_accepted(api: Api, steps: int) -> None:
    api.submit(DATA, steps=steps, learning_rate=1e-4, lora_rank="high")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_BODIES = st.one_of(
    st.binary(max_size=200),
    _JSON.map(json.dumps).map(str.encode),
    st.fixed_dictionaries(
        {"data": st.one_of(_JSON, st.text().map(lambda text: f"http://{text}"), st.just(DATA))},
        optional={"steps": st.integers(900, 4100) | _JSON, "trigger_word": st.text() | _JSON},
    )
    .map(json.dumps)
    .map(str.encode),
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=_BODIES)
def test_no_body_is_answered_with_a_server_error(parsing_api: Api, body: bytes) -> None:
    answer = parsing_api.http.post(SUBMIT, content=body)
    assert answer.status_code in {200, 400}
    assert answer.json()["code"] == answer.status_code


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", "test-key", "Basic test-key", "Bearer kéy"],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", SUBMIT), ("GET", "/api/v3/predictions/x/result"), ("GET", "/_service/stats")],
)
def test_without_the_key_nothing_is_told(
    api: Api, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = send(method, api.base_url + path, **headers)
    assert answer.status_code == 401
    assert answer.json() == {"code": 401, "message": "the API key is missing or wrong"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v3/predictions/0123456789abcdef0123456789abcdef/result", 404),
        ("GET", "/api/v3/predictions/%ff%00'%22/result", 404),
        ("GET", "/api/v3/wavespeed-ai/wan-trainer0123/result", 404),
        ("POST", "/api/v3/wavespeed-ai/some-other-trainer", 404),
        ("GET", "/", 404),
        ("GET", SUBMIT, 405),
    ],
)
def test_unknown_things_are_answered_with_an_envelope(
    api: Api, method: str, path: str, status: int
) -> None:
    answer = api.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["code"] == status


@pytest.mark.parametrize("host", ["[", "a b", "x/y?z", "", "é"])
def test_an_odd_host_header_breaks_nothing(api: Api, host: str) -> None:
    task_id = api.submit(DATA)
    with socket.create_connection(("127.0.0.1", httpx.URL(api.base_url).port or 0)) as client:
        lines = [
            f"GET /api/v3/predictions/{task_id}/result HTTP/1.1",
            f"Host: {host}",
            f"Authorization: {api.http.headers['Authorization']}",
            "Connection: close",
        ]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        status = client.makefile("rb").readline()
    assert status.split()[1] in {b"200", b"400"}


def test_ready_needs_no_key(api: Api) -> None:
    answer = send("GET", f"{api.base_url}/_service/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


def test_stats_count_what_was_accepted_and_how_it_ended(api: Api, data_server: DataServer) -> None:
    def stats() -> dict[str, int]:
        return dict(api.http.get("/_service/stats").json())

    before = stats()
    while before["completed"] + before["failed"] < before["accepted"]:  # what other tests sent
        time.sleep(0.02)
        before = stats()
    api.train(data_server.url(zip_of_images(10)))
    api.train(DATA)
    api.http.post(SUBMIT, json={"data": DATA, "steps": 1})
    after = stats()
    grown = {name: after[name] - before[name] for name in ("accepted", "completed", "failed")}
    assert grown == {"accepted": 2, "completed": 1, "failed": 1}
    assert after["consistent"] is True


def test_a_prediction_is_gone_after_seven_days(
    service: RunningService, data_server: DataServer
) -> None:
    done = service.api.train(data_server.url(zip_of_images(10)))
    service.clock.moved = timedelta(days=7, seconds=-60)
    assert service.api.prediction(done["id"])["status"] == "completed"
    service.clock.moved = timedelta(days=7)
    answer = service.api.http.get(f"/api/v3/predictions/{done['id']}/result")
    assert (answer.status_code, answer.json()["code"]) == (404, 404)
