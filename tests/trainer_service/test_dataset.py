"""Fetching and counting, with what a stranger's server and a stranger's zip can do."""

from __future__ import annotations

import io
import random
import socket
import struct
import sys
import threading
import zipfile
import zlib
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_prep.guard import Guard, RefuseDowngrade
from lora_prep.trainer_service import dataset
from lora_prep.trainer_service.dataset import count_images
from lora_prep.trainer_service.protocol import TaskCode, TaskError

from .helpers import Api, DataServer, jpeg, zip_of, zip_of_images

pytestmark = pytest.mark.slow  # a server on a thread, and a client


def fetch(url: str, folder: Path) -> IO[bytes]:
    return dataset.fetch(url, folder, Guard(closed=False), threading.Event())


def count(content: bytes) -> tuple[int, int]:
    return count_images(io.BytesIO(content))


def picture(format: str, side: int = 16) -> bytes:  # noqa: A002
    content = io.BytesIO()
    Image.new("RGB", (side, side)).save(content, format)
    return content.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b""), b"IEND"]
    sealed = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(sealed)


def test_only_what_decodes_is_counted() -> None:
    photo = jpeg()
    files = {
        "folder/": b"",
        "folder/a.jpg": photo,
        "no suffix": picture("PNG"),
        "c.webp": picture("WEBP"),
        "captions.txt": b"p3r5on",
        "renamed.jpg": b"<html>not a picture</html>",
        "cut.jpg": jpeg(side=256)[:-200],
        "empty.jpg": b"",
        "__MACOSX/._a.jpg": b"\x00\x05\x16\x07",
        "bomb.png": png_that_claims(60_000, 60_000),
        "other.tiff": picture("TIFF"),
        "../../escape.jpg": photo,
    }
    assert count(zip_of(files)) == (4, 11)


def test_a_jpeg_is_decoded_to_its_end() -> None:
    whole = jpeg(side=512)
    assert count(zip_of({"a.jpg": whole, "b.jpg": whole[: len(whole) // 2]})) == (1, 2)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_cannot_be_bounded_are_not_unpacked(packing: int) -> None:
    assert count(zip_of({"a.jpg": jpeg()}, packing)) == (0, 1)


def test_an_encrypted_entry_is_no_image() -> None:
    content = bytearray(zip_of({"a.jpg": jpeg()}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    assert count(bytes(content)) == (0, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not lead to a zip"),
        (b"<html>Sign in</html>", "not lead to a zip"),
        (zip_of_images(10)[:-30], "not lead to a zip"),
        (zip_of({f"{number}.jpg": b"" for number in range(1001)}), "1001 files"),
    ],
)
def test_what_is_no_usable_zip_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(TaskError, match=sentence) as caught:
        count(content)
    assert caught.value.code == TaskCode.INVALID_PARAMETER


def test_a_zip_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_UNPACKED_BYTES", 100_000)
    with pytest.raises(TaskError, match="unpacks to"):
        count(zip_of({"a.jpg": bytes(100_001)}))


def test_a_bomb_behind_the_url_fails_the_task(api: Api, data_server: DataServer) -> None:
    bomb = bytearray(zip_of_images(10))
    sizes = bomb.index(b"PK\x01\x02") + 24
    bomb[sizes : sizes + 4] = struct.pack("<I", 2**32 - 2)
    failed = api.train(data_server.url(bytes(bomb)))
    assert (failed["status"], failed["code"]) == ("failed", 1401)
    assert "unpacks to 4.0 GiB, above 2.0 GiB" in failed["error"]


def test_pictures_that_take_too_long_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "COUNT_LIMIT_S", -1.0)
    with pytest.raises(TaskError, match="take longer") as caught:
        count(zip_of_images(2))
    assert caught.value.code == TaskCode.INVALID_PARAMETER


def test_an_entry_above_its_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "MAX_ENTRY_BYTES", 1000)
    padded = jpeg() + bytes(1000)  # decoders ignore what follows a picture
    assert count(zip_of({"a.jpg": padded})) == (0, 1)


def test_an_entry_larger_than_it_declares_is_no_image() -> None:
    content = bytearray(zip_of({"a.jpg": jpeg() + bytes(10_000_000)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = struct.pack("<I", 50)
    assert count(bytes(content)) == (0, 1)


def test_a_directory_of_gigabytes_is_not_read_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset, "MAX_READ_BYTES", 65_536)
    names = {f"{number}{'x' * 60_000}": b"" for number in range(3)}
    with pytest.raises(TaskError, match="directory is too large"):
        count(zip_of(names))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(), flips=st.integers(1, 40))
def test_a_damaged_zip_is_counted_or_refused_and_nothing_else(seed: int, flips: int) -> None:
    content = bytearray(zip_of({"a.jpg": jpeg(), "b.png": picture("PNG")}))
    choose = random.Random(seed)
    for _ in range(flips):
        content[choose.randrange(len(content))] = choose.randrange(256)
    try:
        images, files = count(bytes(content))
    except TaskError:
        return
    assert images <= files <= 2


def test_fewer_than_ten_images_fail_the_task_with_their_number(
    api: Api, data_server: DataServer
) -> None:
    files = {f"{number}.jpg": jpeg(number) for number in range(9)} | {"notes.txt": b"hello"}
    failed = api.train(data_server.url(zip_of(files)))
    assert (failed["status"], failed["code"], failed["outputs"]) == ("failed", 1401, [])
    assert "9 images that can be opened (in 10 files); at least 10" in failed["error"]
    assert failed["has_nsfw_contents"] == []


def test_html_behind_the_url_fails_the_task(api: Api, data_server: DataServer) -> None:
    failed = api.train(data_server.url(b"<html>Sign in</html>"))
    assert (failed["status"], failed["code"]) == ("failed", 1401)


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        (None, "answered HTTP 403"),
        ("/loop", "TooManyRedirects"),
        ("file:///etc/passwd", "UnsupportedProtocol"),
        ("http://127.0.0.1:9/closed?token=topsecret", "ConnectError"),
    ],
)
def test_a_url_that_gives_nothing_fails_with_1402_and_tells_no_secret(
    api: Api, data_server: DataServer, to: str | None, sentence: str
) -> None:
    data_server.redirects = {"/loop": to} if to else {}
    failed = api.train(f"{data_server.origin}/loop?X-Amz-Signature=topsecret")
    assert (failed["status"], failed["code"]) == ("failed", 1402)
    assert sentence in failed["error"]
    assert data_server.origin.removeprefix("http://") in failed["error"]
    assert "topsecret" not in failed["error"]


def test_a_store_that_is_just_being_restarted_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started: list[DataServer] = []

    class Restart(threading.Event):
        """Its wait stands in for the waiting: the store comes up while nobody looks."""

        def wait(self, timeout: float | None = None) -> bool:
            started.append(DataServer(port=port))
            started[0].url(zip_of_images(10), "/set.zip")
            return False

    monkeypatch.setattr(dataset, "RETRY_WAITS_S", (0.5,))
    url = f"http://127.0.0.1:{port}/set.zip"
    try:
        with dataset.fetch(url, tmp_path, Guard(closed=False), Restart()) as file:
            assert count_images(file) == (10, 10)
    finally:
        started[0].close()
    assert len(started) == 1


def test_a_redirect_is_followed(api: Api, data_server: DataServer) -> None:
    data_server.url(zip_of_images(10), "/moved.zip")
    data_server.redirects["/old"] = "/moved.zip"
    assert api.train(f"{data_server.origin}/old")["status"] == "completed"


def test_a_redirect_from_https_to_http_is_refused() -> None:
    hook = RefuseDowngrade()
    hook(dataset.httpx.Request("GET", "http://a/"))
    hook(dataset.httpx.Request("GET", "https://a/"))
    hook(dataset.httpx.Request("GET", "https://b/"))
    with pytest.raises(dataset.httpx.UnsupportedProtocol):
        hook(dataset.httpx.Request("GET", "http://b/"))


def test_a_download_above_the_limit_is_cut_off(
    data_server: DataServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "MAX_ZIP_BYTES", 1000)
    with pytest.raises(TaskError, match="larger than") as caught:
        fetch(data_server.url(bytes(1001)), tmp_path)
    assert caught.value.code == TaskCode.INVALID_PARAMETER


def test_a_download_has_no_name_on_the_disk(data_server: DataServer, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with fetch(data_server.url(b"PK photos"), downloads) as file:
        assert list(downloads.iterdir()) == []
        assert file.read() == b"PK photos"


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(
    data_server: DataServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with fetch(data_server.url(b"PK photos"), tmp_path) as file:
        assert file.read() == b"PK photos"


@pytest.fixture
def socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    monkeypatch.setenv("ALL_PROXY", "socks5://user:word@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.usefixtures("socks_proxy")
def test_a_proxy_that_cannot_be_used_does_not_count_for_loopback(
    data_server: DataServer, tmp_path: Path
) -> None:
    with fetch(data_server.url(b"PK photos"), tmp_path) as file:
        assert file.read() == b"PK photos"


@pytest.mark.usefixtures("socks_proxy")
def test_a_socks_proxy_names_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"pip install httpx\[socks\]") as caught:
        fetch("https://bucket.test/a.zip?X-Amz-Signature=topsecret", tmp_path)
    assert caught.value.code == TaskCode.DATA_NOT_FETCHED
    assert "bucket.test" in caught.value.sentence
    assert "topsecret" not in caught.value.sentence
    assert "word" not in caught.value.sentence
