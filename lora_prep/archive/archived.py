"""What the bucket holds of a training that was archived before, by this machine or another."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from lora_prep.model import Lora, LoraFacts, StoredObject
from lora_prep.stores import S3Store, sidecar_key

__all__ = ["find_archived"]


def find_archived(store: S3Store, run_id: str) -> tuple[Lora, ...]:
    """Return the LoRAs of a run that the bucket holds; () when they are not all there.

    The sidecar is written last, so what it names was verified; here only their lengths are asked.

    Raises:
        StorageError, CredentialsError: the bucket failed.
    """
    key = store.key(sidecar_key(run_id))
    if store.head(key) is None:
        return ()
    try:
        files = json.loads(b"".join(store.read(key)))["files"]
        loras = tuple(_lora(store, file) for file in files)
    except (ValueError, KeyError, TypeError):  # not ours, or of a version nobody knows
        return ()
    whole = all(_is_there(store, lora) for lora in loras)
    return loras if whole else ()


def _lora(store: S3Store, file: dict[str, Any]) -> Lora:
    facts = LoraFacts(**{field.name: file[field.name] for field in fields(LoraFacts)})
    stored = StoredObject(store.access.bucket, file["key"], facts.size_bytes, facts.sha256)
    return Lora(facts, file["role"], stored, path=None)


def _is_there(store: S3Store, lora: Lora) -> bool:
    seen = store.head(lora.object.key)
    return seen is not None and seen.size_bytes == lora.facts.size_bytes
