"""The trainer's documented API in values: model, limits, task codes, requests and envelopes.

The hosted service documents these on the page of the Wan 14B trainer and on its error codes page.
Where the documents are silent the choice is ours and says so. No HTTP here: `app` does that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Final

import httpx

from lora_prep.model import TrainingRequest

__all__ = [
    "MIN_IMAGES",
    "MODEL",
    "RETENTION",
    "BadRequest",
    "TaskCode",
    "TaskError",
    "error_envelope",
    "parse_request",
    "rfc3339",
    "success_envelope",
    "without_secrets",
]

MODEL: Final = "wavespeed-ai/wan-14b-trainer"
MIN_IMAGES: Final = 10  # "at least 10 face images"
MIN_STEPS: Final = 1000
MAX_STEPS: Final = 4000
DEFAULT_STEPS: Final = 2000
DEFAULT_TRIGGER_WORD: Final = "p3r5on"
RETENTION: Final = timedelta(days=7)
"""Life of a prediction and of its outputs. Counted from creation, the reading safe for clients:
the documents do not say whether it begins there or at completion."""


class TaskCode(IntEnum):
    """`data.code` of a task: the codes of the documented table that this service gives."""

    OK = 0
    INVALID_PARAMETER = 1401
    DATA_NOT_FETCHED = 1402
    INTERNAL = 5000


class BadRequest(Exception):
    """A submission that is refused with status 400; the text is the envelope's message."""


class TaskError(Exception):
    """A training that cannot be done. The sentence reaches the client: it must hold no secret.

    This and `BadRequest` never leave the server as exceptions, so they are not part of
    `lora_prep.errors`: to a client they are an envelope.
    """

    def __init__(self, code: TaskCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def parse_request(body: bytes) -> TrainingRequest:
    """Read the JSON body of a submission; parameters nobody knows are ignored, as upstream does.

    Raises:
        BadRequest: the body is no JSON object, or a parameter is missing or does not fit.
    """
    try:
        parameters = json.loads(body)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested a thousand deep
        raise BadRequest("the body is not valid JSON") from error
    if not isinstance(parameters, dict):
        raise BadRequest("the body must be a JSON object")
    return TrainingRequest(
        model=MODEL,
        data_url=_data_url(parameters),
        trigger_word=_trigger_word(parameters),
        steps=_steps(parameters),
    )


def _data_url(parameters: Mapping[str, Any]) -> str:
    url = parameters.get("data")
    if url is None:
        raise BadRequest("data is required: the URL of a zip of images")
    try:
        fetchable = isinstance(url, str) and _is_http(httpx.URL(url))
    except (httpx.InvalidURL, ValueError):  # ValueError: a host that is no name, lone surrogates
        fetchable = False
    if not fetchable:
        raise BadRequest("data must be an http or https URL")
    return str(url)


def _is_http(url: httpx.URL) -> bool:
    return url.scheme in {"http", "https"} and bool(url.host)


def _trigger_word(parameters: Mapping[str, Any]) -> str:
    word = parameters.get("trigger_word", DEFAULT_TRIGGER_WORD)
    if not isinstance(word, str) or not word.strip():
        raise BadRequest("trigger_word must be a string that is not empty")
    if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
        # JSON can spell half a character ("\ud800"), which no file or database can keep.
        raise BadRequest("trigger_word is not valid Unicode")
    return word


def _steps(parameters: Mapping[str, Any]) -> int:
    steps = parameters.get("steps", DEFAULT_STEPS)
    if type(steps) is not int:  # True is an int to Python and is no number of steps
        raise BadRequest("steps must be an integer")
    if not MIN_STEPS <= steps <= MAX_STEPS:
        raise BadRequest(f"steps must be between {MIN_STEPS} and {MAX_STEPS}")
    return steps


def success_envelope(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the envelope of every good answer, a failed task included: the request succeeded."""
    return {"code": 200, "message": "success", "data": dict(data)}


def error_envelope(code: int, message: str) -> dict[str, Any]:
    """Return the envelope of a refused request."""
    return {"code": code, "message": message}


def rfc3339(moment: datetime) -> str:
    """Return an aware UTC time as upstream writes it, with Z; of one length, so that text sorts.

    >>> from datetime import UTC
    >>> rfc3339(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment: enough to recognise, not to open.

    >>> without_secrets("https://user:word@bucket.test/a.zip?X-Amz-Signature=abc")
    'https://bucket.test/a.zip'
    """
    bare = httpx.URL(url).copy_with(username="", password="", query=None, fragment=None)
    return str(bare)
