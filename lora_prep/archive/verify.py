"""Read everything in the bucket again and compare it with what its sidecars say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lora_prep.archive.sidecar import archives
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Lora
from lora_prep.stores import S3Store, sidecar_key

__all__ = ["Found", "verify_archives"]


@dataclass(frozen=True, slots=True)
class Found:
    """One file of an archive, and whether it still is what it was. sha256: what it should be.

    unreadable: it is a sidecar, and nobody can tell what belongs to it.
    """

    run_id: str
    url: str
    state: Literal["sound", "missing", "different", "unreadable"]
    sha256: str | None = None


def verify_archives(store: S3Store, on_event: Listener = ignore) -> Iterator[Found]:
    """Yield every archived file of the bucket; each is read whole.

    Raises:
        StorageError, CredentialsError: the bucket failed.
    """
    for archive in archives(store):
        if isinstance(archive, str):
            url = f"s3://{store.access.bucket}/{store.key(sidecar_key(archive))}"
            yield Found(archive, url, "unreadable")
            continue
        for lora in archive.loras:
            on_event(Event("archive", f"reading {lora.object.key}"))
            yield Found(archive.run_id, lora.object.url, _state(store, lora), lora.facts.sha256)


def _state(store: S3Store, lora: Lora) -> Literal["sound", "missing", "different"]:
    seen = store.head(lora.object.key)
    if seen is None:
        return "missing"
    wanted = (lora.facts.sha256, lora.facts.size_bytes)
    # The length first: it costs no reading.
    same = seen.size_bytes == wanted[1] and store.sha256(lora.object.key) == wanted
    return "sound" if same else "different"
