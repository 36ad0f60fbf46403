"""A LoRA is kept in the same way on every server: once, whole, and never over something else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lora_prep.archive import (
    How,
    TrainingFacts,
    archive_lora,
    check_object,
    find_archived,
    verify_archives,
)
from lora_prep.errors import ArchiveError
from lora_prep.model import Lora, Prediction, PredictionStatus
from lora_prep.stores import S3Store, lora_key
from tests.archive.fault_origin import fault_origin
from tests.archive.lora_files import lora

pytestmark = pytest.mark.slow  # real servers

FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, None, 10, "0")
GOOD = lora(rank=128, blocks=3000)  # 12 MB
SHA256 = hashlib.sha256(GOOD).hexdigest()


def keep(run_id: str, store: S3Store, folder: Path, **how: Any) -> Lora:
    with fault_origin(GOOD) as server:
        links = (f"{server.url}/x.safetensors",)
        prediction = Prediction("p1", "model", PredictionStatus.COMPLETED, links)
        (kept,) = archive_lora(
            prediction, FACTS, run_id=run_id, store=store, folder=folder, how=How(**how)
        )
    return kept


@pytest.mark.parametrize("parts", ["one", "several"])
@pytest.mark.parametrize("verify", ["read", "head"])
def test_a_lora_is_kept_once_and_can_be_proved(
    parts: str, verify: str, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parts == "several":
        monkeypatch.setattr("lora_prep.stores.s3.SINGLE_PUT_BYTES", 1 << 20)
        monkeypatch.setattr("lora_prep.stores.s3.PART_BYTES", 5 << 20)
    run_id = f"c-{parts}-{verify}"
    kept = keep(run_id, store, tmp_path / "a", verify=verify)
    again = keep(run_id, store, tmp_path / "b", verify=verify)  # as another machine would
    assert again.object == kept.object
    assert find_archived(store, run_id)[0].facts == kept.facts
    assert store.sha256(kept.object.key) == (SHA256, len(GOOD))
    assert store.read_at(kept.object.key, 1000, 50) == GOOD[1000:1050]
    assert check_object(store, kept.object.key).rank == 128
    names = [stored.key.rpartition("/")[2] for stored, _ in store.listed(f"loras/{run_id}/")]
    assert sorted(names) == sorted(
        ["README.md", "lora.json", f"{run_id}-{SHA256[:12]}.safetensors"]
    )
    assert {one.state for one in verify_archives(store) if one.run_id == run_id} == {"sound"}


@pytest.mark.parametrize("verify", ["read", "head"])
def test_other_bytes_in_its_place_stay_and_are_an_error(
    verify: str, store: S3Store, tmp_path: Path
) -> None:
    run_id = f"taken-{verify}"
    key = store.key(lora_key(run_id, SHA256))
    store.put_bytes(bytes(len(GOOD)), key, content_type="x/y")
    with pytest.raises(ArchiveError, match="other bytes"):
        keep(run_id, store, tmp_path, verify=verify)
    assert store.sha256(key) == (hashlib.sha256(bytes(len(GOOD))).hexdigest(), len(GOOD))
    assert find_archived(store, run_id) == ()


@pytest.mark.parametrize("parts", ["one", "several"])
def test_whoever_writes_in_between_is_not_overwritten_where_the_server_can_tell(
    parts: str, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parts == "several":
        monkeypatch.setattr("lora_prep.stores.s3.SINGLE_PUT_BYTES", 1 << 20)
        monkeypatch.setattr("lora_prep.stores.s3.PART_BYTES", 5 << 20)
    key, path = store.key(f"between/{parts}"), tmp_path / "x"
    path.write_bytes(GOOD)
    store.put_bytes(b"theirs", key, content_type="x/y")
    look = store.head
    monkeypatch.setattr(store, "head", lambda key: None)  # it was written right after the look
    uploaded = store.put_new(path, key, sha256=SHA256, content_type="x/y")
    monkeypatch.setattr(store, "head", look)
    assert uploaded is not store.capabilities.conditional_put
    expected = b"theirs" if store.capabilities.conditional_put else GOOD
    assert b"".join(store.read(key)) == expected
    assert store.put_new(path, key, sha256=SHA256, content_type="x/y") is False
