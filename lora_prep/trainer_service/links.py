"""Links to outputs that open without a key, until they expire.

Like the hosted service's CDN, a link needs no key; unlike there it is signed: nobody can make one
for another file or a later day. The signature stands in the path, so a link ends in a file name.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

__all__ = ["LINK_ROUTE", "link_opens", "signed_path"]

LINK_ROUTE = "/outputs/{expires}/{signature}/{name}"


def signed_path(secret: bytes, name: str, expires_at: datetime) -> str:
    """Return the path of the link to one output file, good until `expires_at`.

    >>> from datetime import UTC
    >>> path = signed_path(b"secret", "a.safetensors", datetime(2026, 1, 8, tzinfo=UTC))
    >>> path.startswith("/outputs/1767830400/"), path.endswith("/a.safetensors")
    (True, True)
    """
    expires = str(int(expires_at.timestamp()))
    signature = _signature(secret, expires, name)
    return LINK_ROUTE.format(expires=expires, signature=signature, name=name)


def link_opens(secret: bytes, *, expires: str, signature: str, name: str, now: datetime) -> bool:
    """Say whether the parts of a link's path carry our signature and have not expired."""
    expected = _signature(secret, expires, name)
    ours = hmac.compare_digest(expected.encode(), signature.encode())
    return ours and now.timestamp() < int(expires)  # signed by us, so it is a number


def _signature(secret: bytes, expires: str, name: str) -> str:
    return hmac.new(secret, f"{expires}\n{name}".encode(), hashlib.sha256).hexdigest()
