"""Our own client against the service: every call it knows, and the catalogues of both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_prep.model import Prediction, TrainingRequest
from lora_prep.trainers import catalogue
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.media import upload_to_provider
from lora_prep.trainers.webhooks import check_webhook
from tests.origin import Answer, origin

from .helpers import KEY, SUBMIT, WAIT_S, Api, DataServer, RunningService, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client
MODEL = "wavespeed-ai/wan-14b-trainer"


@pytest.fixture
def client(api: Api) -> Iterator[TrainerClient]:
    with TrainerClient(api.base_url, KEY) as client:
        yield client


def end_of(client: TrainerClient, prediction: Prediction) -> Prediction:
    deadline = time.monotonic() + WAIT_S
    while not prediction.status.terminal and time.monotonic() < deadline:
        time.sleep(0.02)
        prediction = client.result(prediction.id)
    return prediction


def test_a_training_from_upload_to_deletion(client: TrainerClient, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(zip_of_images(10))
    url = upload_to_provider(client, path)
    done = end_of(client, client.submit(TrainingRequest(MODEL, url, "p3r5on", 2000)))
    assert (done.status.value, len(done.outputs), done.error_code) == ("completed", 1, 0)
    [listed] = [one for one in client.all_predictions() if one.prediction.id == done.id]
    assert listed.prediction == done
    assert listed.inputs == {"data": url, "trigger_word": "p3r5on", "steps": 2000}
    assert client.delete_predictions([done.id]) == 1
    assert done.id not in [one.prediction.id for one in client.all_predictions()]


def test_the_account(client: TrainerClient) -> None:
    assert client.price(MODEL, {"steps": 2000}) == 0.0
    assert client.balance() == 0.0
    assert client.list_is_consistent()


def test_the_list_without_inputs_and_the_older_price(
    client: TrainerClient, service: RunningService
) -> None:
    service.faults.add("refuse-list-inputs:1")
    service.faults.add("no-price:1")
    client.submit(TrainingRequest(MODEL, "http://127.0.0.1:9/a.zip", "p3r5on", 2000))
    assert all(one.inputs is None for one in client.all_predictions())
    assert client.price(MODEL, {"steps": 2000}) == 0.0


def test_a_failure_carries_its_code(client: TrainerClient, data_server: DataServer) -> None:
    request = TrainingRequest(MODEL, f"{data_server.origin}/gone.zip", "p3r5on", 2000)
    failed = end_of(client, client.submit(request))
    assert (failed.status.value, failed.error_code) == ("failed", 1402)


def test_a_delivery_is_believed(client: TrainerClient, api: Api) -> None:
    with origin(Answer()) as receiver:
        body = {"data": "http://127.0.0.1:9/a.zip"}
        answer = api.http.post(SUBMIT, params={"webhook": receiver.url}, json=body)
        deadline = time.monotonic() + WAIT_S
        while not receiver.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        [told] = receiver.requests
    prediction = check_webhook(told.headers, told.body, client.webhook_secret())
    assert prediction.id == answer.json()["data"]["id"]


def test_both_catalogues_say_the_same(client: TrainerClient) -> None:
    models = client.models()
    assert {model["model_id"] for model in models} == set(catalogue.TRAINERS)
    for trainer in catalogue.TRAINERS.values():
        assert catalogue.differences(trainer, models) == []
