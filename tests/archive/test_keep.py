"""A good copy is never replaced by a bad one, here or in the bucket; on a real store."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from lora_prep.archive import (
    ArchiveState,
    How,
    Limits,
    TrainingFacts,
    archive_lora,
    archives,
    find_archive,
    find_archived,
    note_cleaned,
    note_submitted,
    read_journal,
)
from lora_prep.errors import ArchiveError, LoraBroken, LoraInvalid, ResultExpired
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Lora, Prediction, PredictionStatus
from lora_prep.stores import S3Store, sidecar_key
from tests.archive.fault_origin import Close, LengthOff, Status, fault_origin
from tests.archive.lora_files import lora

pytestmark = pytest.mark.slow
FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, "0" * 64, 10, "0", ("1" * 64,))
GOOD = lora(rank=2, blocks=2)
HTML = Status(200, body=b"<html>no</html>")
XML = Status(200, body=b'<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>')
QUICK = Limits(read_timeout_s=0.5, pause_min_s=0.01, pause_max_s=0.02)
TWO = ("x_high_noise_lora.safetensors", "x_low_noise_lora.safetensors")


def keep(
    url: str,
    run_id: str,
    store: S3Store,
    folder: Path,
    *names: str,
    on_event: Listener = ignore,
    **how: Any,
) -> tuple[Lora, ...]:
    links = tuple(f"{url}/{name}?Signature=abc" for name in names or ["x.safetensors"])
    model = "wavespeed-ai/wan-2.2-image-lora-trainer" if names else "model"
    prediction = Prediction("p1", model, PredictionStatus.COMPLETED, links)
    return archive_lora(
        prediction,
        FACTS,
        run_id=run_id,
        store=store,
        folder=folder,
        how=How(limits=QUICK, **how),
        on_event=on_event,
    )


def below(store: S3Store, run_id: str) -> list[str]:
    return [stored.key.rpartition("/")[2] for stored, _ in store.listed(f"loras/{run_id}/")]


def local(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_lora_is_kept_with_everything_that_is_known_of_it(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD) as server:
        (kept,) = keep(server.url, "r0", store, tmp_path)
    sha256 = hashlib.sha256(GOOD).hexdigest()
    assert below(store, "r0") == ["README.md", "lora.json", f"r0-{sha256[:12]}.safetensors"]
    assert b"".join(store.read(kept.object.key)) == GOOD
    assert local(tmp_path) == ["1.safetensors", "README.md", "archive.json", "lora.json"]
    assert kept.path == tmp_path / "1.safetensors"
    sidecar = json.loads(b"".join(store.read(sidecar_key("r0"))))
    assert sidecar == json.loads((tmp_path / "lora.json").read_text())
    (file,) = sidecar["files"]
    assert (file["sha256"], file["size_bytes"], file["role"]) == (sha256, len(GOOD), "single")
    assert (file["alpha"], file["modules"]) == (None, ["self_attn.q"])
    header_end = 8 + struct.unpack("<Q", GOOD[:8])[0]
    assert file["tensor_sha256"] == hashlib.sha256(GOOD[header_end:]).hexdigest()
    assert file["etag"]
    assert sidecar["dataset"]["image_sha256"] == ["1" * 64]
    assert sidecar["training"]["source_hosts"] == ["127.0.0.1"]
    assert "Signature" not in json.dumps(sidecar) + (tmp_path / "archive.json").read_text()
    found = find_archive(store, "r0")
    assert found is not None
    assert found.loras[0].facts == kept.facts
    assert found.training["prediction_id"] == "p1"
    assert find_archived(store, "r0")[0].object == kept.object
    assert any(one != "r0" and getattr(one, "run_id", "") == "r0" for one in archives(store))
    card = (tmp_path / "README.md").read_text()
    assert 'instance_prompt: "p3r5on"' in card
    assert sha256 in card
    assert "rehearsal" not in card


def test_two_files_are_one_result_and_told_apart_by_name(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD) as server:
        high, low = keep(server.url, "r1", store, tmp_path, *TWO)
        assert (high.role, low.role) == ("high_noise", "low_noise")
        assert {"high_noise.safetensors", "low_noise.safetensors"} < set(local(tmp_path))
        again = keep("http://127.0.0.1:9", "r1", store, tmp_path, *TWO[::-1])
    assert [one.object for one in again] == [high.object, low.object]


def test_one_of_two_files_is_no_result(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD) as server:
        with pytest.raises(ArchiveError, match="gives 1 of 2 files"):
            keep(server.url, "r2", store, tmp_path, TWO[0])
        server.faults = [Status(200, body=GOOD), Status(404)]
        with pytest.raises(ResultExpired):
            keep(server.url, "r2", store, tmp_path, *TWO)
    assert below(store, "r2") == []  # nothing of it looks archived
    assert find_archived(store, "r2") == ()


@pytest.mark.parametrize("bad", [HTML, XML, LengthOff(-40)])
def test_what_came_damaged_is_fetched_once_more(bad: Any, store: S3Store, tmp_path: Path) -> None:
    run_id = f"r3-{type(bad).__name__.lower()}-{len(getattr(bad, 'body', b''))}"
    with fault_origin(GOOD, bad) as server:
        (kept,) = keep(server.url, run_id, store, tmp_path)
        assert len(server.asked) == 2
    assert kept.facts.sha256 == hashlib.sha256(GOOD).hexdigest()


@pytest.mark.parametrize("times", [1, 2])
def test_a_disk_that_gives_other_bytes_back_is_noticed(
    times: int, store: S3Store, tmp_path: Path
) -> None:
    left = times

    def spoil(event: Event) -> None:
        nonlocal left
        if event.message == "checking" and left:
            left -= 1
            path = tmp_path / "1.unchecked"
            data = bytearray(path.read_bytes())
            data[-2] ^= 1  # a digit of the last number: still a good LoRA, but another one
            path.write_bytes(data)

    run_id = f"spoilt-{times}"
    with fault_origin(GOOD) as server:
        if times == 2:
            with pytest.raises(LoraInvalid, match="not what was downloaded"):
                keep(server.url, run_id, store, tmp_path, on_event=spoil)
            assert below(store, run_id) == []
            return
        (kept,) = keep(server.url, run_id, store, tmp_path, on_event=spoil)
        assert len(server.asked) == 2
    assert kept.facts.sha256 == hashlib.sha256(GOOD).hexdigest()


def test_what_stays_damaged_is_an_error_and_leaves_nothing(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD, HTML, HTML) as server, pytest.raises(LoraInvalid) as raised:
        keep(server.url, "r4", store, tmp_path)
    assert raised.value.retryable
    assert local(tmp_path) == ["archive.json"]
    assert below(store, "r4") == []


def test_a_useless_lora_fails_and_its_file_stays_here(store: S3Store, tmp_path: Path) -> None:
    broken = GOOD[:-2] + struct.pack("<e", float("nan"))
    with fault_origin(broken) as server:
        for _ in range(2):
            with pytest.raises(LoraBroken):
                keep(server.url, "r5", store, tmp_path)
    assert len(server.asked) == 1  # it is not fetched again
    assert (tmp_path / "1.unchecked").read_bytes() == broken
    assert below(store, "r5") == []


def test_a_file_of_another_format_is_kept_and_marked(store: S3Store, tmp_path: Path) -> None:
    other = b"PK\x03\x04" + bytes(1000)
    with fault_origin(other) as server:
        (kept,) = keep(server.url, "r6", store, tmp_path)
    assert kept.facts.verified is False
    assert kept.to_json()["rank"] is None
    assert kept.object.key.endswith(".bin")
    assert b"".join(store.read(kept.object.key)) == other
    assert find_archived(store, "r6")[0].facts == kept.facts


def test_a_good_local_copy_is_used_even_when_the_link_is_dead(
    store: S3Store, tmp_path: Path
) -> None:
    (tmp_path / "1.safetensors").write_bytes(GOOD)
    with fault_origin(GOOD, Status(404)) as dead:
        (kept,) = keep(dead.url, "r7", store, tmp_path)
        assert dead.asked == []
    assert kept.facts.size_bytes == len(GOOD)


def test_a_damaged_local_copy_is_fetched_anew(store: S3Store, tmp_path: Path) -> None:
    (tmp_path / "1.safetensors").write_bytes(GOOD[:-1])
    with fault_origin(GOOD) as server:
        keep(server.url, "r8", store, tmp_path)
    assert (tmp_path / "1.safetensors").read_bytes() == GOOD


def test_what_lies_in_the_bucket_is_never_overwritten(store: S3Store, tmp_path: Path) -> None:
    key = store.key(f"loras/r9/r9-{hashlib.sha256(GOOD).hexdigest()[:12]}.safetensors")
    foreign = bytes(len(GOOD))
    store.put_bytes(foreign, key, content_type="x/y")
    for verify in ("read", "head"):
        with fault_origin(GOOD) as server, pytest.raises(ArchiveError, match="other bytes"):
            keep(server.url, "r9", store, tmp_path, verify=verify)
    assert b"".join(store.read(key)) == foreign
    assert find_archived(store, "r9") == ()
    store.delete(key)  # as the error advises
    with fault_origin(GOOD) as server:
        keep(server.url, "r9", store, tmp_path)
    assert b"".join(store.read(key)) == GOOD


def test_another_archive_s_sidecar_is_never_overwritten(store: S3Store, tmp_path: Path) -> None:
    store.put_bytes(b'{"files": []}', store.key(sidecar_key("r10")), content_type="x/y")
    with fault_origin(GOOD) as server, pytest.raises(ArchiveError, match="Another archive"):
        keep(server.url, "r10", store, tmp_path)


def test_head_reads_nothing_back(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str) -> None:
        raise AssertionError("read back")

    monkeypatch.setattr(store, "sha256", refuse)
    with fault_origin(GOOD) as server:
        assert keep(server.url, "r11", store, tmp_path, verify="head")


def test_what_was_deleted_from_the_bucket_is_archived_again(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD) as server:
        (first,) = keep(server.url, "r12", store, tmp_path)
        for key in (first.object.key, store.key(sidecar_key("r12"))):
            store.delete(key)
            keep(server.url, "r12", store, tmp_path)
            assert find_archived(store, "r12")[0].object == first.object
        assert len(server.asked) == 1


def test_a_sidecar_that_names_no_file_is_no_archive(store: S3Store) -> None:
    sidecar = b'{"files": [], "training": {}}'
    store.put_bytes(sidecar, store.key(sidecar_key("r20")), content_type="application/json")
    assert find_archive(store, "r20") is None


def test_the_journal_tells_how_far_it_came(store: S3Store, tmp_path: Path) -> None:
    note_submitted(tmp_path, "p1")
    seen = [read_journal(tmp_path)]
    with fault_origin(GOOD, *[Close(10)] * 5) as server:
        keep(server.url, "r13", store, tmp_path)
    seen.append(read_journal(tmp_path))
    note_submitted(tmp_path, "p1")  # takes nothing back
    note_cleaned(tmp_path)
    seen.append(read_journal(tmp_path))
    states = [journal.state for journal in seen if journal]
    assert states == [ArchiveState.SUBMITTED, ArchiveState.MANIFEST, ArchiveState.CLEANED]
    assert seen[1] is not None
    assert seen[1].deadline is not None
    (tmp_path / "archive.json").write_text("{")
    assert read_journal(tmp_path) is None


def test_an_expired_link_without_a_copy_is_said(store: S3Store, tmp_path: Path) -> None:
    with fault_origin(GOOD, Status(410)) as dead, pytest.raises(ResultExpired):
        keep(dead.url, "r14", store, tmp_path)


def test_a_fresh_link_is_taken_from_the_file_of_the_same_role(
    store: S3Store, tmp_path: Path
) -> None:
    def ask() -> Prediction:
        links = tuple(f"{server.url}/fresh/{name}" for name in TWO[::-1])
        return Prediction("p1", "wavespeed-ai/wan-2.2-image-lora-trainer",
                          PredictionStatus.COMPLETED, links)  # fmt: skip

    with fault_origin(GOOD, Status(403)) as server:
        keep(server.url, "r15", store, tmp_path, *TWO, ask=ask)
    assert [path.partition("?")[0] for path in server.paths] == [
        f"/{TWO[0]}",
        f"/fresh/{TWO[0]}",
        f"/fresh/{TWO[1]}",  # though the fresh links come in another order
    ]
