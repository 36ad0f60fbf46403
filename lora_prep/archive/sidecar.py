"""`lora.json` beside the LoRA in the bucket: what it is and how it came about.

It is written last, so it is the commit mark: where it lies, every file it names was read back from
the bucket and has the right SHA-256. It holds no URL, no file name and no person's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lora_prep.errors import ArchiveError
from lora_prep.model import Lora, LoraFacts, Prediction, StoredObject
from lora_prep.stores import LORAS, S3Store, sidecar_key

__all__ = [
    "Archive",
    "TrainingFacts",
    "archives",
    "find_archive",
    "find_archived",
    "put_sidecar",
    "sidecar_of",
]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What the sidecar tells of the training; None where this machine does not know it.

    images: in the data set; image_sha256: of each of them, in the order of the zip; parameters: all
    that was asked for besides the data; settings_sha256: of every setting, without the secrets.
    """

    provider: str
    model: str
    trigger_word: str | None
    steps: int | None
    dataset_sha256: str | None
    images: int | None
    tool_version: str
    image_sha256: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """What a sidecar in the bucket says; training: as `sidecar_of` wrote it."""

    run_id: str
    loras: tuple[Lora, ...]
    training: dict[str, Any]


def sidecar_of(
    prediction: Prediction, facts: TrainingFacts, loras: Sequence[Lora]
) -> dict[str, Any]:
    """Return everything that is needed to use and to trust the files."""
    created = prediction.created_at
    return {
        "schema": 1,
        "files": [
            {
                "key": lora.object.key,
                "role": lora.role,
                "etag": lora.object.etag,
                "version_id": lora.object.version_id,
                **asdict(lora.facts),
            }
            for lora in loras
        ],
        "training": {
            "provider": facts.provider,
            "model": facts.model,
            "prediction_id": prediction.id,
            "created_at": created and created.isoformat(),
            "trigger_word": facts.trigger_word,
            "steps": facts.steps,
            "parameters": dict(facts.parameters),
            "source_hosts": sorted({urlsplit(link).hostname or "" for link in prediction.outputs}),
        },
        "dataset": {
            "sha256": facts.dataset_sha256,
            "images": facts.images,
            "image_sha256": list(facts.image_sha256),
        },
        "tool": {
            "name": "lora_prep",
            "version": facts.tool_version,
            "settings_sha256": facts.settings_sha256,
        },
    }


def put_sidecar(store: S3Store, run_id: str, sidecar: dict[str, Any]) -> None:
    """Write the sidecar, unless one for the same files is there already.

    Raises:
        ArchiveError: one for other files is there.
        StorageError, CredentialsError: the bucket failed.
    """
    key = store.key(sidecar_key(run_id))
    if store.head(key) is not None:
        there = find_archive(store, run_id)
        wanted = {(file["key"], file["sha256"]) for file in sidecar["files"]}
        if there and {(lora.object.key, lora.facts.sha256) for lora in there.loras} == wanted:
            return
        raise ArchiveError(
            f"Another archive lies where this one belongs: {key}.",
            why="Its sidecar names other files, and nothing in the bucket is ever overwritten.",
            fix="Move it away, then archive again; the local copy is good.",
        )
    store.put_bytes(json.dumps(sidecar, indent=2).encode(), key, content_type=JSON)


def find_archive(store: S3Store, run_id: str) -> Archive | None:
    """Return what the bucket's sidecar says of a run; None without one that makes sense.

    Raises:
        StorageError, CredentialsError: the bucket failed.
    """
    key = store.key(sidecar_key(run_id))
    if store.head(key) is None:
        return None
    try:
        sidecar = json.loads(b"".join(store.read(key)))
        loras = tuple(_lora(store, file) for file in sidecar["files"])
        training = dict(sidecar.get("training", {}))
    except (ValueError, KeyError, TypeError):  # not ours, or of a version nobody knows
        return None
    return Archive(run_id, loras, training) if loras else None


def archives(store: S3Store) -> Iterator[Archive | str]:
    """Yield every archive in the bucket; of one whose sidecar nobody can read, its run's id.

    Raises:
        StorageError, CredentialsError: the bucket failed.
    """
    folder, end = store.key(LORAS), f"/{sidecar_key('').rpartition('/')[2]}"
    for key in (stored.key for stored, _ in store.listed(LORAS)):
        if key.endswith(end):
            run_id = key.removeprefix(folder).removesuffix(end)
            yield find_archive(store, run_id) or run_id


def find_archived(store: S3Store, run_id: str) -> tuple[Lora, ...]:
    """Return the LoRAs of a run that the bucket holds; () when they are not all there.

    What the sidecar names was verified; here only the lengths are asked.

    Raises:
        StorageError, CredentialsError: the bucket failed.
    """
    archive = find_archive(store, run_id)
    if archive and all(_is_there(store, lora) for lora in archive.loras):
        return archive.loras
    return ()


def _lora(store: S3Store, file: dict[str, Any]) -> Lora:
    facts = LoraFacts.from_json(file)
    stored = StoredObject(
        store.access.bucket,
        file["key"],
        facts.size_bytes,
        facts.sha256,
        file.get("etag"),
        file.get("version_id"),
    )
    return Lora(facts, file["role"], stored, path=None)


def _is_there(store: S3Store, lora: Lora) -> bool:
    seen = store.head(lora.object.key)
    return seen is not None and seen.size_bytes == lora.facts.size_bytes
