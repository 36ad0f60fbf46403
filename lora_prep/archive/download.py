"""Fetch the trained file from the provider's link to this machine."""

from __future__ import annotations

import os
from pathlib import Path

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import ArchiveError, ResultExpired
from lora_prep.events import Event, Listener, ignore
from lora_prep.redaction import redacted

__all__ = ["download"]

ATTEMPTS = 4
MAX_BYTES = 8 << 30  # no LoRA is larger; a link must not be able to fill the disk
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0
MAX_REDIRECTS = 5
GONE = {403, 404, 410}


def download(url: str, path: Path, on_event: Listener = ignore) -> None:
    """Write what `url` serves to `path`; the file is whole or absent.

    The link opens without a key, so none is sent. A transfer that breaks is begun again.

    Raises:
        ResultExpired: the link is dead (403, 404 or 410).
        ArchiveError: the file could not be fetched whole, or is larger than 8 GiB.
    """
    import httpx

    part = path.with_name(path.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _fetch(url, part, on_event)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            part.unlink(missing_ok=True)
            if attempt == ATTEMPTS or isinstance(error, httpx.InvalidURL):
                raise ArchiveError(
                    f"The LoRA could not be downloaded from {host_and_port(url)}.",
                    why=f"{type(error).__name__}: {redacted(str(error)).rstrip('.')}.",
                    fix="Try again; the provider keeps it for 7 days.",
                ) from error
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        else:
            part.replace(path)
            return


def _fetch(url: str, part: Path, on_event: Listener) -> None:
    import httpx

    # identity: a compressed transfer would have another length than the file.
    headers = {"Accept-Encoding": "identity"}
    with (
        httpx.Client(
            timeout=TIMEOUT_S,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            trust_env=not is_loopback(url),
        ) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code in GONE:
            raise ResultExpired(
                "The link to the LoRA is dead.",
                why=f"{response.url.host} answered {response.status_code}.",
                fix="Links live 7 days; ask the provider for the result again.",
            )
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or None
        done = 0
        with part.open("wb") as file:
            # httpx itself raises when fewer bytes come than Content-Length promised.
            for chunk in response.iter_raw(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if done > MAX_BYTES:
                    raise ArchiveError(
                        "The trainer's file is too large for a LoRA.",
                        why=f"More than {MAX_BYTES >> 30} GiB came.",
                        fix="Look at the result at the provider.",
                    )
                on_event(Event("archive", "downloading", done=done, total=total, unit="bytes"))
            file.flush()
            os.fsync(file.fileno())
