"""Which addresses may be asked on somebody else's word: never one of the own network.

The trainer service fetches what its clients name, and the archive what a hosted trainer names.

A host is looked up once; the connection goes to the very address that was checked, so a name that
changes its mind in between (DNS rebinding) gains nothing. A redirect is a request of its own and is
checked as one.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from lora_prep.addresses import is_loopback

__all__ = ["AddressRefused", "Guard", "is_public", "look_up", "tls_context"]

MAX_REDIRECTS: Final = 5
# Both hide an IPv4 address in an IPv6 one, which would escape the check.
TRANSLATED: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(httpx.TransportError):
    """A host leads to an address that may not be asked."""


def is_public(address: Address) -> bool:
    """Say whether an address is somewhere in the internet, and nobody's own network.

    >>> [is_public(ipaddress.ip_address(text)) for text in ("93.184.216.34", "10.0.0.1")]
    [True, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


def look_up(host: str) -> list[Address]:
    """Return the addresses of a host.

    Raises:
        OSError: nobody knows it.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class Guard:
    """Makes HTTP clients. A closed guard lets them reach public addresses only.

    trusted: a host that its user named, which may be anywhere; proxies: where the environment names
    a proxy, that one looks names up, and only addresses that are written out can be judged here;
    look_up and allowed are what they say, tests put their own there.
    """

    def __init__(
        self,
        *,
        closed: bool,
        trusted: str = "",
        proxies: bool = False,
        look_up: Callable[[str], list[Address]] = look_up,
        allowed: Callable[[Address], bool] = is_public,
    ) -> None:
        self.closed = closed
        self._trusted = trusted
        self._proxies = proxies
        self._look_up = look_up
        self._allowed = allowed

    def addresses(self, host: str) -> list[Address]:
        """Return the addresses of a host, if every one may be asked.

        Raises:
            AddressRefused: one may not.
            httpx.ConnectError: nobody knows the host.
        """
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("the host is not known") from error
        trusted = self._trusted and host == self._trusted
        if not found or not (trusted or all(self._allowed(address) for address in found)):
            raise AddressRefused("the host is in a private network")
        return found

    def refuses(self, url: str) -> bool:
        """Say whether a URL leads where it may not; a host that nobody knows does not yet."""
        try:
            if self.closed:
                self.addresses(httpx.URL(url).host)
        except AddressRefused:
            return True
        except httpx.ConnectError:
            pass
        return False

    def client(self, url: str, timeout: httpx.Timeout, *, redirects: bool = True) -> httpx.Client:
        """Return a client for requests to `url`.

        Raises:
            ImportError: a proxy in the environment needs more than is installed.
        """
        context = tls_context()
        proxied = self.closed and self._proxies and _has_proxy(url)
        pinned = self.closed and not proxied
        return httpx.Client(
            timeout=timeout,
            follow_redirects=redirects,
            max_redirects=MAX_REDIRECTS,
            # Loopback never goes through a proxy that the environment names: it is another
            # machine. A redirect from there to elsewhere does without the proxy too. Closed,
            # nothing does: a proxy would look the name up a second time.
            trust_env=not pinned and not is_loopback(url),
            verify=context,
            transport=_Pinned(self, httpx.HTTPTransport(verify=context)) if pinned else None,
            event_hooks={
                "request": [RefuseDowngrade(), *([self._refuse_literal] if proxied else [])]
            },
        )

    def _refuse_literal(self, request: httpx.Request) -> None:
        """Refuse an address that is written out, before a proxy is asked for it."""
        host = request.url.host
        try:
            public = self._allowed(ipaddress.ip_address(host))
        except ValueError:
            public = host != "localhost" and not host.endswith(".localhost")
        if not public and host != self._trusted:
            raise AddressRefused("the host is in a private network", request=request)


def tls_context() -> ssl.SSLContext:
    """Return what TLS is checked by: certifi's certificates, or what SSL_CERT_FILE names."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:  # noqa: ARG001  httpx's own
    # Reading the certificates takes 20 ms, which many small transfers would each pay.
    return httpx.create_ssl_context()


def _has_proxy(url: str) -> bool:
    """Whether the environment names a proxy for a URL."""
    parts = urlsplit(url)
    proxies = getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not proxy_bypass(parts.hostname or "")


class _Pinned(httpx.BaseTransport):
    """Sends each request to an address that the guard has checked, under its host's own name."""

    def __init__(self, guard: Guard, inner: httpx.BaseTransport) -> None:
        self._guard = guard
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        addresses = self._guard.addresses(request.url.host)
        for address in addresses[:-1]:
            try:
                return self._send(request, address)
            except httpx.ConnectError:
                continue  # the next address may answer
        return self._send(request, addresses[-1])

    def _send(self, request: httpx.Request, address: Address) -> httpx.Response:
        return self._inner.handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,  # Host among them
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode()},
            )
        )

    def close(self) -> None:
        self._inner.close()


class RefuseDowngrade:
    """Refuses a redirect from https to http; schemes other than these two httpx refuses itself."""

    def __init__(self) -> None:
        self._was_https = False

    def __call__(self, request: httpx.Request) -> None:
        """Look at a request that is about to be sent."""
        if self._was_https and request.url.scheme != "https":
            raise httpx.UnsupportedProtocol("a redirect left https", request=request)
        self._was_https = request.url.scheme == "https"
