"""The trainer's documented API in values: codes, limits, envelopes, times. No HTTP here.

Where the documents are silent the choice is ours and says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

import httpx

__all__ = [
    "RETENTION",
    "BadRequest",
    "TaskCode",
    "TaskError",
    "error_envelope",
    "is_http_url",
    "json_object",
    "moment_of",
    "rfc3339",
    "success_envelope",
    "without_secrets",
]

RETENTION: Final = timedelta(days=7)
"""Life of a prediction, of its outputs and of uploads. Counted from creation, the reading safe for
clients: the documents do not say whether it begins there or at completion."""


class TaskCode(IntEnum):
    """The codes of the documented table that this service gives.

    A failed task carries one as `data.code`; a refused request as `error_code` of its envelope.
    """

    OK = 0
    MISSING_PARAMETER = 1400
    INVALID_PARAMETER = 1401
    DATA_NOT_FETCHED = 1402
    NOT_EXECUTED = 1403
    INTERNAL = 5000


class BadRequest(Exception):
    """A request that is refused with status 400; the text is the envelope's message."""

    def __init__(self, message: str, code: TaskCode = TaskCode.INVALID_PARAMETER) -> None:
        super().__init__(message)
        self.code = code


class TaskError(Exception):
    """A training that cannot be done. The sentence reaches the client: it must hold no secret.

    This and `BadRequest` never leave the server as exceptions, so they are not part of
    `lora_prep.errors`: to a client they are an envelope.
    """

    def __init__(self, code: TaskCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON body that must be an object.

    Raises:
        BadRequest: it is no JSON, or no object.
    """
    try:
        parameters = json.loads(body)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested a thousand deep
        raise BadRequest("the body is not valid JSON") from error
    if not isinstance(parameters, dict):
        raise BadRequest("the body must be a JSON object")
    return parameters


def is_http_url(url: object) -> bool:
    """Say whether this is a URL that can be fetched."""
    try:
        parsed = httpx.URL(url) if isinstance(url, str) else httpx.URL()
        return parsed.scheme in {"http", "https"} and bool(parsed.host)
    except (httpx.InvalidURL, ValueError):  # ValueError: a host that is no name, lone surrogates
        return False


def success_envelope(data: Mapping[str, Any] | list[Any]) -> dict[str, Any]:
    """Return the envelope of every good answer, a failed task included: the request succeeded."""
    return {"code": 200, "message": "success", "data": data}


def error_envelope(code: int, message: str, task_code: TaskCode | None = None) -> dict[str, Any]:
    """Return the envelope of a refused request; official clients read `error_code` as text."""
    envelope: dict[str, Any] = {"code": code, "message": message}
    return envelope if task_code is None else {**envelope, "error_code": str(int(task_code))}


def rfc3339(moment: datetime) -> str:
    """Return an aware UTC time as upstream writes it, with Z; of one length, so that text sorts.

    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment_of(text: object) -> datetime:
    """Read an ISO 8601 time; one without a zone is taken as UTC.

    >>> rfc3339(moment_of("2026-01-02T03:04:05+01:00"))
    '2026-01-02T02:04:05.000000Z'

    Raises:
        ValueError: it is none, or so near the end of time that UTC cannot tell it.
    """
    if not isinstance(text, str):
        raise ValueError("not a text")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment: enough to recognise, not to open.

    >>> without_secrets("https://user:word@bucket.test/a.zip?X-Amz-Signature=abc")
    'https://bucket.test/a.zip'
    """
    bare = httpx.URL(url).copy_with(username="", password="", query=None, fragment=None)
    return str(bare)
