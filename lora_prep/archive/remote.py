"""Look at a LoRA that is far away, by ranges: its header is enough to know what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lora_prep.addresses import host_and_port, why_not_a_server
from lora_prep.archive.check import check_header
from lora_prep.archive.download import Limits
from lora_prep.archive.header import ReadAt
from lora_prep.errors import ArchiveError, ConfigurationError, StorageError
from lora_prep.guard import Guard
from lora_prep.model import LoraFacts
from lora_prep.redaction import redacted
from lora_prep.stores import S3Store

if TYPE_CHECKING:
    import httpx

__all__ = ["check_object", "check_url"]

FIRST_BYTES = 256 << 10  # the header of a Wan 14B LoRA has about 120 KB


def check_url(url: str, limits: Limits = Limits()) -> LoraFacts:
    """Check the header of a file by its link, with ranged reads alone.

    Raises:
        LoraInvalid: it is no whole LoRA.
        ArchiveError: it cannot be read.
        ConfigurationError: the link is none.
    """
    import httpx

    if why_not := why_not_a_server(url):
        raise ConfigurationError(
            "This is no link to a file.", why=f"It {why_not}.", fix="Give a file, a link or s3://."
        )
    timeout = httpx.Timeout(limits.read_timeout_s, connect=limits.connect_timeout_s)
    try:
        with Guard(closed=False).client(url, timeout) as client:
            head, size_bytes = _range(client, url, 0, FIRST_BYTES)
            return check_header(
                _cached(head, lambda at, n: _range(client, url, at, n)[0]), size_bytes
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreadable(
            url, f"{type(error).__name__}: {redacted(str(error)).rstrip('.')}"
        ) from error


def check_object(store: S3Store, key: str) -> LoraFacts:
    """Check the header of an object in a bucket, with ranged reads alone.

    Raises:
        LoraInvalid: it is no whole LoRA.
        StorageError, CredentialsError: it is not there, or cannot be read.
    """
    seen = store.head(key)
    if seen is None:
        raise StorageError(
            f"There is no {key} in the bucket {store.access.bucket}.",
            why="The service says so.",
            fix="Check the key and store.url.",
        )

    def read_at(offset: int, length: int) -> bytes:
        return store.read_at(key, offset, length) if length else b""

    head = read_at(0, min(FIRST_BYTES, seen.size_bytes))
    return check_header(_cached(head, read_at), seen.size_bytes)


def _cached(head: bytes, read_at: ReadAt) -> ReadAt:
    """Return a reader that asks only for what the first read did not bring."""

    def read(offset: int, length: int) -> bytes:
        if offset + length <= len(head):
            return head[offset : offset + length]
        return read_at(offset, length)

    return read


def _range(client: httpx.Client, url: str, offset: int, length: int) -> tuple[bytes, int]:
    """Return bytes of a file and its whole size; no more is read than was asked for."""
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={offset}-{offset + length - 1}"}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 206:
            found = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "")
            )
            if not found or int(found[1]) != offset:
                raise _unreadable(url, "the server sends another range than was asked for")
            return _first(response, length), int(found[2])
        if response.status_code == 200 and offset == 0 and "Content-Length" in response.headers:
            return _first(response, length), int(response.headers["Content-Length"])
        raise _unreadable(url, f"status {response.status_code}")


def _first(response: httpx.Response, length: int) -> bytes:
    found = bytearray()
    for chunk in response.iter_raw():
        found += chunk
        if len(found) >= length:
            break
    return bytes(found[:length])


def _unreadable(url: str, why: str) -> ArchiveError:
    return ArchiveError(
        f"The file at {host_and_port(url)} cannot be read.",
        why=f"{why}.",
        fix="Check the link; one that was signed dies after a while.",
    )
