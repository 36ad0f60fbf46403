"""Links that open without a key, until they expire: outputs, uploads and places to upload to.

Like the hosted service's CDN, a link needs no key; unlike there it is signed: nobody can make one
for another file or a later day. The signature stands in the path, so a link ends in a file name.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

__all__ = ["LINK_ROUTE", "Link", "Links"]

LINK_ROUTE = "/{expires}/{signature}/{name}"


@dataclass(frozen=True, slots=True)
class Link:
    """The parts of a link's path, as a stranger sent them.

    place: what kind of thing it opens, such as "outputs"; expires: Unix seconds.
    """

    place: str
    expires: str
    signature: str
    name: str

    @classmethod
    def parse(cls, path: str) -> Link | None:
        """Read a path; None when it has not the form of a link."""
        parts = path.removeprefix("/").rsplit("/", 3)
        return cls(*parts) if len(parts) == 4 else None


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks links with one secret."""

    secret: bytes

    def path(self, place: str, name: str, expires_at: datetime) -> str:
        """Return the path of the link to one file, good until `expires_at`.

        >>> from datetime import UTC
        >>> moment = datetime(2026, 1, 8, tzinfo=UTC)
        >>> path = Links(b"secret").path("outputs", "a.safetensors", moment)
        >>> path.startswith("/outputs/1767830400/"), path.endswith("/a.safetensors")
        (True, True)
        """
        expires = str(int(expires_at.timestamp()))
        return f"/{place}/{expires}/{self._signature(place, expires, name)}/{name}"

    def opens(self, link: Link, now: datetime) -> bool:
        """Say whether a link carries our signature and has not expired."""
        expected = self._signature(link.place, link.expires, link.name)
        ours = hmac.compare_digest(expected.encode(), link.signature.encode())
        return ours and now.timestamp() < int(link.expires)  # signed by us, so it is a number

    def _signature(self, place: str, expires: str, name: str) -> str:
        told = f"{place}\n{expires}\n{name}".encode()
        return hmac.new(self.secret, told, hashlib.sha256).hexdigest()
