"""Recognise our data URL in what the provider shows of it.

A presigned URL changes its query with every signature, and a loopback port may change between two
starts. Bucket and key stay, and each submission has a key of its own: they are its nonce.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = ["Location"]

HIDDEN = "sha256:"  # in front of the key of a location that may not be written down


@dataclass(frozen=True, slots=True)
class Location:
    """Where a data set lies.

    bucket: "" for a file that is not in a bucket of ours; key: "sha256:" and the hash of its path
    where the link alone, without a signature, opens the file.
    """

    bucket: str
    key: str

    def is_at(self, url: str) -> bool:
        """Whether a URL leads there: bucket in the path or in front of the host, then the key."""
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
        except ValueError:
            return False
        if not self.key:
            return False
        if self.key.startswith(HIDDEN):
            return _hidden(path) == self.key
        if not self.bucket:
            return path == self.key
        in_host = host.startswith(f"{self.bucket.lower()}.")
        return path == f"{self.bucket}/{self.key}" or (in_host and path == self.key)

    @classmethod
    def hidden_of_url(cls, url: str) -> Location:
        """Return the location of a file whose link is itself the secret: the hash of its path.

        The ledger keeps it, and nobody can fetch the file with what the ledger keeps.
        """
        path = cls.of_url(url).key
        return cls("", _hidden(path) if path else "")

    @classmethod
    def of_url(cls, url: str) -> Location:
        """Return the location of a file that is not in a bucket of ours: its path alone."""
        return cls("", unquote(urlsplit(url).path).lstrip("/"))


def _hidden(path: str) -> str:
    return HIDDEN + hashlib.sha256(path.encode()).hexdigest()
