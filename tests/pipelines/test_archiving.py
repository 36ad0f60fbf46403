"""What becomes of a run when its result is of no use, and how settings reach the archive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from lora_prep.archive import find_archive, read_journal
from lora_prep.errors import ArchiveError, LoraBroken
from lora_prep.settings import load_settings
from lora_prep.trainers import TrainerClient
from pipelines import steps
from pipelines.archiving import how_to_archive
from pipelines.backends import Backends
from pipelines.runs import Run
from tests.pipelines.conftest import Paid
from tests.pipelines.test_submitting import new_set, train, zips

pytestmark = pytest.mark.slow
Start = Callable[..., Paid]


def test_a_useless_lora_ends_the_run_and_the_photos_are_deleted(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: object) -> None:
        raise LoraBroken("It is useless.", why="NaN.", fix="Train it again.")

    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("lora_prep.archive.keep.check_file", broken)
            with pytest.raises(LoraBroken):
                train(run, path, sha256, backends)
        assert (run.record()["status"], zips(backends, run)) == ("failed", [])
        assert (run.path / "lora" / "1.unchecked").exists()  # it was paid for: its owner decides
        again, path, sha256 = new_set()
        assert train(again, path, sha256, backends).reused is False
    assert trainer.accepted == 2


def test_the_settings_reach_the_archive(backends: Backends) -> None:
    how = how_to_archive(backends)
    assert how.guard is not None
    assert not how.guard.closed  # our own trainer's links lead to this machine
    assert how.verify == "read"
    wanted = {"archive": {"max_gb": 0.5, "read_timeout_s": 7}, "store": {"verify": "head"}}
    chosen = replace(backends, settings=load_settings(wanted))
    how = how_to_archive(chosen)
    assert (how.limits.max_bytes, how.limits.read_timeout_s) == (500_000_000, 7)
    assert how.verify == "head"
    with TrainerClient("https://trainer.test", "a-key") as hosted:
        guard = how_to_archive(replace(backends, trainer=hosted)).guard
    assert guard is not None
    assert guard.closed
    assert guard.refuses("http://127.0.0.1:9/x")


def test_stopped_before_the_photos_are_deleted_they_are_deleted_by_resume(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.archiving.delete_datasets", stop)
            with pytest.raises(KeyboardInterrupt):
                train(run, path, sha256, backends)
        states = [read_journal(run.path / "lora")]
        assert len(zips(backends, run)) == 1
        steps.resume(run, backends)
        states.append(read_journal(run.path / "lora"))
        assert zips(backends, run) == []
    assert [one and one.state.value for one in states] == ["manifest", "cleaned"]
    assert trainer.accepted == 1


def test_what_the_bucket_lost_comes_back_without_another_training(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        (first,) = train(run, path, sha256, backends).loras
        known = json.loads((run.path / "lora" / "lora.json").read_text())

        lose(run, backends)
        (again,) = steps.resume(run, backends).loras  # from the copy on this machine
        assert (again.object.key, again.facts) == (first.object.key, first.facts)
        found = find_archive(backends.store, run.id)
        assert found is not None
        assert found.training == known["training"]

        lose(run, backends)
        shutil.rmtree(run.path / "lora")
        (fetched,) = steps.resume(run, backends).loras  # the provider has it for 7 days
        assert fetched.facts == first.facts

        lose(run, backends)
        (run.path / "lora" / "1.safetensors").write_bytes(b"damaged")
        backends.trainer.delete_predictions([known["training"]["prediction_id"]])
        with pytest.raises(ArchiveError, match="is not in the bucket"):
            steps.resume(run, backends)
    assert trainer.accepted == 1


def lose(run: Run, backends: Backends) -> None:
    """Delete all that is archived of a run from the bucket."""
    for stored, _ in list(backends.store.listed(f"loras/{run.id}/")):
        backends.store.delete(stored.key)
