"""The official SDK against the service, unchanged: run, get_result, upload, and how each fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wavespeed
from safetensors import safe_open

from .conftest import running_service
from .helpers import KEY, Api, DataServer, RunningService, send, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client
MODEL = "wavespeed-ai/wan-14b-trainer"


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[RunningService]:
    with running_service(tmp_path / "state") as service:
        yield service


def sdk(api: Api, key: str = KEY) -> wavespeed.Client:
    return wavespeed.Client(api_key=key, base_url=api.base_url, retry_interval=0.05)


def run(client: wavespeed.Client, url: str, model: str = MODEL, **inputs: object) -> list[str]:
    result = client.run(model, {"data": url, **inputs}, poll_interval=0.05, timeout=20)
    return list(result["outputs"])


def test_run_gives_a_lora(api: Api, data_server: DataServer, tmp_path: Path) -> None:
    [output] = run(sdk(api), data_server.url(zip_of_images(10)), trigger_word="ohwx", steps=1000)
    file = tmp_path / "lora.safetensors"
    file.write_bytes(send("GET", output).content)
    with safe_open(file, framework="np") as lora:
        assert lora.metadata()["trigger_word"] == "ohwx"


def test_run_of_a_trainer_with_two_outputs(api: Api, data_server: DataServer) -> None:
    url = data_server.url(zip_of_images(10))
    assert len(run(sdk(api), url, "wavespeed-ai/wan-2.2-image-lora-trainer")) == 2


def test_get_result(api: Api, data_server: DataServer) -> None:
    done = api.train(data_server.url(zip_of_images(10)))
    told = sdk(api).get_result(done["id"])
    assert told == {"code": 200, "message": "success", "data": done}


def test_upload_and_train_on_it(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    path.write_bytes(zip_of_images(10))
    client = sdk(api)
    url = client.upload(str(path))
    assert send("GET", url).content == path.read_bytes()
    assert len(run(client, url)) == 1


@pytest.mark.parametrize(
    ("inputs", "words"),
    [({"steps": 1}, "steps must be between"), ({"trigger_word": ""}, "trigger_word must be")],
)
def test_a_refusal_is_told_in_our_words(api: Api, inputs: dict[str, object], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        run(sdk(api), "http://127.0.0.1:9/a.zip", **inputs)


def test_a_failed_training_is_told_in_our_words(api: Api, data_server: DataServer) -> None:
    with pytest.raises(RuntimeError, match="at least 10"):
        run(sdk(api), data_server.url(zip_of_images(9)))
    with pytest.raises(RuntimeError, match="ConnectError"):
        run(sdk(api), "http://127.0.0.1:9/a.zip")


def test_a_wrong_key_and_an_unknown_id(api: Api) -> None:
    with pytest.raises(RuntimeError, match="401"):
        run(sdk(api, "wrong"), "http://127.0.0.1:9/a.zip")
    with pytest.raises(RuntimeError, match="404"):
        sdk(api).get_result("0" * 32)


@pytest.mark.parametrize("fault", ["status-429", "status-500", "status-503", "drop-after-accept"])
def test_a_submission_is_sent_once_whatever_comes_back(
    faulty: RunningService, data_server: DataServer, fault: str
) -> None:
    api, url = faulty.api, data_server.url(zip_of_images(10))
    faulty.faults.add(f"{fault}@submit")
    with pytest.raises(RuntimeError):
        run(sdk(api), url)
    assert api.stats()["accepted"] == (1 if fault == "drop-after-accept" else 0)
    assert len(run(sdk(api), url)) == 1


@pytest.mark.parametrize(
    "fault", ["status-429@result:2", "status-503@result:2", "unknown-status:2"]
)
def test_polling_goes_on_over_what_passes(
    faulty: RunningService, data_server: DataServer, fault: str
) -> None:
    faulty.faults.add(fault)
    assert len(run(sdk(faulty.api), data_server.url(zip_of_images(10)))) == 1
