"""Webhooks: signed, again when nobody heard, after a restart too; and uploads by ticket."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.trainer_service.webhooks import signed_headers
from tests.origin import Answer, Origin, Request, origin

from .conftest import running_service
from .helpers import OPTIONS, SUBMIT, WAIT_S, Api, RunningService, send, zip_of_images

pytestmark = pytest.mark.slow  # servers on threads
DATA = "http://127.0.0.1:9/data.zip?X-Amz-Signature=topsecret"


@contextmanager
def service_and_receiver(
    folder: Path, *answers: Answer, faults: tuple[str, ...] = ()
) -> Iterator[tuple[RunningService, Origin]]:
    with origin(*answers) as receiver:
        with running_service(folder, *faults, backend=lambda job: None) as service:
            yield service, receiver


def submit(api: Api, receiver: Origin) -> str:
    hook = f"{receiver.url}/hook?token=topsecret"
    answer = api.http.post(SUBMIT, params={"webhook": hook}, json={"data": DATA})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["id"])


def wait_for(receiver: Origin, count: int) -> list[Request]:
    deadline = time.monotonic() + WAIT_S
    while len(receiver.requests) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # one more would have come by now
    assert len(receiver.requests) == count
    return receiver.requests


def lower(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def secret(api: Api) -> str:
    return str(api.http.get("/api/v3/webhook/secret").json()["data"]["secret"])


def test_the_end_is_told_with_a_signature(tmp_path: Path) -> None:
    with service_and_receiver(tmp_path, Answer()) as (service, receiver):
        task_id = submit(service.api, receiver)
        [told] = wait_for(receiver, 1)
        prediction = json.loads(told.body)
        assert prediction.pop("input")["data"] == "http://127.0.0.1:9/data.zip"
        assert prediction == service.api.prediction(task_id)
        headers = lower(told)
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + told.body
        key = secret(service.api).removeprefix("whsec_").encode()
        expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
        assert headers["webhook-signature"] == f"v3,{expected}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert "authorization" not in headers


def test_nobody_heard_is_tried_again_three_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # another test may have set the log up for itself
    with service_and_receiver(tmp_path, Answer(500), Answer(302)) as (service, receiver):
        submit(service.api, receiver)
        told = wait_for(receiver, 4)
        assert len({lower(request)["webhook-id"] for request in told}) == 1
    assert "HTTP 500" in caplog.text
    assert "topsecret" not in caplog.text


def test_a_redelivery_that_is_heard_is_the_last(tmp_path: Path) -> None:
    answers = (Answer(drop=True), Answer(503), Answer(204))
    with service_and_receiver(tmp_path, *answers) as (service, receiver):
        submit(service.api, receiver)
        wait_for(receiver, 3)


def test_a_delivery_may_come_twice(tmp_path: Path) -> None:
    faults = ("duplicate-webhook",)
    with service_and_receiver(tmp_path, Answer(), faults=faults) as (service, receiver):
        submit(service.api, receiver)
        told = wait_for(receiver, 2)
        assert lower(told[0])["webhook-id"] == lower(told[1])["webhook-id"]
        submit(service.api, receiver)
        wait_for(receiver, 3)


def test_a_restart_forgets_no_delivery(tmp_path: Path) -> None:
    slow = replace(OPTIONS, webhook_retry_s=1.0)
    with origin(Answer(500), Answer()) as receiver:
        with running_service(tmp_path, backend=lambda job: None, options=slow) as service:
            submit(service.api, receiver)
            deadline = time.monotonic() + WAIT_S
            while not receiver.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)  # for the answer to be noted
        assert len(receiver.requests) == 1
        with running_service(tmp_path, backend=lambda job: None):
            wait_for(receiver, 2)


@pytest.mark.parametrize("webhook", ["nowhere", "file:///etc/passwd", "http://"])
def test_a_webhook_that_is_no_url_is_refused(api: Api, webhook: str) -> None:
    answer = api.http.post(SUBMIT, params={"webhook": webhook}, json={"data": DATA})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "1401")


def test_our_own_vector() -> None:
    # openssl: printf 'msg_1.1767830400.{}' | openssl dgst -sha256 -hmac abc
    headers = signed_headers("whsec_abc", "msg_1", 1767830400, b"{}")
    assert (
        headers["webhook-signature"]
        == "v3,a4a5bd9c033530f8d13eb2c32e1b8f57fd3201d9c6480d5bd2bd2e7c426ed845"
    )


def put(ticket: dict[str, Any], content: bytes, **headers: str) -> int:
    import httpx

    upload = ticket["upload"]
    sent = {**upload["headers"], **headers}
    url = upload["url"]
    return httpx.request(
        upload["method"], url, content=content, headers=sent, trust_env=False
    ).status_code


def test_an_upload_by_ticket_can_be_trained_on(api: Api) -> None:
    content = zip_of_images(10)
    ticket = api.post("media/uploads", filename="faces.zip", size=len(content))
    assert ticket["upload"]["method"] == "PUT"
    assert ticket["upload"]["headers"] == {"Content-Type": "application/zip"}
    assert send("GET", ticket["download_url"]).status_code == 404  # not there yet
    assert put(ticket, content) == 200
    assert send("GET", ticket["download_url"]).content == content
    assert ticket["download_url"].endswith(".zip")
    assert api.train(ticket["download_url"])["status"] == "completed"


def test_a_ticket_takes_its_own_bytes_only(api: Api, service: RunningService) -> None:
    ticket = api.post("media/uploads", filename="../../a.zip", size=10)
    assert put(ticket, bytes(9)) == 400
    assert put(ticket, bytes(11)) == 400
    assert put(ticket, bytes(10), **{"Content-Type": "text/html"}) == 403
    url = ticket["upload"]["url"]
    assert put({"upload": {**ticket["upload"], "url": url.replace("/10/", "/11/")}}, b"") == 403
    assert send("PUT", ticket["download_url"]).status_code == 405
    assert not [path for path in (service.state / "media").iterdir() if path.suffix == ".part"]
    assert put(ticket, bytes(10)) == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filename": "a.zip"},
        {"filename": "", "size": 1},
        {"filename": "a.zip", "size": 0},
        {"filename": "a.zip", "size": 2**40},
        {"filename": "a.zip", "size": 1, "content_type": "a\r\nb"},
    ],
)
def test_a_bad_ticket_request_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.http.post("/api/v3/media/uploads", json=body).status_code == 400
