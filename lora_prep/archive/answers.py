"""What a server's answer to a download means: go on, begin anew, ask again later, or a dead link.

A 200 is never taken for the range that was asked for, a 206 never without looking where it begins
and what it is a part of (RFC 9110, sections 13.1.5 and 14.4).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from lora_prep.archive.part import Note

if TYPE_CHECKING:
    import httpx

__all__ = ["Again", "DeadLink", "begin_of", "note_of", "range_headers"]

LATER = {408, 425, 429}  # and every 5xx: it may be well in a moment
UNSATISFIABLE = 416
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Again(Exception):
    """This answer gave nothing, the next one may. drop: what has come must be forgotten."""

    def __init__(self, why: str, *, drop: bool = False, after_s: float | None = None) -> None:
        super().__init__(why)
        self.drop = drop
        self.after_s = after_s


class DeadLink(Exception):
    """The link leads nowhere any more; the file may still be there under another one."""


def range_headers(have: int, note: Note | None) -> dict[str, str]:
    """Return what to send to get the rest of a file, if it is still the same one."""
    # identity: a compressed transfer would have another length than the file.
    headers = {"Accept-Encoding": "identity"}
    if have and note and note.validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": note.validator}
    return headers


def begin_of(response: httpx.Response, have: int, note: Note | None) -> int:
    """Return at which byte the answer's body begins: at `have`, or at 0.

    Raises:
        Again: it is no use now.
        DeadLink: it is no use with this link.
    """
    status = response.status_code
    if status == 206 and have and note:
        return _continued(response, have, note)
    if status == 200:
        length = _length(response)
        if have and note and note.total and length == note.total - have != 0:
            # Some servers send the range with status 200; nothing says that it is the range.
            raise Again("the server sends a part and calls it the whole", drop=True)
        return 0
    if status == UNSATISFIABLE or status == 206:
        raise Again("the file is not what it was", drop=True)
    if status in LATER or status >= 500:
        raise Again(f"status {status}", after_s=_retry_after_s(response))
    raise DeadLink(f"{response.url.host} answered {status}")


def note_of(response: httpx.Response) -> Note:
    """Return what an answer from the first byte says of the file."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else None  # a weak one says nothing of bytes
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return Note(None, None)  # sent compressed all the same: its ranges are those of the packed
    return Note(strong or response.headers.get("Last-Modified"), _length(response))


def _continued(response: httpx.Response, have: int, note: Note) -> int:
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    etag = response.headers.get("ETag")
    same = etag is None or not (note.validator or "").startswith('"') or etag == note.validator
    if not found or int(found[1]) != have or not same:
        raise Again("the file is not what it was", drop=True)
    if found[3] != "*" and note.total is not None and int(found[3]) != note.total:
        raise Again("the file is not as long as it was", drop=True)
    return have


def _length(response: httpx.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
