"""A trainer cannot fetch from here: said before anything is paid."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from lora_prep.errors import StorageError, TrainerNotAllowed
from lora_prep.stores import check_fetchable, check_public
from tests.origin import Answer, closed_port, origin

SECRET = "X-Amz-Signature=topsecret"


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def resolve(*arguments: Any, **how: Any) -> list[Any]:
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.1.1", "::1", "fe80::1%eth0", "fd00::1"],
)
def test_a_private_address_is_refused_whatever_its_name(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, "93.184.216.34", address)
    with pytest.raises(TrainerNotAllowed) as raised:
        check_public(f"https://bucket.example.com/a.zip?{SECRET}")
    assert "topsecret" not in str(raised.value)


def test_a_public_address_is_fine_over_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "93.184.216.34")
    check_public(f"https://bucket.example.com/a.zip?{SECRET}")
    with pytest.raises(TrainerNotAllowed, match="not https"):
        check_public("http://bucket.example.com/a.zip")


def test_a_host_without_an_address_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    with pytest.raises(StorageError, match="has no address"):
        check_public("https://bucket.example.com/a.zip")


@pytest.mark.slow
def test_the_first_byte_is_asked_for_by_get_and_without_a_key() -> None:
    with origin(Answer(206, b"P"), Answer(200, b"PK"), Answer(403)) as server:
        for _ in range(2):
            check_fetchable(f"{server.url}/a.zip?{SECRET}")
        with pytest.raises(StorageError, match="answers 403") as raised:
            check_fetchable(f"{server.url}/a.zip?{SECRET}")
    assert "topsecret" not in str(raised.value)
    assert {request.method for request in server.requests} == {"GET"}
    assert all(request.headers["Range"] == "bytes=0-0" for request in server.requests)
    assert not any("Authorization" in request.headers for request in server.requests)
    with pytest.raises(StorageError, match="ConnectError"):
        check_fetchable(f"http://127.0.0.1:{closed_port()}/a.zip")
