"""Going on with what was left, going back a stage, and giving up, with the real chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.settings import load_settings
from lora_prep.stores import S3Store
from pipelines import steps
from pipelines.backends import open_ledger
from pipelines.engine import Client
from pipelines.runs import Run, new_run, run_at, run_by_id
from pipelines.train import Place, Task, begin, without_engine
from pipelines.uploading import put_dataset
from tests.cli.command import SAMPLE_DATA, Done, command, in_process, lora_prep
from tests.cli.schemas import valid
from tests.cli.test_runs import in_hand
from tests.pipelines.conftest import NOW, Paid
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS

Capture = pytest.CaptureFixture[str]
ADA = SAMPLE_DATA / "people" / "ada"
QUICK = {"REHEARSAL_RANK": "1", "REHEARSAL_BLOCKS": "1", "REHEARSAL_S": "0"}


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    monkeypatch.setenv("LORA_PREP_ENGINE__LOOK_S", "0.05")
    for name, value in QUICK.items():
        monkeypatch.setenv(f"LORA_PREP_EMBEDDED__{name}", value)
    for path in module_home.glob("lora_prep.sqlite*"):
        path.unlink()
    shutil.rmtree(module_home / "runs", ignore_errors=True)
    return module_home


@pytest.fixture
def trainer(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paid]:
    """A trainer of 2 USD for 1,000 steps."""
    monkeypatch.setenv("WAVESPEED_API_KEY", KEY)
    for name, value in NOW.items():
        monkeypatch.setenv(f"LORA_PREP_TRAINER__{name.upper()}", str(value))
    options = replace(OPTIONS, price_usd=2, balance_usd=50)
    with running_service(tmp_path / "service", options=options) as service:
        monkeypatch.setenv("LORA_PREP_TRAINER__BASE_URL", service.api.base_url)
        yield Paid(service)


def begun(folder: Path = ADA) -> Run:
    return begin(folder, load_settings())


def archived_now() -> Run:
    """A rehearsal that has come to its end."""
    run = begun()
    place = Place()
    try:
        assert without_engine(Task(run.id, yes=True), place) == {"status": "archived"}
    finally:
        place.close()
    return run


def resumed(done: Done) -> dict[str, dict[str, Any]]:
    valid(done.json, "resume")
    return {row["run"]: row for row in done.json["runs"]}


# ── what is refused ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        [], ["x", "--all"], ["--all", "--from", "submit"], ["--all", "--again"],
        ["nobody"], ["nobody", "--from", "archive"], ["x", "--from", "sideways"],
    ],
)  # fmt: skip
def test_a_run_or_all_of_them(words: list[str], capsys: Capture) -> None:
    done = in_process(capsys, "resume", *words)
    assert (done.status, done.error_code) == (2, "configuration")


def test_nothing_left_is_no_error(capsys: Capture) -> None:
    done = in_process(capsys, "resume", "--all", "--json")
    assert (done.status, done.json["runs"]) == (0, [])
    valid(done.json, "resume")


def test_there_must_be_something_to_go_back_to(capsys: Capture, tmp_path: Path) -> None:
    run = new_run()
    run.update(status="prepared", opened=steps.opened(load_settings(), tmp_path / "gone"))
    (run.path / "dataset.zip").write_bytes(b"zip")
    for stage, code in (("archive", "configuration"), ("prepare", "not_a_photo_folder")):
        done = in_process(capsys, "resume", run.id, "--from", stage)
        assert (done.status, done.error_code) == (2, code)
    assert (run.path / "dataset.zip").exists()  # it was looked first
    with in_hand(run):
        done = in_process(capsys, "resume", run.id, "--from", "prepare")
        assert (done.status, done.error_code) == (75, "temporary")
    run.update(reused=True, loras=[{"url": "s3://b/loras/20260101t000000-abcdef/x.safetensors"}])
    done = in_process(capsys, "resume", run.id, "--from", "archive")
    assert "lora-prep resume 20260101t000000-abcdef --from archive" in done.stderr


# ── all of them ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_all_that_was_left_goes_on_side_by_side(home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ADA, tmp_path / "gone")
    ada, ben = begun(), begun(SAMPLE_DATA / "people" / "ben")
    failing, busy, looked_at = begun(folder), begun(), new_run()
    looked_at.update(status="prepared")
    shutil.rmtree(folder)
    given_up = begun()
    given_up.mark_cancelled()
    with in_hand(busy):
        done = lora_prep("resume", "--all", "--json")
    rows = resumed(done)
    assert set(rows) == {ada.id, ben.id, failing.id}
    assert (rows[ada.id]["exit"], rows[ben.id]["exit"]) == (0, 0)
    assert rows[ada.id]["loras"][0]["url"].startswith("s3://lora-prep/")
    assert (rows[failing.id]["exit"], done.status) == (2, 2)
    assert rows[failing.id]["error"]["code"] == "not_a_photo_folder"
    assert given_up.is_cancelled
    assert busy.record()["status"] == "created"
    again = lora_prep("resume", "--all")
    assert f"{busy.id}  archived" in again.stdout
    assert str(ada.id) not in again.stdout


@pytest.mark.slow
def test_nothing_new_is_paid_for_unasked(trainer: Paid) -> None:
    run = begun()
    client = Client(load_settings())
    client.enqueue(Task(run.id))  # was killed while it waited for somebody to agree
    client.close()
    left = lora_prep("resume", "--all", "--json")
    row = resumed(left)[run.id]
    assert (left.status, row["exit"], row["error"]["code"]) == (9, 9, "declined")
    assert run.record()["status"] == "created"
    assert "error" not in run.record()
    assert trainer.accepted == 0
    dear = lora_prep("resume", "--all", "--yes", "--max-cost", "1", "--json")
    assert (dear.status, resumed(dear)[run.id]["error"]["code"]) == (9, "declined")
    done = lora_prep("resume", "--all", "--yes", "--max-cost", "10", "--json")
    assert (done.status, resumed(done)[run.id]["status"]) == (0, "archived")
    assert trainer.accepted == 1


# ── back a stage ──────────────────────────────────────────────────────────────────────────────


def keys_of(run: Run, store: S3Store) -> list[str]:
    return [stored.key for stored, _ in store.listed(f"loras/{run.id}/")]


@pytest.mark.slow
def test_the_archive_is_done_again_from_the_copy_or_from_the_provider(home: Path) -> None:
    run = archived_now()
    before = open_ledger(load_settings()).of_run(run.id)
    with steps.connect(load_settings()) as backends:
        for gone in (False, True):
            lora = run.path / "lora" / "1.safetensors"
            assert lora.exists()
            if gone:
                lora.unlink()
            done = lora_prep("resume", run.id, "--from", "archive", "--json")
            assert done.status == 0, done.stderr
            valid(done.json, "resume")
            assert ("downloading" in done.stderr) is gone
            assert "reading back" in done.stderr
            assert lora.exists()
        keys = keys_of(run, backends.store)
        (url,) = [key for key in keys if key.endswith(".safetensors")]
        backends.store.delete(url)
        shutil.rmtree(run.path / "lora")
        assert lora_prep("resume", run.id, "--from", "archive").status == 0
        assert sorted(keys_of(run, backends.store)) == sorted(keys)
    after = open_ledger(load_settings()).of_run(run.id)
    assert before is not None
    assert after is not None
    assert (after.prediction_id, after.intent) == (before.prediction_id, before.intent)


@pytest.mark.slow
def test_what_was_submitted_is_submitted_again_by_a_run_of_its_own_only(trainer: Paid) -> None:
    done = lora_prep("run", ADA, "--yes", "--json")
    assert done.status == 0, done.stderr
    run = run_at(done.json["run"])
    for stage in ("prepare", "upload", "submit"):
        refused = lora_prep("resume", run.id, "--from", stage, "--yes")
        assert (refused.status, refused.error_code) == (2, "configuration")
    assert trainer.accepted == 1
    had = run.record()
    for number, stage in enumerate(("submit", "prepare"), 2):
        again = lora_prep("resume", run.id, "--from", stage, "--again", "--yes", "--json")
        assert again.status == 0, again.stderr
        valid(again.json, "resume")
        assert again.json["run"] != run.id
        assert again.json["run"] in again.stderr
        assert again.json["dataset"]["sha256"] == had["dataset"]["sha256"]
        assert (again.json["name"], again.json["reused"]) == ("ada", False)
        assert trainer.accepted == number
    assert run.record() == had
    (run.path / "dataset.zip").unlink()
    gone = lora_prep("resume", run.id, "--from", "upload", "--again")
    assert (gone.status, gone.error_code) == (2, "configuration")


@pytest.mark.slow
def test_photos_that_changed_are_prepared_anew(home: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(ADA, tmp_path / "ada")
    run = begun(folder)
    place = Place()
    place.prepare(run)
    with steps.connect(load_settings()) as backends:
        sha256 = run.record()["dataset"]["sha256"]
        upload = put_dataset(run, run.path / "dataset.zip", sha256, backends)
        assert upload.object is not None
        for path in sorted(folder.glob("*.jpg"))[:3]:
            path.unlink()
        done = lora_prep("resume", run.id, "--from", "prepare", "--json")
        assert done.status == 0, done.stderr
        assert (done.json["run"], done.json["dataset"]["images"]) == (run.id, 13)
        assert len(list((run.path / "crops").glob("*.jpg"))) == 13
        assert backends.store.head(upload.object.key) is None


# ── giving up ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_photos_that_were_never_submitted_leave_the_bucket(home: Path, capsys: Capture) -> None:
    run = begun()
    Place().prepare(run)
    with steps.connect(load_settings()) as backends:
        sha256 = run.record()["dataset"]["sha256"]
        upload = put_dataset(run, run.path / "dataset.zip", sha256, backends)
        assert upload.object is not None
        done = in_process(capsys, "cancel", run.id, "--json")
        valid(done.json, "cancel")
        assert (done.status, done.json["zip_deleted"], done.json["training"]) == (0, True, "none")
        assert backends.store.head(upload.object.key) is None
    assert lora_prep("resume", run.id, "--json").json["status"] == "archived"
    assert not run.is_cancelled


@pytest.mark.slow
def test_a_run_that_is_given_up_ends_elsewhere_and_goes_on_with_the_same_training(
    home: Path,
) -> None:
    process = subprocess.Popen(
        command("run", ADA, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, env=os.environ | {"LORA_PREP_EMBEDDED__REHEARSAL_S": "20"},
    )  # fmt: skip
    run = submitted_run(home, process)
    prediction = run.record()["training"]["prediction_id"]
    (row,) = lora_prep("status", "--json").json["runs"]
    assert (row["run"], row["held"], row["stage"]) == (run.id, True, "train")
    watching = subprocess.Popen(
        command("status", run.id, "--watch"), stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert "train: " in watching.stdout.readline()
    told = lora_prep("cancel", run.id, "--json")
    assert (told.json["stopped"], told.json["training"]) == (True, "rehearsal")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 9, stderr
    assert "was cancelled" in stderr
    watched, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert watched.splitlines()[-1].split()[2] == "cancelled"
    assert lora_prep("status", "--json").json["runs"] == []
    done = lora_prep("resume", run.id, "--json")
    assert done.status == 0, done.stderr
    assert done.json["training"]["prediction_id"] == prediction
    (row,) = lora_prep("runs", "--json").json["runs"]
    assert row["status"] == "archived"


def submitted_run(home: Path, process: subprocess.Popen[str]) -> Run:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for path in (home / "runs").glob("*/run.json"):
            run = run_by_id(path.parent.name)
            if run and run.record().get("status") == "submitted":
                return run
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("never submitted")


@pytest.mark.slow
def test_what_waits_for_room_is_not_sent_once_it_is_given_up(trainer: Paid) -> None:
    run = begun()
    place = Place()
    said: list[str] = []

    def give_up(run_id: str, event: Any) -> None:
        said.append(event.message)
        if "the link to the photos" in event.message or event.stage == "upload":
            run.mark_cancelled()

    place.on_event = give_up
    try:
        answer = without_engine(Task(run.id, yes=True), place)
    finally:
        place.close()
    assert answer == {"status": "failed", "error": {"code": "declined"}}
    assert trainer.accepted == 0
    assert lora_prep("resume", run.id, "--yes").status == 0
    assert trainer.accepted == 1
