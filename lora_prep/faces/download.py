"""Bring a zip to this machine: over https, with limits of size and time, hashed on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import ConfigurationError, LoraPrepError, TemporaryError
from lora_prep.events import Event, Listener
from lora_prep.redaction import redacted

if TYPE_CHECKING:
    import httpx

__all__ = ["CONNECT_TIMEOUT_S", "READ_TIMEOUT_S", "download_zip"]

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
"""Longest silence, not the longest download."""

CHUNK_BYTES = 1 << 20
MAX_REDIRECTS = 5
OK, TOO_MANY_REQUESTS, SERVER_ERRORS = 200, 429, 500


def download_zip(
    name: str,
    url: str,
    path: Path,
    *,
    limit_bytes: int,
    connect_timeout_s: float,
    read_timeout_s: float,
    on_event: Listener,
) -> str:
    """Write what `url` serves, the zip of the pack `name`, to `path` and return its SHA-256.

    Raises:
        ConfigurationError: the server has no such file, it is larger than `limit_bytes`, or an
            address on the way is not encrypted.
        TemporaryError: the server did not answer, or broke off.
        OSError: the file cannot be written.
    """
    import httpx

    timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s)
    try:
        with (
            # A proxy does not reach a server on this machine.
            httpx.Client(timeout=timeout, trust_env=not is_loopback(url)) as client,
            _followed(client, name, url) as response,
        ):
            if response.status_code != OK:
                raise _refused(name, response)
            return _save(name, response, path, limit_bytes, on_event)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TemporaryError(
            f"The face pack {name!r} could not be downloaded from {host_and_port(url)}.",
            why=f"{type(error).__name__}: {redacted(str(error)).rstrip('.')}.",
            fix="Try again; nothing of it was kept.",
        ) from error


@contextmanager
def _followed(client: httpx.Client, name: str, url: str) -> Iterator[httpx.Response]:
    """Open the URL and follow its redirects, looking at each address before it is asked."""
    import httpx

    here = is_loopback(url)
    request = client.build_request("GET", url, headers={"Accept-Encoding": "identity"})
    for _ in range(MAX_REDIRECTS + 1):
        if request.url.scheme != "https" and not (here and is_loopback(str(request.url))):
            raise ConfigurationError(
                f"The face pack {name!r} cannot be fetched from {host_and_port(str(request.url))}.",
                why="The address is not https, so anybody on the way could change the models.",
                fix="Set faces.base_url to an https server, or leave it out.",
            )
        response = client.send(request, stream=True)
        try:
            if response.next_request is None:
                yield response
                return
            request = response.next_request
        finally:
            response.close()
    raise httpx.TooManyRedirects(f"more than {MAX_REDIRECTS} redirects", request=request)


def _refused(name: str, response: httpx.Response) -> LoraPrepError:
    what = f"The face pack {name!r} could not be downloaded from {response.url.host}."
    why = f"The server answered {response.status_code}."
    if response.status_code == TOO_MANY_REQUESTS or response.status_code >= SERVER_ERRORS:
        return TemporaryError(what, why=why, fix="Try again later; nothing of it was kept.")
    return ConfigurationError(
        what,
        why=why,
        fix="Look at faces.base_url; or get the pack elsewhere and use it as a folder.",
    )


def _save(
    name: str, response: httpx.Response, path: Path, limit_bytes: int, on_event: Listener
) -> str:
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    done, hashed = 0, hashlib.sha256()
    with path.open("wb") as file:
        # httpx itself raises when fewer bytes come than Content-Length promised.
        for chunk in response.iter_raw(CHUNK_BYTES):
            done += len(chunk)
            if max(done, total or 0) > limit_bytes:
                raise ConfigurationError(
                    f"What {response.url.host} sends is too large for the pack {name!r}.",
                    why=f"It may have {limit_bytes / 1e6:.1f} MB and has "
                    f"{max(done, total or 0) / 1e6:.1f} MB or more.",
                    fix="Look at faces.base_url; or get the pack elsewhere and use it as a folder.",
                )
            file.write(chunk)
            hashed.update(chunk)
            on_event(Event("prepare", f"fetching {name}", done=done, total=total, unit="bytes"))
        file.flush()
        os.fsync(file.fileno())
    return hashed.hexdigest()
