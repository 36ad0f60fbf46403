"""Every scripted fault, as a client sees it, and how it is spelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lora_prep.errors import ConfigurationError
from lora_prep.trainer_service.faults import FAULTS, Fault, FaultScript, parse_fault

from .conftest import running_service
from .helpers import SUBMIT, WAIT_S, Api, DataServer, RunningService, send, zip_of_images

DATA = "http://127.0.0.1:9/data.zip"
Serve = Callable[..., RunningService]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[AbstractContextManager[RunningService]] = []

    def start(*faults: str, **options: Any) -> RunningService:
        folder = tmp_path / str(len(started))
        started.append(running_service(folder, *faults, **options))
        return started[-1].__enter__()

    yield start
    for service in started:
        service.__exit__(None, None, None)


def accepted(api: Api) -> int:
    return int(api.stats()["accepted"])


@pytest.mark.parametrize(
    ("spelling", "fault"),
    [
        ("html", Fault("html", ("submit", "result", "list", "price"), 1)),
        ("html@list", Fault("html", ("list",), 1)),
        ("status-503@result:3", Fault("status-503", ("result",), 3)),
        ("slow:0.5", Fault("slow", ("submit", "result", "list", "price"), None, 0.5)),
        ("accept-late:2", Fault("accept-late", ("submit",), 1, 2.0)),
        ("no-range", Fault("no-range", ("output",), None)),
        ("no-range:2", Fault("no-range", ("output",), 2)),
    ],
)
def test_how_a_fault_is_spelled(spelling: str, fault: Fault) -> None:
    assert parse_fault(spelling) == fault


@pytest.mark.parametrize(
    "spelling",
    ["", "lost", "html:", "html:x", "html:0", "html:-1", "html:1.5", "html@output", "html@:1",
     "slow:nan", "slow:inf"],
)  # fmt: skip
def test_what_is_no_fault_is_refused(spelling: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FaultScript([spelling])
    assert "status-503@result:2" in caught.value.fix


def test_a_count_is_used_up_and_spellings_add() -> None:
    script = FaultScript(["html:2", "html"])
    taken = [script.take("html", "submit") is not None for _ in range(4)]
    assert taken == [True, True, True, False]
    assert script.take("html", "output") is None


def test_every_fault_says_what_it_does() -> None:
    assert all(kind.meaning and kind.places for kind in FAULTS.values())


@pytest.mark.slow
def test_a_connection_that_breaks_before_and_after_the_task_was_accepted(serve: Serve) -> None:
    api = serve("drop-before-accept", "drop-after-accept").api
    for count in (0, 1):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            api.submit(DATA)
        assert accepted(api) == count
    assert api.list()["total"] == 1
    api.submit(DATA)
    assert accepted(api) == 2


@pytest.mark.slow
def test_a_task_that_is_accepted_after_its_client_has_gone(serve: Serve) -> None:
    api = serve("accept-late:0.5").api
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        api.submit(DATA, steps=1234)
    assert api.list()["total"] == 0
    deadline = time.monotonic() + WAIT_S
    while not accepted(api):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert api.list(include_inputs=True)["items"][0]["inputs"]["steps"] == 1234
    assert api.stats()["consistent"] is False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("status-429", 429, "application/json"),
        ("status-500", 500, "application/json"),
        ("status-503", 503, "application/json"),
        ("html", 200, "text/html; charset=utf-8"),
        ("envelope-error", 200, "application/json"),
    ],
)
def test_an_answer_that_is_none(serve: Serve, fault: str, status: int, kind: str) -> None:
    api = serve(f"{fault}@submit", f"{fault}@list").api
    answers = [
        api.http.post(SUBMIT, json={"data": DATA}),
        api.http.post("/api/v3/predictions", json={"page": 1, "page_size": 1}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, kind)
        if fault == "status-429":
            assert answer.headers["Retry-After"] == "1"
        if fault == "envelope-error":
            assert (answer.json()["code"], answer.json()["data"]) == (500, None)
    assert accepted(api) == 0
    assert api.prediction(api.submit(DATA))["status"] in {"created", "processing", "failed"}


@pytest.mark.slow
def test_a_slow_answer_has_done_its_work_before(serve: Serve) -> None:
    api = serve("slow:0.6").api
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(SUBMIT, json={"data": DATA}, timeout=0.3)
    assert accepted(api) == 1
    assert api.stats()["consistent"] is True


@pytest.mark.slow
def test_a_list_that_lags_and_one_that_hides(serve: Serve) -> None:
    api = serve("list-lag:1", "no-list-inputs").api
    api.submit(DATA)
    assert api.list()["total"] == 0
    assert api.stats()["consistent"] is False
    deadline = time.monotonic() + WAIT_S
    while not (items := api.list(include_inputs=True)["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "inputs" not in items[0]

    api = serve("refuse-list-inputs").api
    query = {"page": 1, "page_size": 1}
    refused = api.http.post("/api/v3/predictions", json={**query, "include_inputs": True})
    assert refused.status_code == 400
    assert api.list()["total"] == 0


@pytest.mark.slow
def test_results_that_say_odd_things(serve: Serve) -> None:
    api = serve("unknown-status", "result-404").api
    task_id = api.submit(DATA)
    assert api.http.get(f"/api/v3/predictions/{task_id}/result").status_code == 404
    assert api.prediction(task_id)["status"] == "pending"
    assert api.wait(task_id)["status"] == "failed"


@pytest.mark.slow
def test_tasks_that_go_another_way(serve: Serve, data_server: DataServer) -> None:
    api = serve("data-1402", "empty-outputs", "two-outputs").api
    url = data_server.url(zip_of_images(10))
    refused = api.train(url)
    assert (refused["status"], refused["code"]) == ("failed", 1402)
    ended = [api.train(url) for _ in range(2)]
    assert {one["status"] for one in [*ended, api.train(url)]} == {"completed"}
    # The first task, which failed, was already the one without outputs.
    assert [len(one["outputs"]) for one in ended] == [2, 1]


@pytest.mark.slow
def test_downloads_that_break(serve: Serve, data_server: DataServer) -> None:
    api = serve("expired-output", "truncated-output", "no-range:1").api
    [link] = api.train(data_server.url(zip_of_images(10)))["outputs"]
    assert send("GET", link).status_code == 403
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
        send("GET", link)
    whole = send("GET", link, Range="bytes=8-")
    assert whole.status_code == 206  # no-range was spent on the download before
    assert send("GET", link).headers["Accept-Ranges"] == "bytes"

    api = serve("no-range").api
    [link] = api.train(data_server.url(zip_of_images(10)))["outputs"]
    answer = send("GET", link, Range="bytes=8-")
    assert answer.status_code == 200
    assert "Accept-Ranges" not in answer.headers


@pytest.mark.slow
def test_an_older_server_knows_only_pricing(serve: Serve) -> None:
    api = serve("no-price").api
    quote = {"model_id": "wavespeed-ai/wan-14b-trainer"}
    assert api.http.post("/api/v3/model/price", json=quote).status_code == 404
    assert api.http.post("/api/v3/model/pricing", json=quote).status_code == 200


@pytest.mark.slow
def test_a_fault_can_be_added_while_it_runs(service: RunningService) -> None:
    service.faults.add("status-503@result")
    task_id = service.api.submit(DATA)
    path = f"/api/v3/predictions/{task_id}/result"
    assert [service.api.http.get(path).status_code for _ in range(2)] == [503, 200]
