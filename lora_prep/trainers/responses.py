"""Read the provider's answers, trusting nothing: any field may be missing, null or of any type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lora_prep.model import Prediction, PredictionStatus

__all__ = [
    "Listed",
    "NotAnEnvelope",
    "Ticket",
    "amount",
    "data_of",
    "envelope_message",
    "link_of",
    "parse_page",
    "parse_prediction",
    "parse_price",
    "parse_ticket",
    "refusal_code",
]

SPELLINGS = {"canceled": "cancelled"}
ID_LIMIT = 200  # characters; real ids have 32


class NotAnEnvelope(ValueError):
    """The body is not the JSON envelope {code, message, data} of a prediction."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A prediction in the provider's list.

    inputs: what it was asked with, None when the list does not say. It holds data URLs: secrets.
    """

    prediction: Prediction
    inputs: Mapping[str, Any] | None = field(repr=False)

    def texts(self) -> list[str]:
        """Return every text among the inputs: models name their data URL differently."""
        return [value for value in (self.inputs or {}).values() if isinstance(value, str)]


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where a file may be put, with exactly which headers, and where it can be fetched then."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    download_url: str = field(repr=False)


def parse_prediction(body: object) -> Prediction:
    """Return the prediction in an envelope.

    Raises:
        NotAnEnvelope: the body is something else, its code is not 200, or it names no id.
    """
    return _prediction(data_of(body))


def data_of(body: object) -> Mapping[str, Any]:
    """Return the data of an envelope.

    Raises:
        NotAnEnvelope: the body is something else, its code is not 200, or it holds no data.
    """
    if not isinstance(body, dict):
        raise NotAnEnvelope("the answer is no JSON object")
    if body.get("code", 200) != 200:
        raise NotAnEnvelope(f"code {_short(body.get('code'))}: {envelope_message(body)}")
    data = body.get("data")
    if not isinstance(data, dict):
        raise NotAnEnvelope("the answer holds no data")
    return data


def refusal_code(body: object) -> int | None:
    """Return the HTTP-like 4xx code of an envelope that names no prediction; None otherwise."""
    if not isinstance(body, dict):
        return None
    code, data = body.get("code"), body.get("data")
    if type(code) is not int or not 400 <= code < 500:
        return None
    return None if isinstance(data, dict) and data.get("id") else code


def parse_page(body: object) -> list[Listed]:
    """Return the predictions on one page of the list.

    Raises:
        NotAnEnvelope: it is no page, or holds what is no prediction: nothing may be overlooked.
    """
    items = data_of(body).get("items")
    if not isinstance(items, list):
        raise NotAnEnvelope("the page holds no items")
    return [_listed(item) for item in items]


def parse_price(body: object) -> float | None:
    """Return the price in USD of an answer of model/price or model/pricing; None: unknown."""
    try:
        data = data_of(body)
    except NotAnEnvelope:
        return None
    currency = data.get("currency")
    if currency is not None and str(currency).upper() not in {"USD", ""}:
        return None
    for name in ("discounted_price", "price", "unit_price"):
        if name in data:
            price = amount(data[name])
            if price == 0 and name == "discounted_price" and data.get("price"):
                continue  # no discount rather than no price: nobody would be asked, no limit count
            if price is not None or data[name] is not None:
                return price  # an odd number is not replaced by a guess
    return None


def amount(value: Any) -> float | None:
    """Return an amount of money, not negative; None when the value is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def parse_ticket(body: object) -> Ticket:
    """Return an upload ticket.

    Raises:
        NotAnEnvelope: the answer is none.
    """
    data = data_of(body)
    upload = data.get("upload")
    if not isinstance(upload, dict) or upload.get("method", "PUT") != "PUT":
        raise NotAnEnvelope("the answer holds no upload ticket")
    url, download_url = _text(upload.get("url")), _text(data.get("download_url"))
    if not url or not download_url:
        raise NotAnEnvelope("the upload ticket names no address")
    headers = upload.get("headers") or {}
    if not isinstance(headers, dict):
        raise NotAnEnvelope("the upload ticket has odd headers")
    texts = {name: value for name, value in headers.items() if isinstance(value, str)}
    return Ticket(url, texts, download_url)


def link_of(body: object) -> str:
    """Return the address at which the provider says a prediction can be asked for, or ""."""
    try:
        urls = data_of(body).get("urls")
    except NotAnEnvelope:
        return ""
    return _text(urls.get("get")) if isinstance(urls, dict) else ""


def envelope_message(body: object) -> str:
    """Return the server's own words about a failure, or "" when there are none."""
    if isinstance(body, dict):
        for name in ("message", "error", "detail"):
            if isinstance(body.get(name), str) and body[name]:
                return str(body[name])
    return ""


def _prediction(data: Mapping[str, Any]) -> Prediction:
    name = data.get("id")
    # Printable: it is shown, put into addresses and kept in databases.
    if not isinstance(name, str) or not 0 < len(name) <= ID_LIMIT or not name.isprintable():
        raise NotAnEnvelope("the answer names no prediction")
    return Prediction(
        id=name,
        model=_text(data.get("model")),
        status=_status(data.get("status")),
        outputs=_outputs(data.get("outputs")),
        error=_text(data.get("error")),
        error_code=data["code"] if type(data.get("code")) is int else 0,
        created_at=_time(data.get("created_at")),
    )


def _listed(item: object) -> Listed:
    if not isinstance(item, dict):
        raise NotAnEnvelope("the page holds what is no prediction")
    inputs = next((item[name] for name in ("inputs", "input") if item.get(name)), None)
    return Listed(_prediction(item), inputs if isinstance(inputs, dict) else None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**9:
        return "(a huge number)"  # Python refuses to print those of more than 4,300 digits
    return repr(value)[:80]


def _status(value: Any) -> PredictionStatus:
    word = _text(value).lower()
    try:
        return PredictionStatus(SPELLINGS.get(word, word))
    except ValueError:
        return PredictionStatus.UNKNOWN  # keep waiting: giving up would invite a second payment


def _outputs(value: Any) -> tuple[str, ...]:
    links = value if isinstance(value, list) else []
    return tuple(link for link in links if isinstance(link, str) and link)


def _time(value: Any) -> datetime | None:
    try:
        when = datetime.fromisoformat(_text(value))  # 3.11+ cuts nanoseconds to microseconds
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
