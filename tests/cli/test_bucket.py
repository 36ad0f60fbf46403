"""doctor, init, store policy, lifecycle and gc, as their user runs them."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lora_prep.settings import load_settings
from lora_prep.stores import PROBES, dataset_key
from lora_prep.trainers import Intent
from pipelines.backends import connect_store, open_ledger
from pipelines.leftovers import collect
from tests.cli.command import Done, command, in_process, lora_prep
from tests.cli.schemas import valid
from tests.origin import closed_port

LIVE = timedelta(hours=24)


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    return module_home


def named(done: Done) -> dict[str, str]:
    valid(done.json, "doctor")
    return {check["name"]: check["outcome"] for check in done.json["checks"]}


@pytest.mark.slow
def test_the_doctor_looks_at_the_embedded_bucket(home: Path) -> None:
    done = lora_prep("doctor", "--deep", "--json")
    assert done.status == 0, done.stderr
    assert named(done)["parts"] == "ok"
    assert named(done)["trainer"] == "skipped"


@pytest.mark.slow
def test_the_doctor_finds_out_again_what_the_bucket_does(home: Path) -> None:
    lora_prep("doctor")
    (kept,) = (home / "cache" / "buckets").iterdir()
    kept.write_text(kept.read_text().replace("true", "false"))
    lora_prep("doctor")
    assert "false" not in kept.read_text()


@pytest.mark.slow
def test_the_doctor_looks_on_where_the_settings_fail(home: Path) -> None:
    done = lora_prep(
        "doctor", "--json", "--store", "s3://photos/p", "--endpoint-url", "http://127.0.0.1:9",
        AWS_EC2_METADATA_DISABLED="true",
    )  # fmt: skip
    assert (done.status, done.error_code) == (2, "configuration")
    assert named(done)["settings"] == "fail"
    assert named(done)["key"] == "fail"
    assert named(done)["trainer"] == "skipped"


@pytest.mark.slow
def test_rules_are_offered_and_set_when_asked_only(home: Path) -> None:
    offered = lora_prep("store", "lifecycle", "--json")
    assert (offered.status, offered.error_code) == (9, "declined")
    assert '+    "ID": "lora-prep-datasets"' in offered.stderr
    done = lora_prep("store", "lifecycle", "--yes", "--json")
    valid(done.json, "store-lifecycle")
    assert done.json["changed"] is True
    again = lora_prep("store", "lifecycle", "--json")
    assert (again.status, again.json["changed"]) == (0, False)
    assert named(lora_prep("doctor", "--json"))["lifecycle"] == "ok"


@pytest.mark.slow
def test_what_a_crash_left_is_deleted_and_what_is_needed_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    ledger = open_ledger(settings)
    with connect_store(settings) as store:
        now = datetime.now(UTC)
        keys = {name: store.key(dataset_key(f"{name}-1", "a" * 64, now)) for name in STATES}
        for name, key in keys.items():
            store.put_bytes(b"PK", key, content_type="application/zip")
            if name != "never":
                _submit(name, key)
        probe = store.put_bytes(b"?", store.key(f"{PROBES}doctor-1.zip"), content_type="x/y")
        young = {one.key for one in collect(store, ledger, links_live=LIVE)[0] if one.needed}
        assert young == set(keys.values())  # all were put just now
        monkeypatch.setattr("pipelines.leftovers.MOMENTS_AGO", timedelta(seconds=-1))
        needed = {"posting", "submitted"}
        for links_live, kept in ((LIVE, {*needed, "never"}), (timedelta(0), needed)):
            found, _ = collect(store, ledger, links_live=links_live, dry_run=True)
            assert {one.key for one in found if one.needed} == {keys[name] for name in kept}
        assert all(store.head(key) for key in keys.values())
        assert store.head(probe.key)
        collect(store, ledger, links_live=timedelta(0))
        assert store.head(probe.key) is None  # of a doctor that was killed
        left = {name for name, key in keys.items() if store.head(key)}
        assert left == {"posting", "submitted"}
    done = lora_prep("store", "gc", "--json")
    valid(done.json, "store-gc")
    assert {one["kept"] for one in done.json["data_sets"]} == {True}
    assert lora_prep("store", "gc", "--dry-run").stdout.count("kept") == 2


STATES = ("never", "posting", "submitted", "archived", "failed", "released")


def _submit(name: str, key: str) -> None:
    """Bring a submission into the state of its name."""
    ledger = open_ledger(load_settings())
    intent = Intent(name, 1, "https://t.test", "m", {"n": name}, "d", "lora-prep", key)
    claim = ledger.claim(intent)
    assert hasattr(claim, "submission")
    if name == "posting":
        return
    if name == "released":
        ledger.release(claim.submission, "of this test")
        return
    ledger.submitted(claim, f"id-{name}")  # type: ignore[arg-type]
    if name == "archived":
        ledger.archived(f"{name}-1")
    if name == "failed":
        ledger.failed(f"{name}-1", "of this test")


def test_a_policy_needs_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    none = in_process(capsys, "store", "policy")
    assert (none.status, none.error_code) == (2, "configuration")
    done = in_process(capsys, "store", "policy", "--store", "s3://photos/p", "--json")
    valid(done.json, "store-policy")
    assert done.json["policy"]["Version"] == "2012-10-17"
    b2 = "https://s3.us-west-004.backblazeb2.com"
    done = in_process(capsys, "store", "policy", "--store", "s3://photos", "--endpoint-url", b2)
    assert done.stdout.startswith("b2 key create --bucket photos lora-prep ")


@pytest.mark.slow
def test_init_writes_settings_without_secrets_and_never_over_others(home: Path) -> None:
    done = lora_prep("init", "--trigger-word", 'a "word"', "--max-cost", "5", "--json")
    assert done.status == 0, done.stderr
    valid(done.json, "init")
    path = Path("lora-prep.toml")
    assert load_settings().trainer.trigger_word == 'a "word"'
    assert load_settings().trainer.max_cost_usd == 5
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    text = path.read_text()
    again = lora_prep("init", "--trigger-word", "other")
    assert (again.status, again.error_code) == (2, "configuration")
    assert path.read_text() == text
    assert list(Path().iterdir()) == [path]
    path.unlink()
    assert lora_prep("init", "--store", "ftp://x").status == 2
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_init_asks_again_what_does_not_fit(own_place: None, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{closed_port()}"
    typed = ["my-bucket", "s3://my-bucket", "127.0.0.1", nobody, "", "", "cheap", "5"]
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{line}\n" for line in typed).encode())
    quiet = os.environ | {"LORA_PREP_HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        command("init"), stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=quiet, timeout=60
    )
    said = os.read(ours, 1 << 16).decode()
    for one in (ours, theirs):
        os.close(one)
    assert done.returncode == 2  # of the doctor: there is no key
    assert said.count("Your bucket") == said.count("Its endpoint") == 2
    assert "valid number" in said
    store, trainer = load_settings().store, load_settings().trainer
    assert (store.url, store.endpoint_url) == ("s3://my-bucket", nobody)
    assert trainer.max_cost_usd == 5
