"""List, delete, cancel, prices, balance, models, and what another key sees of them: nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_prep.trainer_service.backend import Job
from lora_prep.trainer_service.catalogue import CATALOGUE
from lora_prep.trainer_service.options import ServiceOptions

from .conftest import running_service
from .helpers import KEY, WAIT_S, Api, DataServer, RunningService, send, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client

DATA = "http://127.0.0.1:9/data.zip"  # nothing listens there
WAN_22 = "wavespeed-ai/wan-2.2-image-lora-trainer"


def wait_for_stop(job: Job) -> None:
    job.report(0.5)
    job.stop.wait(WAIT_S)
    for path in job.outputs:
        path.write_bytes(b"what there is so far")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[RunningService]:
    with running_service(tmp_path / "state", backend=lambda job: None) as service:
        yield service


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[RunningService]:
    """A service whose trainings end only when they are told to."""
    with running_service(tmp_path / "state", backend=wait_for_stop) as service:
        yield service


def test_the_list_has_every_page_newest_first(fresh: RunningService) -> None:
    api = fresh.api
    submitted = [api.submit(f"{DATA}?n={number}") for number in range(7)]
    pages = [api.list(page=number, page_size=3) for number in (1, 2, 3, 4)]
    assert [len(page["items"]) for page in pages] == [3, 3, 1, 0]
    assert {page["total"] for page in pages} == {7}
    listed = [item["id"] for page in pages for item in page["items"]]
    assert listed == submitted[::-1]
    assert all("inputs" not in item for page in pages for item in page["items"])


def test_the_list_shows_inputs_when_asked_and_no_signature_after_the_end(
    fresh: RunningService,
) -> None:
    task_id = fresh.api.submit(f"{DATA}?X-Amz-Signature=topsecret", steps=1500)
    fresh.api.wait(task_id)
    [item] = fresh.api.list(include_inputs=True)["items"]
    assert item["inputs"] == {"data": DATA, "trigger_word": "p3r5on", "steps": 1500}
    assert {**item, "inputs": ""} == {**fresh.api.prediction(task_id), "inputs": ""}


def test_the_list_is_filtered(fresh: RunningService) -> None:
    api = fresh.api
    api.wait(api.submit(DATA))
    other = api.post(WAN_22, data=DATA)["id"]
    api.wait(other)
    assert [item["id"] for item in api.list(model=WAN_22)["items"]] == [other]
    assert api.list(status="completed")["total"] == 2
    assert api.list(status="timeout")["total"] == 0
    now = datetime.now(UTC)
    soon = (now + timedelta(minutes=1)).isoformat()
    assert api.list(created_before=soon)["total"] == 2
    assert api.list(created_after=soon)["total"] == 0
    in_india = now.astimezone().isoformat()
    assert api.list(created_before=in_india, created_after="2020-01-01")["total"] == 2
    created_at = api.prediction(other)["created_at"]
    assert [item["id"] for item in api.list(created_after=created_at)["items"]] == [other]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"page_size": 1}, "1400", "page is required"),
        ({"page": 1}, "1400", "page_size is required"),
        ({"page": 0, "page_size": 1}, "1401", "page must be"),
        ({"page": 1, "page_size": 101}, "1401", "page_size must be"),
        ({"page": 1, "page_size": True}, "1401", "page_size must be"),
        ({"page": 10**30, "page_size": 1}, "1401", "page must be"),
        ({"page": 1, "page_size": 1, "status": "lost"}, "1401", "status must be one of"),
        ({"page": 1, "page_size": 1, "model": 7}, "1401", "model must be"),
        ({"page": 1, "page_size": 1, "created_after": "yesterday"}, "1401", "ISO 8601"),
        (
            {"page": 1, "page_size": 1, "created_after": "0001-01-01T00:00:00+14:00"},
            "1401",
            "ISO 8601",
        ),
        ({"page": 1, "page_size": 1, "include_inputs": 1}, "1401", "include_inputs"),
    ],
)
def test_a_bad_list_request_is_refused(
    api: Api, body: dict[str, Any], code: str, message: str
) -> None:
    answer = api.http.post("/api/v3/predictions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == code
    assert message in answer.json()["message"]


def test_what_is_deleted_is_gone_with_its_file_and_stays_counted(
    service: RunningService, data_server: DataServer
) -> None:
    api = service.api
    done = api.train(data_server.url(zip_of_images(10)))
    file = service.state / "outputs" / done["outputs"][0].rpartition("/")[2]
    assert file.exists()
    before = api.stats()
    ids = [done["id"], done["id"], "unknown"]
    assert api.other().post("predictions/delete", ids=ids) == {"deleted_count": 0}
    assert api.post("predictions/delete", ids=ids) == {"deleted_count": 1}
    assert not file.exists()
    assert api.http.get(f"/api/v3/predictions/{done['id']}/result").status_code == 404
    assert send("GET", done["outputs"][0]).status_code == 404
    assert api.stats() == before


@pytest.mark.parametrize("ids", [None, "x", [1], ["x"] * 1001])
def test_a_bad_delete_request_is_refused(api: Api, ids: object) -> None:
    assert api.http.post("/api/v3/predictions/delete", json={"ids": ids}).status_code == 400


def test_a_training_in_hand_is_cancelled_and_leaves_no_file(patient: RunningService) -> None:
    api = patient.api
    task_id = api.submit(DATA)
    api.wait(task_id, "processing")
    deadline = time.monotonic() + WAIT_S
    while api.http.get(f"/_service/progress/{task_id}").json()["progress"] != 0.5:
        assert time.monotonic() < deadline
    assert api.post(f"predictions/{task_id}/cancel")["status"] == "cancelled"
    assert api.prediction(task_id)["status"] == "cancelled"
    again = api.submit(DATA)  # its worker is free for the next one
    api.wait(again, "processing")
    assert list((patient.state / "outputs").iterdir()) == []
    assert api.post(f"predictions/{task_id}/cancel")["status"] == "cancelled"
    assert api.http.post(f"/api/v3/predictions/{task_id}x/cancel").status_code == 404
    stats = api.stats()
    assert (stats["accepted"], stats["completed"], stats["failed"]) == (2, 0, 0)


def test_a_key_has_its_own_room_and_the_rest_waits(tmp_path: Path) -> None:
    options = ServiceOptions(api_keys=(KEY, "other-key"), tasks_at_once=2)
    with running_service(tmp_path / "state", backend=wait_for_stop, options=options) as service:
        api = service.api
        mine = [api.submit(DATA) for _ in range(3)]
        theirs = api.other().submit(DATA)
        for task_id in mine[:2]:
            api.wait(task_id, "processing")
        api.other().wait(theirs, "processing")
        assert api.prediction(mine[2])["status"] == "created"
        api.post(f"predictions/{mine[0]}/cancel")
        api.wait(mine[2], "processing")


def test_another_key_sees_nothing(fresh: RunningService) -> None:
    api, other = fresh.api, fresh.api.other()
    task_id = api.submit(DATA)
    for path in ("result", ""):
        assert (
            other.http.get(f"/api/v3/predictions/{task_id}/{path}".rstrip("/")).status_code == 404
        )
    assert other.http.post(f"/api/v3/predictions/{task_id}/cancel").status_code == 404
    assert other.http.get(f"/_service/progress/{task_id}").status_code == 404
    assert other.list()["items"] == []
    assert other.stats()["accepted"] == 0
    assert api.http.get(f"/api/v3/predictions/{task_id}").json()["data"]["id"] == task_id
    secrets = {
        one.http.get("/api/v3/webhook/secret").json()["data"]["secret"] for one in (api, other)
    }
    assert len(secrets) == 2


def test_prices_and_the_balance(tmp_path: Path) -> None:
    options = ServiceOptions(api_keys=(KEY,), price_usd=2.0, balance_usd=9.0)
    with running_service(tmp_path / "state", backend=lambda job: None, options=options) as service:
        api = service.api
        model = "wavespeed-ai/wan-14b-trainer"

        def balance() -> float:
            return float(api.http.get("/api/v3/balance").json()["data"]["balance"])

        quote = api.post("model/price", model_id=model, inputs={"data": DATA, "steps": 3000})
        assert (quote["model_id"], quote["price"], quote["currency"]) == (model, 6.0, "USD")
        assert api.post("model/pricing", model_id=model)["unit_price"] == 4.0
        assert api.post("model/price", model_id=WAN_22)["price"] == 4.0
        assert balance() == 9.0
        api.wait(api.submit(DATA, steps=3000))
        assert balance() == 3.0
        answer = api.http.post(f"/api/v3/{model}", json={"data": DATA})
        assert (answer.status_code, answer.json()["code"]) == (403, 403)
        assert "balance" in answer.json()["message"]
        assert api.stats()["accepted"] == 1


def test_what_fails_is_refunded(tmp_path: Path) -> None:
    options = ServiceOptions(api_keys=(KEY,), price_usd=1.0, balance_usd=2.0)
    with running_service(tmp_path / "state", options=options) as service:
        failed = service.api.train(DATA)
        assert (failed["status"], failed["code"]) == ("failed", 1402)
        assert service.api.http.get("/api/v3/balance").json()["data"] == {"balance": 2.0}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model_id": "x"},
        {"model_id": ["x"]},
        {"model_id": WAN_22, "inputs": []},
        {"model_id": WAN_22, "inputs": {"steps": 1}},
    ],
)
def test_a_bad_quote_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.http.post("/api/v3/model/price", json=body).status_code == 400


def test_the_models_say_what_they_take(api: Api) -> None:
    models = api.http.get("/api/v3/models").json()["data"]
    assert [model["model_id"] for model in models] == list(CATALOGUE)
    [schema] = models[0]["api_schema"]["api_schemas"]
    assert schema["request_schema"]["required"] == ["data"]
    steps = schema["request_schema"]["properties"]["steps"]
    assert steps == {"type": "integer", "default": 2000, "minimum": 1000, "maximum": 4000}


def test_the_two_files_of_wan_22_are_told_apart_by_name(api: Api, data_server: DataServer) -> None:
    url = data_server.url(zip_of_images(10))
    done = api.wait(api.post(WAN_22, data=url, trigger_word="", lora_rank=64)["id"])
    assert done["has_nsfw_contents"] == [False, False]
    low, high = (link.rpartition("/")[2] for link in done["outputs"])
    assert "_low_noise_lora_" in low
    assert "_high_noise_lora_" in high
    contents = {send("GET", link).content for link in done["outputs"]}
    assert len(contents) == 2


def test_every_trainer_has_its_own_ranges(api: Api, data_server: DataServer) -> None:
    flux = "wavespeed-ai/flux-dev-lora-trainer"
    url = data_server.url(zip_of_images(4))
    assert api.wait(api.post(flux, data=url, steps=500)["id"])["status"] == "completed"
    for model, parameters in (
        (flux, {"steps": 499}),
        (flux, {"lora_rank": 65}),
        (WAN_22, {"learning_rate": 1.5}),
        (WAN_22, {"learning_rate": "low"}),
    ):
        answer = api.http.post(f"/api/v3/{model}", json={"data": url, **parameters})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "1401")
