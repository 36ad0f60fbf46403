"""What a hostile data URL can do to a running service: fail its own task, and nothing else."""

from __future__ import annotations

import io
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_prep.trainer_service import dataset

from .helpers import WAIT_S, Api, DataServer, RunningService, jpeg, zip_of

pytestmark = pytest.mark.slow  # servers on threads
FIVE_GB = 5 * 10**9


class Flood:
    """A server that answers with as much as anybody takes, and counts what it got rid of."""

    def __init__(self, start: bytes, header: str) -> None:
        self._answer = f"HTTP/1.1 200 OK\r\n{header}\r\n\r\n".encode() + start
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/data.zip"
        self.sent = 0
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        client.recv(65536)
        block = bytes(2**20)
        try:
            client.sendall(self._answer)
            while self.sent < FIVE_GB:
                client.sendall(block)
                self.sent += len(block)
        except OSError:
            pass
        client.close()
        self.ended.set()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def floods() -> Iterator[list[Flood]]:
    opened: list[Flood] = []
    yield opened
    for flood in opened:
        flood.close()


@pytest.mark.parametrize(
    ("start", "header", "words", "most"),
    [
        (b"<!doctype html>", "Connection: close", "not lead to a zip", 8 * 2**20),
        (b"PK\x03\x04", f"Content-Length: {FIVE_GB}", "larger than 2.0 GiB", 8 * 2**20),
    ],
)
def test_five_gigabytes_are_refused_at_once(
    api: Api, floods: list[Flood], start: bytes, header: str, words: str, most: int
) -> None:
    floods.append(Flood(start, header))
    failed = api.train(floods[0].url)
    assert (failed["status"], failed["code"]) == ("failed", 1401)
    assert words in failed["error"]
    assert floods[0].ended.wait(WAIT_S)
    assert floods[0].sent <= most


def test_an_endless_stream_that_begins_as_a_zip_is_cut_off(
    service: RunningService, floods: list[Flood], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MAX_ZIP_BYTES", 32 * 2**20)
    floods.append(Flood(b"PK\x03\x04", "Connection: close"))
    failed = service.api.train(floods[0].url)
    assert (failed["status"], failed["code"]) == ("failed", 1401)
    assert "larger than" in failed["error"]
    assert floods[0].ended.wait(WAIT_S)
    assert floods[0].sent < 64 * 2**20
    assert list((service.state / "downloads").iterdir()) == []


def test_a_training_that_is_cancelled_lets_go_of_its_download(
    api: Api, floods: list[Flood], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MAX_ZIP_BYTES", 2**60)

    floods.append(Flood(b"PK\x03\x04", "Connection: close"))
    task_id = api.submit(floods[0].url)
    api.wait(task_id, "processing")
    api.post(f"predictions/{task_id}/cancel")
    assert floods[0].ended.wait(WAIT_S)
    assert floods[0].sent < FIVE_GB


def test_a_server_that_drips_is_given_up(
    api: Api, data_server: DataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "FETCH_LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            client, _ = listener.accept()
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            try:
                for letter in b"PK" + bytes(1000):
                    client.sendall(bytes([letter]))
                    time.sleep(0.05)
            except OSError:
                client.close()

        threading.Thread(target=drip, daemon=True).start()
        failed = api.train(f"http://127.0.0.1:{listener.getsockname()[1]}/a.zip")
    assert failed["code"] == 1402
    assert "took longer" in failed["error"]


def test_a_web_page_fails_the_task(api: Api, data_server: DataServer) -> None:
    failed = api.train(data_server.url(b"<html>Sign in to continue</html>"))
    assert (failed["status"], failed["code"]) == ("failed", 1401)
    assert "not lead to a zip" in failed["error"]


def test_a_zip_with_paths_that_climb_writes_nothing(
    service: RunningService, data_server: DataServer, tmp_path: Path
) -> None:
    def files() -> set[Path]:
        around = service.state.parent.parent.rglob("*")
        return {path for path in around if path.is_file() and path.parent.name != "outputs"}

    names = ["../../escape.jpg", "/tmp/escape.jpg", "..\\..\\escape.jpg", "a/../../escape.jpg"]
    climbing = {f"{name}{number}": jpeg(number) for number in range(3) for name in names}
    before = files()
    done = service.api.train(data_server.url(zip_of(climbing)))
    assert done["status"] == "completed"  # twelve pictures, whatever they are called
    assert files() == before


def test_a_zip_that_unpacks_without_end_fails_the_task(
    api: Api, data_server: DataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MAX_UNPACKED_BYTES", 100 * 2**20)
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(12):
                with archive.open(f"{number}.jpg", "w") as entry:
                    for _ in range(10):
                        entry.write(bytes(2**20))
        bomb = file.getvalue()
    assert len(bomb) < 2**18
    failed = api.train(data_server.url(bomb))
    assert (failed["status"], failed["code"]) == ("failed", 1401)
    assert "unpacks to" in failed["error"]
