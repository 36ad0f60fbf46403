"""What may be used as the address of a server, and which addresses are this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

__all__ = ["host_and_port", "is_loopback", "why_not_a_server"]


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine: `localhost` or a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_and_port(url: str) -> str:
    """Return the server a URL names, without user, password, path and query: safe to show."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "an address that is none"
    except ValueError:
        return "an address that is none"


def why_not_a_server(url: str) -> str | None:
    """Return why a URL cannot be a server's address; None when it can."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return "must start with http:// or https:// and name a host"
        if parts.username is not None or parts.password is not None:
            return "must not hold a user or password"
        parts.port  # noqa: B018  raises when it is no number up to 65535
    except ValueError as error:
        return f"is not a URL: {error}"
    return None if url.isascii() else "must be ASCII"
