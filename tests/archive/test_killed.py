"""kill -9 at every state, then the same again: one object, the right hash, nothing left over."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_prep.archive import ArchiveState, find_archived, read_journal
from lora_prep.stores import S3Store, StoreAccess
from tests.archive.fault_origin import fault_origin
from tests.archive.killed import POINTS, archive
from tests.archive.lora_files import lora

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BODY = lora(rank=64, blocks=1500)  # 6 MB: it comes in several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


def values_of(url: str, run_id: str, access: StoreAccess, folder: Path) -> dict[str, Any]:
    return {
        "url": f"{url}/x.safetensors?Signature=abc",
        "run_id": run_id,
        "folder": str(folder),
        "access": dataclasses.asdict(access),
    }


def child(point: str, values: dict[str, Any], **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.archive.killed", point, json.dumps(values)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=100, **how,
    )  # fmt: skip


def is_kept(store: S3Store, run_id: str, folder: Path) -> None:
    (kept,) = find_archived(store, run_id)
    assert kept.facts.sha256 == SHA256
    assert b"".join(store.read(kept.object.key)) == BODY
    archived = store.listed(f"loras/{run_id}/")
    names = [stored.key.rpartition("/")[2] for stored, _ in archived]
    lora_name = f"{run_id}-{SHA256[:12]}.safetensors"
    assert sorted(names) == sorted(["README.md", "lora.json", lora_name])
    here = sorted(path.name for path in folder.iterdir())
    assert here == ["1.safetensors", "README.md", "archive.json", "lora.json"]
    assert (folder / "1.safetensors").read_bytes() == BODY
    journal = read_journal(folder)
    assert journal is not None
    assert journal.state is ArchiveState.MANIFEST


@pytest.mark.parametrize("point", POINTS)
def test_killed_there_and_done_again_it_is_kept_once(
    point: str, access: StoreAccess, store: S3Store, tmp_path: Path
) -> None:
    run_id = f"k{POINTS.index(point)}"
    with fault_origin(BODY) as server:
        values = values_of(server.url, run_id, access, tmp_path)
        done = child(point, values)
        assert done.returncode == -signal.SIGKILL, done.stderr
        archive(values)
        is_kept(store, run_id, tmp_path)
        assert len(server.asked) <= 2


def test_a_full_disk_is_said_and_gone_on_with(
    access: StoreAccess, store: S3Store, tmp_path: Path
) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    with fault_origin(BODY) as server:
        values = values_of(server.url, "full", access, tmp_path)
        done = child("", values, preexec_fn=small_disk)
        assert done.returncode == 1
        assert "The LoRA could not be written" in done.stderr
        assert "what has come is kept" in done.stderr
        assert (tmp_path / "1.unchecked.part").stat().st_size == 1_500_000
        assert not (tmp_path / "1.safetensors").exists()
        archive(values)
        is_kept(store, "full", tmp_path)
        assert server.ranges == [None, "bytes=1500000-"]
