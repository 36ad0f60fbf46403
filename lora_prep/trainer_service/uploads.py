"""What clients upload here for lack of a bucket: tickets, files, links; all for 7 days."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Final

import httpx

from lora_prep.trainer_service.links import Link, Links
from lora_prep.trainer_service.protocol import RETENTION, BadRequest, TaskCode

__all__ = ["MAX_UPLOAD_BYTES", "Uploads", "ticket_place"]

MAX_UPLOAD_BYTES: Final = 300 * 1024**2  # what the documentation advises; the limit it keeps silent
TICKET_LIFE: Final = timedelta(hours=1)
DEFAULT_TYPE: Final = "application/octet-stream"
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,16}")


def ticket_place(size: str, content_type: str) -> str:
    """Return the place that a ticket's link names: whoever sends other bytes opens nothing."""
    return f"uploads/{size}/{hashlib.sha256(content_type.encode()).hexdigest()[:16]}"


class Uploads:
    """The uploaded files of one state folder."""

    def __init__(self, folder: Path, links: Links, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._links = links
        self._clock = clock

    def ticket(self, parameters: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Return where and how to send a file, and the link that it will have.

        Raises:
            BadRequest: a parameter is missing or does not fit.
        """
        filename, size = parameters.get("filename"), parameters.get("size")
        if filename is None or size is None:
            raise BadRequest("filename and size are required", TaskCode.MISSING_PARAMETER)
        if not isinstance(filename, str) or not filename:
            raise BadRequest("filename must be a string that is not empty")
        if type(size) is not int or not 1 <= size <= MAX_UPLOAD_BYTES:
            raise BadRequest(f"size must be an integer between 1 and {MAX_UPLOAD_BYTES}")
        content_type = parameters.get("content_type") or mimetypes.guess_type(filename)[0]
        content_type = content_type or DEFAULT_TYPE
        if not isinstance(content_type, str) or not re.fullmatch(r"[ -~]{1,200}", content_type):
            raise BadRequest("content_type must be a media type")
        suffix = PurePosixPath(filename).suffix
        name = uuid.uuid4().hex + (suffix if _SUFFIX.fullmatch(suffix) else "")
        now = self._clock()
        put = self._links.path(ticket_place(str(size), content_type), name, now + TICKET_LIFE)
        return {
            "upload": {
                "method": "PUT",
                "url": origin + put,
                "headers": {"Content-Type": content_type},
            },
            "download_url": origin + self._links.path("media", name, now + RETENTION),
        }

    def place_for(self, link: Link) -> Path | None:
        """Return where the file of a ticket goes; None when the ticket is not ours or is old."""
        return self._folder / link.name if self._links.opens(link, self._clock()) else None

    def open_link(self, link: Link) -> Path | None:
        """Return the file behind a link; None when the link is not ours or has expired."""
        return self.place_for(link) if link.place == "media" else None

    def own_file(self, url: str) -> Path | None:
        """Return the file behind a URL if this service made that URL, whatever its address."""
        link = Link.parse(httpx.URL(url).path)
        path = self.open_link(link) if link else None
        return path if path and path.is_file() else None

    def remove_expired(self) -> None:
        """Remove what was uploaded 7 days ago."""
        oldest = (self._clock() - RETENTION).timestamp()
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another request has just removed it
                if path.stat().st_mtime <= oldest:
                    path.unlink()
