"""Output links: the file, ranges, signatures, expiry; and the official SDK as a client."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import wavespeed
from safetensors import safe_open

from .helpers import KEY, Api, DataServer, RunningService, send, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client


@pytest.fixture
def link(api: Api, data_server: DataServer) -> str:
    done = api.train(data_server.url(zip_of_images(10)), steps=1500, trigger_word="ohwx")
    return str(done["outputs"][0])


def get(url: str, **headers: str) -> httpx.Response:
    return send("GET", url, **headers)


def test_the_file_says_it_is_a_rehearsal(link: str, tmp_path: Path) -> None:
    file = tmp_path / "lora.safetensors"
    file.write_bytes(get(link).content)
    with safe_open(file, framework="np") as lora:
        metadata = lora.metadata()
    assert metadata.pop("note").startswith("rehearsal: no training took place")
    assert metadata == {
        "format": "pt",
        "rehearsal": "true",
        "trainer": "wavespeed-ai/wan-14b-trainer",
        "trigger_word": "ohwx",
        "steps": "1500",
        "images": "10",
    }


def test_a_part_can_be_fetched(link: str) -> None:
    whole = get(link)
    assert whole.headers["Content-Length"] == str(len(whole.content))
    part = get(link, Range="bytes=1000-", **{"If-Range": whole.headers["ETag"]})
    assert part.status_code == 206
    assert part.headers["Content-Range"] == (
        f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    )
    assert part.headers["ETag"] == whole.headers["ETag"]
    assert part.content == whole.content[1000:]
    assert get(link, Range="bytes=0-7").content == whole.content[:8]
    assert get(link, Range=f"bytes={len(whole.content)}-").status_code == 416
    other = get(link, Range="bytes=1000-", **{"If-Range": '"another"'})
    assert (other.status_code, len(other.content)) == (200, len(whole.content))
    head = send("HEAD", link)
    assert (head.status_code, head.headers["ETag"]) == (200, whole.headers["ETag"])


def test_a_link_that_was_changed_opens_nothing(link: str) -> None:
    *start, expires, signature, name = link.split("/")
    assert get("/".join([*start, expires, signature, name])).status_code == 200
    flipped = ("1" if signature[0] == "0" else "0") + signature[1:]
    for changed in (
        [str(int(expires) + 1), signature, name],
        [expires, flipped, name],
        [expires, signature.upper() + "é", name],
        [expires, signature, "other.safetensors"],
        [expires, signature, "..%2Ftasks.sqlite"],
        ["9" * 5000, signature, name],
        ["never", signature, name],
    ):
        answer = get("/".join([*start, *changed]))
        assert answer.status_code in {403, 404}, changed
        assert answer.json()["code"] == answer.status_code


def test_after_seven_days_the_link_is_dead_and_the_file_removed(
    service: RunningService, link: str
) -> None:
    file = service.state / "outputs" / link.rpartition("/")[2]
    service.clock.moved = timedelta(days=7, seconds=-60)
    assert get(link).status_code == 200
    assert file.exists()
    service.clock.moved = timedelta(days=7, seconds=1)
    answer = get(link)
    assert (answer.status_code, answer.json()["code"]) == (403, 403)
    assert not file.exists()


def test_the_official_sdk_submits_and_gets_its_result(
    api: Api, data_server: DataServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = wavespeed.Client(api_key=KEY, base_url=api.base_url)
    parameters = {
        "data": data_server.url(zip_of_images(10)),
        "trigger_word": "p3r5on",
        "steps": 2000,
    }
    result = client.run("wavespeed-ai/wan-14b-trainer", parameters, poll_interval=0.05)
    [output] = result["outputs"]
    file = tmp_path / "lora.safetensors"
    file.write_bytes(get(output).content)
    with safe_open(file, framework="np") as lora:
        assert len(list(lora.keys())) == 20
    task_id = output.rpartition("/")[2].partition("-")[0]
    assert client.get_result(task_id)["data"]["outputs"] == [output]


def test_the_official_sdk_hears_of_a_failure(api: Api, data_server: DataServer) -> None:
    client = wavespeed.Client(api_key=KEY, base_url=api.base_url)
    with pytest.raises(RuntimeError, match="at least 10"):
        client.run(
            "wavespeed-ai/wan-14b-trainer",
            {"data": data_server.url(zip_of_images(9))},
            poll_interval=0.05,
        )
    with pytest.raises(RuntimeError, match="steps must be between"):
        client.run("wavespeed-ai/wan-14b-trainer", {"data": data_server.origin, "steps": 1})


def test_two_trainings_give_different_files(api: Api, data_server: DataServer) -> None:
    url = data_server.url(zip_of_images(10))
    outputs = [api.train(url)["outputs"][0] for _ in range(2)]
    assert len({hashlib.sha256(get(output).content).digest() for output in outputs}) == 2
