"""What happens to the photos and the record when the way ends early, on real servers."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import LoraPrepError, TemporaryError, TrainingFailed
from lora_prep.events import Event
from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.backends import Backends
from pipelines.cleaning import unsubmitted_is_deleted
from pipelines.following import follow
from pipelines.runs import Run, find_run, find_run_of_data, last_run, new_run, run_by_id
from pipelines.telling import interruption_of
from pipelines.uploading import put_dataset
from tests.cli.command import SAMPLE_DATA


def uploaded(backends: Backends, tmp_path: Path) -> steps.Upload:
    """A zip of ten files that are no pictures: accepted by the store, refused by the trainer."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.jpg", b"no picture")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return put_dataset(new_run(), path, sha256, backends)


def is_there(upload: steps.Upload, backends: Backends) -> bool:
    assert upload.object
    return backends.store.head(upload.object.key) is not None


@pytest.mark.slow
def test_a_failed_training_deletes_the_photos(backends: Backends, tmp_path: Path) -> None:
    upload = uploaded(backends, tmp_path)
    assert is_there(upload, backends)
    with pytest.raises(TrainingFailed):
        steps.train(upload, backends)
    assert not is_there(upload, backends)
    record = upload.run.record()
    assert (record["status"], record["error"]["code"]) == ("failed", "training_failed")
    with pytest.raises(TrainingFailed):  # and a run is one training
        steps.train(upload, backends)


@pytest.mark.slow
def test_a_training_that_fails_while_nobody_waits_deletes_them_later(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploaded(backends, tmp_path)

    def leave(*arguments: object, **how: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.following.poll", leave)
        with pytest.raises(KeyboardInterrupt):
            steps.train(upload, backends)
    assert is_there(upload, backends)
    submission = backends.ledger.of_run(upload.run.id)
    assert submission is not None
    assert submission.prediction_id is not None
    assert find_run(prediction_id=submission.prediction_id) == upload.run
    with pytest.raises(TrainingFailed):
        follow(upload.run, submission, backends)
    assert not is_there(upload, backends)


@pytest.mark.slow
def test_a_refused_submission_deletes_the_photos(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backends.trainer._exchange._http.headers, "Authorization", "Bearer wrong")
    upload = uploaded(backends, tmp_path)
    with pytest.raises(LoraPrepError) as raised:
        steps.train(upload, backends)
    assert raised.value.code == "credentials"
    assert not is_there(upload, backends)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_whatever_ends_it_before_the_submission_leaves_no_photos(
    ending: BaseException, backends: Backends, tmp_path: Path
) -> None:
    upload = uploaded(backends, tmp_path)
    with pytest.raises(type(ending)):
        with unsubmitted_is_deleted(upload.run, backends.store, backends.ledger):
            raise ending
    assert not is_there(upload, backends)


@pytest.mark.slow
def test_a_ledger_that_does_not_answer_keeps_the_photos(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell then whether a training needs them."""
    upload = uploaded(backends, tmp_path)

    def refuse(run_id: str) -> None:
        raise TemporaryError("the ledger", why="is gone", fix="wait")

    monkeypatch.setattr(backends.ledger, "of_run", refuse)
    with pytest.raises(KeyboardInterrupt):
        with unsubmitted_is_deleted(upload.run, backends.store, backends.ledger):
            raise KeyboardInterrupt
    assert is_there(upload, backends)


@pytest.mark.slow
def test_what_is_killed_before_its_photos_are_prepared_goes_on_with_the_trainer_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Run.update

    def kill(run: Run, **facts: Any) -> None:
        write(run, **facts)
        if facts.get("status") == "inspected":
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "update", kill)
    own = {"base_url": "http://127.0.0.1:9", "api_key": "k", "steps": 3000}
    run = new_run()
    with pytest.raises(KeyboardInterrupt):
        steps.run(SAMPLE_DATA / "people/ada", settings=load_settings({"trainer": own}), run=run)
    had = steps.as_opened(run, {})["trainer"]
    assert (had["base_url"], had["steps"]) == ("http://127.0.0.1:9", 3000)
    assert "api_key" not in had


def test_a_resumed_run_keeps_its_limit_and_what_the_provider_is_to_forget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORA_PREP_TRAINER__MAX_COST_USD", "7")
    run = new_run()
    for said, limit, purge in (
        ({}, 7, False),
        ({"max_cost_usd": 5, "purge_remote": True}, 5, True),
    ):
        run.update(opened=steps.opened(load_settings({"trainer": said})))
        resumed = load_settings(steps.as_opened(run, {})).trainer
        assert (resumed.max_cost_usd, resumed.purge_remote) == (limit, purge)
    flags = {"trainer": {"max_cost_usd": 9}}
    assert load_settings(steps.as_opened(run, flags)).trainer.max_cost_usd == 9
    monkeypatch.delenv("LORA_PREP_TRAINER__MAX_COST_USD")
    run.update(opened=steps.opened(load_settings()))
    monkeypatch.setenv("LORA_PREP_TRAINER__MAX_COST_USD", "3")
    assert load_settings(steps.as_opened(run, {})).trainer.max_cost_usd == 3


def test_a_run_keeps_whom_to_tell_and_where_its_files_lie_wherever_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = {
        "trainer": {"webhook": "https://example.org/end"},
        "dataset": {"reference": "ada.jpg", "overrides": "by_hand.toml"},
        "faces": {"pack": "./pack"},
    }
    run = new_run()
    run.update(opened=steps.opened(load_settings(said), "people/ada"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    had = load_settings(steps.as_opened(run, {}))
    assert had.trainer.webhook == "https://example.org/end"
    assert had.dataset.reference == str(tmp_path / "ada.jpg")
    assert had.dataset.overrides == str(tmp_path / "by_hand.toml")
    assert had.faces.pack == str(tmp_path / "pack")
    assert run.record()["opened"]["folder"] == str(tmp_path / "people/ada")
    run.update(opened=steps.opened(load_settings({"faces": {"pack": "buffalo_l"}}), "people/ada"))
    assert load_settings(steps.as_opened(run, {})).faces.pack == "buffalo_l"


def test_the_record_grows_and_is_never_torn() -> None:
    run = new_run()
    assert run.record() == {}
    run.update(status="a", dataset={"images": 1})
    run.update(dataset={"bytes": 2})
    assert run.record() == {
        "schema": 1,
        "run": run.id,
        "status": "a",
        "dataset": {"images": 1, "bytes": 2},
    }
    assert [path.name for path in run.path.iterdir()] == ["run.json"]
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert run_by_id(run.id) == run
    assert run_by_id("../" + run.id) is None
    assert last_run() is None


def test_events_are_written_once_a_second_and_when_they_are_new() -> None:
    run = Run("r", new_run().path)
    run.make()
    heard: list[Event] = []
    listen = run.listener(heard.append)
    for number in range(100):
        listen(Event("archive", "downloading", done=number, total=100))
    listen(Event("archive", "checking"))
    lines = (run.path / "events.jsonl").read_text().splitlines()
    assert len(heard) == 101
    assert [json.loads(line)["message"] for line in lines] == ["downloading", "checking"]


def test_a_damaged_record_hides_no_other() -> None:
    good, empty, odd = new_run(), new_run(), new_run()
    good.update(training={"prediction_id": "p1"}, dataset={"object": "s3://bucket/a/b c.zip"})
    for run, text in ((empty, ""), (odd, '{"training": null, "dataset": null}')):
        run.make()
        (run.path / "run.json").write_text(text)
    assert find_run(prediction_id="p1") == good
    assert find_run(prediction_id="p2") is None
    for url in ("http://127.0.0.1:9/bucket/a/b%20c.zip?X=1", "https://bucket.s3.test/a/b%20c.zip"):
        assert find_run_of_data(url) == good
    assert find_run_of_data("http://127.0.0.1:9/bucket/other.zip") is None


def test_a_fact_can_be_taken_out_again() -> None:
    run = new_run()
    run.update(status="failed", error={"code": "x"})
    run.update(status="archived", error=None)
    assert "error" not in run.record()


@pytest.mark.parametrize(
    ("status", "says", "fix"),
    [
        (None, "Nothing was submitted", "same command"),
        ("inspected", "Nothing was submitted", "same command"),
        ("uploaded", "Nothing was submitted", "resume"),
        ("submitting", "may have been submitted", "resume"),
        ("submitted", "it goes on", "resume"),
        ("completed", "not archived yet", "resume"),
        ("archived", "done already", "open"),
        ("failed", "had failed", "open"),
    ],
)
def test_what_an_interruption_means_depends_on_how_far_it_was(
    status: str | None, says: str, fix: str
) -> None:
    run = new_run()
    run.update(status=status)
    why, what_to_do = interruption_of(run)
    assert says in why
    assert fix in what_to_do
    assert (run.id in what_to_do) == (fix != "same command")
