"""Whether a trainer can fetch a data URL, asked before it is paid for."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import StorageError, TrainerNotAllowed
from lora_prep.redaction import redacted

__all__ = ["check_fetchable", "check_public"]

TIMEOUT_S = 30.0
FIRST_BYTE = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}


def check_public(url: str) -> None:
    """Refuse a data URL that only this machine or network can open.

    Raises:
        TrainerNotAllowed: it is not https, or its host is loopback, private or link-local.
        StorageError: its host has no address.
    """
    host = urlsplit(url).hostname or ""
    if urlsplit(url).scheme != "https":
        raise _unreachable(url, "It is not https: the photos would travel unencrypted")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StorageError(
            f"The host of the data URL, {host}, has no address.",
            why=f"{error.strerror or error}.",
            fix="Check the network, store.url and store.endpoint_url.",
        ) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if private := next((one for one in addresses if not one.is_global), None):
        raise _unreachable(url, f"{host} is {private}, an address of this machine or network")


def check_fetchable(url: str) -> None:
    """Fetch the first byte of a data URL without any key, as the trainer will.

    By GET: a URL that is signed for GET answers HEAD with 403 everywhere.

    Raises:
        StorageError: it does not answer, or not with the file.
    """
    import httpx

    from lora_prep.guard import tls_context

    try:
        with (
            httpx.Client(
                timeout=TIMEOUT_S,
                follow_redirects=True,
                trust_env=not is_loopback(url),
                verify=tls_context(),
            ) as client,
            client.stream("GET", url, headers=FIRST_BYTE) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _not_fetched(url, f"{type(error).__name__}: {redacted(str(error))}") from error
    if status not in {200, 206}:
        raise _not_fetched(url, f"It answers {status}")


def _unreachable(url: str, why: str) -> TrainerNotAllowed:
    return TrainerNotAllowed(
        f"The trainer cannot fetch the photos from {host_and_port(url)}.",
        why=f"{why}.",
        fix="Set store.url and store.endpoint_url to a bucket on the internet.",
    )


def _not_fetched(url: str, why: str) -> StorageError:
    return StorageError(
        f"The data set cannot be fetched from {host_and_port(url)} by its link.",
        why=f"{why.rstrip('.')}. Nothing was submitted.",
        fix="Check the clock of this machine and the rights of the S3 key: lora-prep doctor",
    )
