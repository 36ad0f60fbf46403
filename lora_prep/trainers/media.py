"""Put a file into the provider's own storage: for people without a bucket, on explicit choice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import LoraPrepError, StorageError, TemporaryError
from lora_prep.trainers.address import origin_of
from lora_prep.trainers.client import TrainerClient

__all__ = ["PRIVACY_OF_UPLOADS", "UPLOADS_LIVE", "upload_to_provider"]

UPLOADS_LIVE = timedelta(days=7)
"""How long the provider keeps what was uploaded there, by its documents."""
PRIVACY_OF_UPLOADS = (
    "The provider serves an uploaded data set on a public link without a signature for about 7 "
    "days: whoever has the link has the photos. A bucket of your own with a short-lived signed "
    "link is the better choice."
)
CHUNK = 2**20
FRAMING = {"host", "content-length", "transfer-encoding", "connection"}


def upload_to_provider(
    client: TrainerClient,
    path: Path,
    *,
    content_type: str = "application/zip",
    timeout_s: float = 120,
) -> str:
    """Upload a file and return the link at which it can be fetched: a secret.

    The file is sent with exactly the headers of the ticket, and without the key. Its name at the
    provider is neutral.

    Raises:
        StorageError: the storage did not take it.
        LoraPrepError: the trainer gave no ticket.
    """
    import httpx

    size = path.stat().st_size
    ticket = client.upload_ticket(f"dataset{path.suffix}", size, content_type)
    for url in (ticket.url, ticket.download_url):
        if not (origin_of(url).startswith("https://") or is_loopback(url)):
            raise TemporaryError(
                "The trainer's upload ticket is not used.",
                why=f"{host_and_port(url)} is neither https nor on this machine.",
                fix="Set store.url to a bucket of your own.",
            )
    headers = {name: text for name, text in ticket.headers.items() if name.lower() not in FRAMING}
    headers["Content-Length"] = str(size)
    try:
        with (
            path.open("rb") as file,
            httpx.Client(
                follow_redirects=False, timeout=timeout_s, trust_env=not is_loopback(ticket.url)
            ) as storage,
        ):
            status = storage.put(ticket.url, content=_pieces(file), headers=headers).status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _not_taken(ticket.url, type(error).__name__) from error
    if not 200 <= status < 300:
        raise _not_taken(ticket.url, f"HTTP {status}")
    return ticket.download_url


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(CHUNK):
        yield piece


def _not_taken(url: str, why: str) -> LoraPrepError:
    return StorageError(
        "The provider's storage did not take the data set.",
        why=f"{host_and_port(url)}: {why}.",
        fix="Try again later, or use a bucket of your own.",
    )
