"""Take the secrets out of text that came from elsewhere: server messages, foreign exceptions.

A presigned URL is a password for a set of face photos: its query never reaches a log, a report or
an error. What is left, host and path, is enough to tell which object was meant.
"""

from __future__ import annotations

import logging
import re

__all__ = ["RedactingFilter", "redacted"]

_QUERY = re.compile(r"(\w+://[^\s?\"'<>]*)\?[^\s\"'<>]+")
_BEARER = re.compile(r"(?i)\b(bearer\s+|authorization\W+(?:bearer\s+)?)[^\s\"',}]+")
_KEY_VALUE = re.compile(
    r"(?i)\b([\w-]*(?:signature|credential|secret|api_?key|token)[\w-]*[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s&\"',}]+"
)

MESSAGE_LIMIT = 500
"""Characters kept of a foreign text; gateways answer with whole HTML pages."""


def redacted(text: str) -> str:
    """Return `text` in one line, without URL queries, bearer tokens and key=value secrets."""
    text = _QUERY.sub(r"\1?[hidden]", " ".join(text.split()))
    text = _BEARER.sub(r"\1[hidden]", text)
    return _KEY_VALUE.sub(r"\1[hidden]", text)[:MESSAGE_LIMIT]


class RedactingFilter(logging.Filter):
    """A logging filter that redacts every record, also those of the libraries we call."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and let it pass."""
        record.msg = redacted(record.getMessage())
        record.args = None
        return True
