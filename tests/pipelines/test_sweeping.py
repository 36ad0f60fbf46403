"""What completed and is in no archive is found and archived, on a real store and service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lora_prep.archive import ArchiveState, read_journal, verify_archives
from lora_prep.stores import sidecar_key
from lora_prep.trainers import wait_for_end
from pipelines import steps
from pipelines.backends import Backends
from pipelines.runs import new_run, run_by_id
from pipelines.submitting import obtain
from pipelines.sweeping import sweep
from tests.cli.command import in_process
from tests.cli.schemas import valid
from tests.pipelines.conftest import Paid
from tests.pipelines.test_submitting import Killed, killed, new_set, train, zips

pytestmark = pytest.mark.slow
Start = Callable[..., Paid]


def submitted_elsewhere(trainer: Paid, backends: Backends) -> str:
    """A training that this machine's ledger does not know."""
    path = new_set()[1]
    key = backends.store.key("elsewhere.zip")
    backends.store.put_file(path, key, sha256="", content_type="application/zip")
    url = backends.store.presign(key, timedelta(hours=1)).url
    prediction_id = trainer.api.submit(url)
    wait_for_end(backends.trainer, prediction_id, backends.pace)
    return prediction_id


def test_only_what_is_in_no_archive_is_archived(
    paid: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        train(run, path, sha256, backends)
        waiting, path, sha256 = new_set()
        obtain(waiting, path, sha256, backends)  # completed, and then the machine died
        assert waiting.record()["expires_at"]
        journal = read_journal(waiting.path / "lora")
        assert journal is not None
        assert journal.state is ArchiveState.SUBMITTED
        status = in_process(capsys, "status", "--json").json
        assert waiting.id in [row["run"] for row in status["runs"]]
        (swept,) = sweep(backends)
        assert swept.result is not None
        assert swept.result.run == waiting
        assert waiting.record()["status"] == "archived"
        assert "expires_at" not in waiting.record()
        journal = read_journal(waiting.path / "lora")
        assert journal is not None
        assert journal.state is ArchiveState.CLEANED
        assert sweep(backends) == ()
        states = {one.run_id: one.state for one in verify_archives(backends.store)}
        assert (states[run.id], states[waiting.id]) == ("sound", "sound")
    assert trainer.accepted == 2


def test_one_that_fails_keeps_no_other_from_it(paid: Start) -> None:
    trainer = paid("expired-output:4")
    with trainer.backends() as backends:
        for _ in range(2):
            obtain(*new_set(), backends)
        first, second = sweep(backends)
        assert first.error is not None
        assert first.error.code == "archive_failed"
        assert second.result is not None
        (later,) = sweep(backends)
        assert (later.prediction_id, later.error) == (first.prediction_id, None)


def test_what_another_machine_archived_is_left_alone(paid: Start, home: Path) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        train(run, path, sha256, backends)
    (home / "lora_prep.sqlite").unlink()
    with trainer.backends() as backends:
        assert sweep(backends) == ()


def test_a_run_with_a_bucket_of_its_own_is_left_to_resume(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        obtain(run, path, sha256, backends)
        run.update(opened={"trainer_url": "x", "store": {"url": "s3://other"}})
        (swept,) = sweep(backends)
    assert (swept.left_to, swept.result, swept.error) == (run.id, None, None)


def test_a_training_whose_answer_was_lost_is_archived_by_the_run_that_paid_for_it(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("lora_prep.trainers.submit._keep", killed)
            with pytest.raises(Killed):
                train(run, path, sha256, backends)
        wait_for_end(backends.trainer, trainer.api.list()["items"][0]["id"], backends.pace)
        (swept,) = sweep(backends)
        assert swept.result is not None
        assert swept.result.run == run
        assert zips(backends, run) == []
        assert steps.resume(run, backends).reused is False
    assert trainer.accepted == 1


def test_a_run_that_is_being_worked_on_is_left_alone(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        obtain(run, path, sha256, backends)
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with run.alone():
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(30)
        try:
            (swept,) = sweep(backends)
        finally:
            done.set()
            thread.join()
        assert (swept.left_to, swept.error) == (run.id, None)
        (swept,) = sweep(backends)
        assert swept.result is not None


def test_sweep_from_the_command_line(
    backends: Backends, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REHEARSAL_RANK", "REHEARSAL_BLOCKS"):
        monkeypatch.setenv(f"LORA_PREP_EMBEDDED__{name}", "1")
    run, path, sha256 = new_set()
    obtain(run, path, sha256, backends)
    swept = in_process(capsys, "sweep", "--json")
    assert swept.status == 0, swept.stderr
    valid(swept.json, "sweep")
    assert run.id in [one["run"] for one in swept.json["trainings"]]
    again = in_process(capsys, "sweep", "--json")
    assert again.json["trainings"] == []
    assert "Every completed training is archived" in again.stderr


def test_verify_and_use_from_the_command_line(
    paid: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        (lora,) = train(run, path, sha256, backends).loras
        store = backends.store
        used = in_process(capsys, "lora", "use", run.id, "--json")
        assert used.status == 0, used.stderr
        valid(used.json, "lora-use")
        (link,) = used.json["inference"]["loras"]
        assert "X-Amz-Signature" in link["path"]
        assert used.json["trigger_word"] == "p3r5on"
        assert "The links work until" in used.stderr
        checked = in_process(capsys, "lora", "check", lora.object.url, "--json")
        assert checked.status == 0, checked.stderr
        valid(checked.json, "lora-check")
        assert checked.json["rehearsal"] is True
        assert "A rehearsal" in checked.stderr
        looked = in_process(capsys, "lora", "check", link["path"], "--json")
        assert looked.json["bytes"] == lora.facts.size_bytes
        reusing = new_run()
        reusing.update(status="prepared")
        assert train(reusing, path, sha256, backends).reused
        same = in_process(capsys, "lora", "use", reusing.id, "--json")
        assert same.json["diffusers"] == used.json["diffusers"]
        missing = in_process(capsys, "lora", "use", "20260101t000000-abcdef")
        assert (missing.status, missing.error_code) == (2, "configuration")

        store.put_bytes(b"other", lora.object.key, content_type="x/y")
        store.put_bytes(b"{", store.key(sidecar_key("broken")), content_type="x/y")
        verified = in_process(capsys, "archive", "verify", "--json")
        valid(verified.json, "archive-verify")
        assert (verified.status, verified.error_code) == (8, "archive_failed")
        states = {one["run"]: one["state"] for one in verified.json["files"]}
        assert (states[run.id], states["broken"]) == ("different", "unreadable")
        store.delete(lora.object.key)
        again = in_process(capsys, "archive", "verify", "--json")
        assert {one["run"]: one["state"] for one in again.json["files"]}[run.id] == "missing"
        store.delete(store.key(sidecar_key("broken")))
        store.delete(store.key(sidecar_key(run.id)))


def test_a_training_of_nobody_gets_a_run(paid: Start) -> None:
    trainer = paid()
    with trainer.backends() as backends:
        prediction_id = submitted_elsewhere(trainer, backends)
        (swept,) = sweep(backends)
    assert swept.prediction_id == prediction_id
    assert swept.result is not None
    assert run_by_id(swept.result.run.id) is not None
    assert "Signature" not in json.dumps(swept.result.run.record())
