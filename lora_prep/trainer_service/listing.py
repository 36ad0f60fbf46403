"""What a client asks of the list of its predictions: the page, and which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.protocol import BadRequest, TaskCode, moment_of, rfc3339

__all__ = ["LISTED_STATUSES", "MAX_PAGE", "MAX_PAGE_SIZE", "ListQuery", "parse_list_query"]

MAX_PAGE_SIZE: Final = 100
MAX_PAGE: Final = 10**9  # more than anybody has; SQLite's integers end at 2^63
LISTED_STATUSES: Final = tuple(
    status.value
    for status in PredictionStatus
    if status not in {PredictionStatus.UNKNOWN, PredictionStatus.DELETED}
)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One page, from 1, of the predictions that meet every condition given.

    after and before belong to the range; with_inputs: the items carry their inputs.
    """

    page: int
    page_size: int
    model: str | None = None
    status: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    with_inputs: bool = False

    @property
    def offset(self) -> int:
        """How many predictions come before this page."""
        return (self.page - 1) * self.page_size

    def condition(self) -> tuple[str, list[str]]:
        """Return it in SQL, and the values of its question marks."""
        conditions: dict[str, str | None] = {
            "model = ?": self.model,
            "status = ?": self.status,
            "created_at >= ?": rfc3339(self.after) if self.after else None,
            "created_at <= ?": rfc3339(self.before) if self.before else None,
        }
        given = [(sql, value) for sql, value in conditions.items() if value is not None]
        return " AND ".join(["1", *(sql for sql, _ in given)]), [value for _, value in given]


def parse_list_query(parameters: Mapping[str, Any]) -> ListQuery:
    """Read the body of a list request; names nobody knows are ignored.

    Raises:
        BadRequest: the page is missing, or something does not fit.
    """
    with_inputs = parameters.get("include_inputs", False)
    if not isinstance(with_inputs, bool):
        raise BadRequest("include_inputs must be true or false")
    return ListQuery(
        page=_number(parameters, "page", MAX_PAGE),
        page_size=_number(parameters, "page_size", MAX_PAGE_SIZE),
        model=_text(parameters, "model"),
        status=_status(parameters),
        after=_moment(parameters, "created_after"),
        before=_moment(parameters, "created_before"),
        with_inputs=with_inputs,
    )


def _number(parameters: Mapping[str, Any], name: str, most: int) -> int:
    value = parameters.get(name)
    if value is None:
        raise BadRequest(f"{name} is required", TaskCode.MISSING_PARAMETER)
    if type(value) is not int or not 1 <= value <= most:
        raise BadRequest(f"{name} must be an integer between 1 and {most}")
    return value


def _text(parameters: Mapping[str, Any], name: str) -> str | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:  # half a character, which SQLite cannot compare
        raise BadRequest(f"{name} is not valid Unicode") from error
    return value


def _status(parameters: Mapping[str, Any]) -> str | None:
    status = _text(parameters, "status")
    if status is not None and status not in LISTED_STATUSES:
        raise BadRequest(f"status must be one of {', '.join(LISTED_STATUSES)}")
    return status


def _moment(parameters: Mapping[str, Any], name: str) -> datetime | None:
    value = parameters.get(name)
    try:
        return None if value is None else moment_of(value)
    except ValueError as error:
        raise BadRequest(f"{name} must be an ISO 8601 time") from error
