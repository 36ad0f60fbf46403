"""Read the provider's answers, trusting nothing: any field may be missing, null or of any type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lora_prep.model import Prediction, PredictionStatus

__all__ = ["NotAnEnvelope", "envelope_message", "parse_prediction"]

SPELLINGS = {"canceled": "cancelled"}


class NotAnEnvelope(ValueError):
    """The body is not the JSON envelope {code, message, data} of a prediction."""


def parse_prediction(body: object) -> Prediction:
    """Return the prediction in an envelope.

    Raises:
        NotAnEnvelope: the body is something else, its code is not 200, or it names no id.
    """
    if not isinstance(body, dict):
        raise NotAnEnvelope("the answer is no JSON object")
    if body.get("code", 200) != 200:
        raise NotAnEnvelope(f"code {body.get('code')}: {envelope_message(body)}")
    data = body.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("id"), str) or not data["id"]:
        raise NotAnEnvelope("the answer names no prediction")
    return Prediction(
        id=data["id"],
        model=_text(data.get("model")),
        status=_status(data.get("status")),
        outputs=_outputs(data.get("outputs")),
        error=_text(data.get("error")),
        error_code=data["code"] if type(data.get("code")) is int else 0,
        created_at=_time(data.get("created_at")),
    )


def envelope_message(body: object) -> str:
    """Return the server's own words about a failure, or "" when there are none."""
    if isinstance(body, dict):
        for name in ("message", "error", "detail"):
            if isinstance(body.get(name), str) and body[name]:
                return str(body[name])
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


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
