"""Keep a LoRA for good: local copy first, bucket second, sidecar last.

The sidecar is the commit mark: where it lies, every file it names was read back from the bucket
and has the right SHA-256. Each step can be repeated; repeating changes nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lora_prep.archive.check import check_lora
from lora_prep.archive.download import download
from lora_prep.errors import ArchiveError, LoraInvalid
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Lora, LoraFacts, Prediction, Role, StoredObject
from lora_prep.stores import S3Store, lora_key, sidecar_key

__all__ = ["TrainingFacts", "archive_lora"]

SAFETENSORS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What the sidecar tells of the training; None where this machine does not know it."""

    provider: str
    model: str
    trigger_word: str | None
    steps: int | None
    dataset_sha256: str | None
    images: int | None
    tool_version: str


def archive_lora(
    prediction: Prediction,
    facts: TrainingFacts,
    *,
    run_id: str,
    store: S3Store,
    folder: Path,
    on_event: Listener = ignore,
) -> tuple[Lora, ...]:
    """Download every output, verify it, put it into the bucket and read it back.

    A LoRA is returned only when its length, its safetensors structure, its SHA-256 and what the
    bucket gives back all agree. All outputs of a training are one result: the sidecar is written
    when every one of them is kept.

    Raises:
        ResultExpired: the provider's link is dead.
        LoraInvalid: a file is truncated, padded, or no LoRA.
        ArchiveError: it could not be downloaded, or the bucket gave back other bytes.
        StorageError, CredentialsError: the bucket failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loras = []
    for number, link in enumerate(prediction.outputs, start=1):
        path = folder / f"{number}.safetensors"
        checked = _fetch(link, path, on_event)
        key = store.key(lora_key(run_id, checked.sha256))
        stored = _keep(store, path, key, checked, on_event)
        loras.append(Lora(checked, _role(link, len(prediction.outputs)), stored, path))
    sidecar = json.dumps(_sidecar(prediction, facts, loras), indent=2)
    (folder / "lora.json").write_text(sidecar, encoding="utf-8")
    store.put_bytes(
        sidecar.encode(), store.key(sidecar_key(run_id)), content_type="application/json"
    )
    return tuple(loras)


def _fetch(link: str, path: Path, on_event: Listener) -> LoraFacts:
    """Return the facts of the local copy; it is downloaded only if there is no good one.

    A file gets its name when it has passed the check, so that nothing ever replaces a good copy.
    """
    if path.exists():
        with suppress(LoraInvalid):
            return check_lora(path)
    fresh = path.with_name(f"{path.name}.unchecked")
    download(link, fresh, on_event)
    on_event(Event("archive", "checking"))
    facts = check_lora(fresh)
    fresh.replace(path)
    return facts


def _keep(
    store: S3Store, path: Path, key: str, facts: LoraFacts, on_event: Listener
) -> StoredObject:
    """Upload unless the same bytes are there already; what is there is read back and compared."""
    wanted = (facts.sha256, facts.size_bytes)
    if store.head(key) is None or store.sha256(key) != wanted:
        _upload(store, path, key, facts, on_event)
        on_event(Event("archive", "reading back"))
        sha256, size_bytes = store.sha256(key)
        if (sha256, size_bytes) != wanted:
            raise ArchiveError(
                "The bucket gives back other bytes than were uploaded.",
                why=f"{size_bytes} bytes with sha256 {sha256[:12]} instead of "
                f"{facts.size_bytes} with {facts.sha256[:12]}.",
                fix=f"The local copy is good; look at the bucket, then archive again: {path}",
            )
    return StoredObject(store.access.bucket, key, facts.size_bytes, facts.sha256)


def _upload(store: S3Store, path: Path, key: str, facts: LoraFacts, on_event: Listener) -> None:
    sent = 0
    counting = threading.Lock()  # parts of a large file go up in several threads

    def progress(count: int) -> None:
        nonlocal sent
        with counting:
            sent += count
        on_event(Event("archive", "uploading", done=sent, total=facts.size_bytes, unit="bytes"))

    store.put_file(path, key, sha256=facts.sha256, content_type=SAFETENSORS, on_bytes=progress)


def _role(link: str, outputs: int) -> Role:
    """Tell the two files of Wan 2.2 apart by name; their order is not reliable."""
    name = urlsplit(link).path.rpartition("/")[2]
    if outputs > 1 and "high_noise" in name:
        return "high_noise"
    if outputs > 1 and "low_noise" in name:
        return "low_noise"
    return "single"


def _sidecar(prediction: Prediction, facts: TrainingFacts, loras: Sequence[Lora]) -> dict[str, Any]:
    """Everything needed to use and trust the files; no URL, no file name, no person's name."""
    created = prediction.created_at
    return {
        "schema": 1,
        "files": [
            {"key": lora.object.key, "role": lora.role, **asdict(lora.facts)} for lora in loras
        ],
        "training": {
            "provider": facts.provider,
            "model": facts.model,
            "prediction_id": prediction.id,
            "created_at": created and created.isoformat(),
            "trigger_word": facts.trigger_word,
            "steps": facts.steps,
        },
        "dataset": {"sha256": facts.dataset_sha256, "images": facts.images},
        "tool": {"name": "lora_prep", "version": facts.tool_version},
    }
