"""Whatever a server answers, the client raises its own errors and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_prep.errors import LoraPrepError, SubmissionUnknown
from lora_prep.model import PredictionStatus, TrainingRequest
from lora_prep.trainers import WAN_14B_TRAINER, Pace, TrainerClient, differences, trainer_of
from lora_prep.trainers.responses import (
    NotAnEnvelope,
    amount,
    link_of,
    parse_page,
    parse_prediction,
    parse_price,
    parse_ticket,
    refusal_code,
)
from lora_prep.trainers.wait import wait_for_end
from tests.origin import Answer, Origin, origin
from tests.sample import examples

pytestmark = pytest.mark.slow  # servers on threads

HUGE = 10**5000
REQUEST = TrainingRequest(WAN_14B_TRAINER, "http://127.0.0.1:9/b/k.zip?secret", "p3r5on", 2000)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(
    [
        *("id", "model", "status", "outputs", "error", "code", "created_at", "urls", "timings"),
        *("items", "inputs", "input", "upload", "download_url", "price", "discounted_price"),
        *("unit_price", "currency", "balance", "secret", "deleted_count"),
    ]
)
known = st.sampled_from(
    ["completed", "failed", "USD", "https://x.test/", {"get": "http://["}, {"url": "u"}, [{}]]
)
datas = st.dictionaries(names, values | known, max_size=6)
items = st.fixed_dictionaries({"items": st.lists(datas | values, max_size=3)})
bodies = values | st.fixed_dictionaries(
    {}, optional={"code": st.sampled_from([200, 400, 429, 500]) | values, "data": datas | items}
)
raw = st.one_of(
    bodies.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=50),
    st.sampled_from(
        [b"[" * 100_000, b'{"code": 200, "data": {"id": "a", "code": 1' + b"0" * 5000 + b"}}"]
    ),
)
statuses = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 404, 408, 418, 429, 500, 503])


@examples(100)
@given(bodies)
@example({"code": HUGE, "data": {"id": "a"}})
@example({"code": 200, "data": {"id": "a\u0000b"}})
@example({"code": 200, "data": {"price": HUGE, "balance": math.nan}})
def test_any_body_is_read_or_refused(body: object) -> None:
    for read in (parse_page, parse_ticket):
        with suppress(NotAnEnvelope):
            read(body)
    link_of(body)
    refusal_code(body)
    price = parse_price(body)
    assert price is None or (math.isfinite(price) and price >= 0)
    try:
        prediction = parse_prediction(body)
    except NotAnEnvelope:
        return
    assert prediction.id
    assert prediction.id.isprintable()
    assert isinstance(prediction.status, PredictionStatus)
    assert all(isinstance(link, str) for link in prediction.outputs)


CALLS: dict[str, Callable[[TrainerClient], Any]] = {
    "submit": lambda client: client.submit(REQUEST),
    "result": lambda client: client.result("a"),
    "list": lambda client: client.list_predictions(),
    "all": lambda client: list(client.all_predictions()),
    "delete": lambda client: client.delete_predictions(["a"]),
    "price": lambda client: client.price("m", {"steps": 1}),
    "balance": lambda client: client.balance(),
    "models": lambda client: [
        differences(trainer_of(WAN_14B_TRAINER), client.models()) for _ in range(1)
    ],
    "secret": lambda client: client.webhook_secret(),
    "ticket": lambda client: client.upload_ticket("d.zip", 1, "application/zip"),
    "consistent": lambda client: client.list_is_consistent(),
    "wait": lambda client: wait_for_end(client, "a", Pace(0.001, 0.001, 0.01)),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Origin]:
    with origin(Answer()) as server:
        yield server


@pytest.mark.parametrize("call", CALLS)
def test_any_answer_over_http_ends_in_a_value_or_our_error(call: str, server: Origin) -> None:
    @examples(15)
    @given(statuses, raw, st.sampled_from([None, "nan", "-1", "1e999", "Mon, 32 Foo", "0"]))
    def check(status: int, body: bytes, retry_after: str | None) -> None:
        headers = {"Retry-After": retry_after} if retry_after and call != "wait" else {}
        server.answers[:] = [Answer(status, b"" if status == 204 else body, headers)]
        with TrainerClient(server.url, "key") as client:
            try:
                CALLS[call](client)
            except SubmissionUnknown:
                assert call == "submit"
                assert not 400 <= status < 500
            except LoraPrepError as error:
                assert str(error)

    check()


@pytest.mark.parametrize(
    ("data", "price"),
    [
        ({"price": 7.5}, 7.5),
        ({"price": "7.5", "currency": "usd"}, 7.5),
        ({"price": 7.5, "discounted_price": 5}, 5),
        ({"price": 7.5, "discounted_price": None}, 7.5),
        ({"price": 7.5, "discounted_price": 0, "discount_rate": 0}, 7.5),
        ({"price": 0, "discounted_price": 0}, 0),
        ({"price": 7.5, "discounted_price": "free!"}, None),
        ({"unit_price": 0}, 0),
        ({"price": 7.5, "currency": "EUR"}, None),
        ({"price": -1}, None),
        ({"price": True}, None),
        ({"price": math.inf}, None),
        ({"price": HUGE}, None),
        ({}, None),
    ],
)
def test_an_odd_price_is_unknown(data: dict[str, object], price: float | None) -> None:
    assert parse_price({"code": 200, "data": data}) == price
    assert parse_price({"code": 500, "data": data}) is None


def test_an_amount_is_a_number_from_nought() -> None:
    assert [amount(value) for value in (0, 1.5, "2", None, "x", [], -0.1, math.nan)] == [
        *(0, 1.5, 2),
        *[None] * 5,
    ]


def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_prep.trainers.exchange.ANSWER_LIMIT", 1000)
    with origin(Answer(200, b" " * 5000)) as server, TrainerClient(server.url, "key") as client:
        with pytest.raises(SubmissionUnknown, match="above"):
            client.submit(REQUEST)
