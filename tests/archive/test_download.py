"""A download is whole or absent."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from lora_prep.archive import download
from lora_prep.errors import ArchiveError, ResultExpired
from tests.origin import Answer, closed_port, origin

BODY = os.urandom(3_000_000)
WHOLE = Answer(200, BODY)


def test_the_bytes_arrive_without_the_key_and_uncompressed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with origin(WHOLE) as server:
        download(f"{server.url}/lora?Signature=abc", path)
    assert path.read_bytes() == BODY
    assert "Authorization" not in server.requests[0].headers
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_cut_transfer_a_drop_and_an_overload_are_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with origin(Answer(200, BODY[:1000], cut=500), Answer(drop=True), Answer(503), WHOLE) as server:
        download(server.url, path)
    assert path.read_bytes() == BODY
    assert len(server.requests) == 4


def test_what_never_arrives_whole_leaves_nothing(tmp_path: Path) -> None:
    with origin(Answer(200, b"half", cut=4)) as server, pytest.raises(ArchiveError) as raised:
        download(f"{server.url}/lora?Signature=abc", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    assert "Signature" not in str(raised.value)
    assert raised.value.retryable


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_is_expired_and_not_asked_again(status: int, tmp_path: Path) -> None:
    with origin(Answer(status)) as server, pytest.raises(ResultExpired):
        download(server.url, tmp_path / "x")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_an_archive_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        download(f"http://127.0.0.1:{closed_port()}", tmp_path / "x")


def test_a_file_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("lora_prep.archive.download")  # the name is the function's
    monkeypatch.setattr(module, "MAX_BYTES", 1_000_000)
    with origin(WHOLE) as server, pytest.raises(ArchiveError, match="too large"):
        download(server.url, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
