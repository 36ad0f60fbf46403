"""Prices, balance, the list, deletion, uploads: what costs nothing and may be asked again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lora_prep.errors import (
    ConfigurationError,
    CredentialsError,
    Declined,
    StorageError,
    TemporaryError,
    TooManyRequests,
)
from lora_prep.trainers import (
    TokenBucket,
    TrainerClient,
    check_budget,
    upload_to_provider,
)
from tests.origin import Answer, closed_port, envelope, origin

pytestmark = pytest.mark.slow  # servers and databases

KEY = "wsk-very-secret"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_list_is_asked_for_as_documented() -> None:
    page = envelope(items=[{"id": "a", "inputs": {"data": "u", "steps": 1}}, {"id": "b"}])
    with origin(page) as server, TrainerClient(server.url, KEY) as client:
        first, second = client.list_predictions(
            page=2,
            page_size=50,
            model="m",
            status="completed",
            created_after=WHEN,
            created_before=WHEN,
            include_inputs=True,
        )
    assert first.texts() == ["u"]
    assert second.inputs is None
    assert "inputs" not in repr(first), "they hold data URLs"
    assert json.loads(server.requests[0].body) == {
        "page": 2,
        "page_size": 50,
        "model": "m",
        "status": "completed",
        "created_after": "2026-01-02T03:04:05.000000Z",
        "created_before": "2026-01-02T03:04:05.000000Z",
        "include_inputs": True,
    }


def test_a_server_that_knows_no_pages_is_read_once() -> None:
    page = envelope(items=[{"id": "a"}, {"id": "b"}])
    with origin(page) as server, TrainerClient(server.url, KEY) as client:
        assert [one.prediction.id for one in client.all_predictions()] == ["a", "b"]
    assert len(server.requests) == 2


def test_deletion_names_the_ids() -> None:
    with origin(envelope(deleted_count=2)) as server, TrainerClient(server.url, KEY) as client:
        assert client.delete_predictions(["a", "b"]) == 2
    assert server.requests[0].path == "/api/v3/predictions/delete"
    assert json.loads(server.requests[0].body) == {"ids": ["a", "b"]}


def test_the_price_falls_back_to_the_older_endpoint() -> None:
    with origin(envelope(404), envelope(unit_price=3)) as server:
        with TrainerClient(server.url, KEY) as client:
            assert client.price("m", {"steps": 2000}) == 3
    assert [one.path for one in server.requests] == ["/api/v3/model/price", "/api/v3/model/pricing"]
    assert json.loads(server.requests[1].body) == {"model_id": "m", "inputs": {"steps": 2000}}


@pytest.mark.parametrize("answer", [envelope(404), Answer(500), Answer(200, b"<html>")])
def test_a_price_that_is_not_told_is_unknown(answer: Answer) -> None:
    with origin(answer) as server, TrainerClient(server.url, KEY) as client:
        assert client.price("m", {}) is None
        assert client.balance() is None


def test_the_account_s_errors_are_told() -> None:
    with origin(envelope(401)) as server, TrainerClient(server.url, KEY) as client:
        for ask in (client.balance, client.models, lambda: client.price("m", {})):
            with pytest.raises(CredentialsError):
                ask()
    with origin(Answer(429, b"", {"Retry-After": "7"})) as server:
        with TrainerClient(server.url, KEY) as client, pytest.raises(TooManyRequests) as raised:
            client.balance()
    assert raised.value.retry_after_s == 7
    with TrainerClient(f"http://127.0.0.1:{closed_port()}", KEY) as client:
        with pytest.raises(TemporaryError):
            client.balance()


def test_balance_secret_and_models() -> None:
    with origin(envelope(balance="12.5")) as server, TrainerClient(server.url, KEY) as client:
        assert client.balance() == 12.5
    with origin(envelope(secret="whsec_x")) as server, TrainerClient(server.url, KEY) as client:
        assert client.webhook_secret() == "whsec_x"
    listed = Answer(200, b'{"code": 200, "data": [{"model_id": "m"}, 3]}')
    with origin(listed) as server, TrainerClient(server.url, KEY) as client:
        assert client.models() == [{"model_id": "m"}]


@pytest.mark.parametrize(
    ("body", "consistent"),
    [(b'{"consistent": true}', True), (b'{"consistent": 1}', False), (b"{}", False), (b"<", False)],
)
def test_only_a_server_that_says_so_is_consistent(body: bytes, consistent: bool) -> None:
    with origin(Answer(200, body)) as server, TrainerClient(server.url, KEY) as client:
        assert client.list_is_consistent() is consistent
    assert server.requests[0].path == "/_service/stats"


def test_an_upload_sends_exactly_the_ticket_s_headers_and_no_key(tmp_path: Path) -> None:
    path = tmp_path / "ada.zip"
    path.write_bytes(b"zip" * 500_000)
    with origin(Answer(200)) as storage, origin() as server:
        headers = {"Content-Type": "application/zip", "x-amz-meta": "1", "Host": "evil", "n": 3}
        ticket = {"method": "PUT", "url": f"{storage.url}/put?sig=1", "headers": headers}
        download = f"{storage.url}/get"
        server.answers[:] = [envelope(upload=ticket, download_url=download)]
        with TrainerClient(server.url, KEY) as client:
            assert upload_to_provider(client, path) == download
        (asked,), (put,) = server.requests, storage.requests
        assert json.loads(asked.body) == {
            "filename": "dataset.zip",
            "size": 1_500_000,
            "content_type": "application/zip",
        }
        assert (put.method, put.body) == ("PUT", path.read_bytes())
        assert put.headers["x-amz-meta"] == "1"
        assert "Authorization" not in put.headers
        assert "Transfer-Encoding" not in put.headers
        assert KEY not in str(put.headers)

        storage.answers[:] = [Answer(403)]
        with TrainerClient(server.url, KEY) as client, pytest.raises(StorageError, match="403"):
            upload_to_provider(client, path)
        ticket["url"] = "http://storage.test/put"
        server.answers[:] = [envelope(upload=ticket, download_url=download)]
        with TrainerClient(server.url, KEY) as client, pytest.raises(TemporaryError, match="https"):
            upload_to_provider(client, path)


@pytest.mark.parametrize("key", ["ä", "a b", "a\nb", "a\x00b"])
def test_a_key_that_is_none_is_not_sent(key: str) -> None:
    with pytest.raises(CredentialsError):
        TrainerClient("http://127.0.0.1:9", key)


def test_what_cannot_be_written_is_our_error() -> None:
    with origin(envelope(id="a")) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(ConfigurationError):
            client.price("m", {"rate": float("nan")})
        with pytest.raises(ConfigurationError):
            client.price("m", {"word": "\ud800"})
    assert server.requests == []


def test_a_budget_refuses_what_is_above_it_and_what_is_unknown() -> None:
    check_budget(None, None)
    check_budget(5, 5)
    check_budget(2, 5, spent_usd=3)
    for price, spent in ((None, 0), (5.1, 0), (2, 3.5)):
        with pytest.raises(Declined):
            check_budget(price, 5, spent_usd=spent)


def test_the_bucket_lets_a_burst_through_and_spaces_the_rest() -> None:
    now = [0.0]
    bucket = TokenBucket(per_minute=60, burst=2, clock=lambda: now[0])
    assert [bucket.wait_s() for _ in range(4)] == [0, 0, 1, 2]
    now[0] = 100
    assert bucket.wait_s() == 0
