"""What happens to the photos and the record when the way ends early, on real servers."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lora_prep.errors import (
    ConfigurationError,
    LoraPrepError,
    ResultExpired,
    SubmissionUnknown,
    TrainingFailed,
)
from lora_prep.model import Bundle, Prediction, PredictionStatus, Selection, TrainingRequest
from lora_prep.settings import load_settings
from lora_prep.trainers import WAN_14B_TRAINER
from pipelines import steps
from pipelines.backends import Backends
from pipelines.cleaning import unsubmitted_is_deleted
from pipelines.runs import Run, find_run, find_run_of_data, last_run, new_run, run_by_id
from pipelines.telling import interruption_of
from tests.origin import Answer, origin

QUICK = {"embedded": {"rehearsal_rank": 1, "rehearsal_blocks": 1, "rehearsal_s": 0}}


@pytest.fixture
def backends(
    module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backends]:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    with steps.connect(load_settings(QUICK)) as opened:
        yield opened


def uploaded(backends: Backends, tmp_path: Path) -> steps.Upload:
    """A zip of ten files that are no pictures: accepted by the store, refused by the trainer."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.jpg", b"no picture")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    run = new_run()
    stored = steps.put_dataset(path, sha256, run, backends.store)
    bundle = Bundle(path, sha256, path.stat().st_size, ())
    return steps.Upload(steps.Dataset(run, Selection(tmp_path, 10, ()), (), bundle), stored)


@pytest.mark.slow
def test_a_failed_training_deletes_the_photos(backends: Backends, tmp_path: Path) -> None:
    upload = uploaded(backends, tmp_path)
    assert backends.store.head(upload.object.key) is not None
    with pytest.raises(TrainingFailed):
        steps.train(upload, backends)
    assert backends.store.head(upload.object.key) is None
    record = upload.dataset.run.record()
    assert (record["status"], record["error"]["code"]) == ("failed", "training_failed")


@pytest.mark.slow
def test_a_training_that_fails_while_nobody_waits_deletes_them_later(
    backends: Backends, tmp_path: Path
) -> None:
    upload = uploaded(backends, tmp_path)
    run = upload.dataset.run
    url = backends.store.presign(upload.object.key, timedelta(hours=1)).url
    request = TrainingRequest(WAN_14B_TRAINER, url, "p3r5on", 2000)
    prediction = steps.submit(request, backends.trainer, run)
    assert backends.store.head(upload.object.key) is not None
    found = find_run(prediction_id=prediction.id)
    assert found == run
    with pytest.raises(TrainingFailed):
        steps.follow(found, prediction.id, backends)
    assert backends.store.head(upload.object.key) is None


@pytest.mark.slow
def test_a_lost_answer_keeps_the_photos_for_the_training(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(request: TrainingRequest) -> Prediction:
        raise SubmissionUnknown("sent", why="lost", fix="look")

    monkeypatch.setattr(backends.trainer, "submit", lose)
    upload = uploaded(backends, tmp_path)
    with pytest.raises(SubmissionUnknown):
        steps.train(upload, backends)
    assert backends.store.head(upload.object.key) is not None
    assert upload.dataset.run.record()["status"] == "submitting"


@pytest.mark.slow
def test_a_run_is_one_training(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploaded(backends, tmp_path)
    sent: list[TrainingRequest] = []

    def lose(request: TrainingRequest) -> Prediction:
        sent.append(request)
        raise SubmissionUnknown("sent", why="lost", fix="look")

    monkeypatch.setattr(backends.trainer, "submit", lose)
    with pytest.raises(SubmissionUnknown):
        steps.train(upload, backends)
    with pytest.raises(ConfigurationError, match="submitted a training before"):
        steps.train(upload, backends)
    assert len(sent) == 1
    assert backends.store.head(upload.object.key) is not None  # the first may need it still


@pytest.mark.slow
def test_an_expired_result_needs_no_photos(backends: Backends, tmp_path: Path) -> None:
    upload = uploaded(backends, tmp_path)
    with origin(Answer(410)) as dead:
        prediction = Prediction("p", "m", PredictionStatus.COMPLETED, (f"{dead.url}/lora",))
        with pytest.raises(ResultExpired):
            steps.archive(steps.Training(upload.dataset.run, prediction), backends)
    assert backends.store.head(upload.object.key) is None


@pytest.mark.slow
def test_a_refused_submission_deletes_the_photos(
    backends: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(backends.trainer._exchange._http.headers, "Authorization", "Bearer wrong")
    upload = uploaded(backends, tmp_path)
    with pytest.raises(LoraPrepError) as raised:
        steps.train(upload, backends)
    assert raised.value.code == "credentials"
    assert backends.store.head(upload.object.key) is None


@pytest.mark.slow
@pytest.mark.parametrize("ending", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_whatever_ends_it_before_the_submission_leaves_no_photos(
    ending: BaseException, backends: Backends, tmp_path: Path
) -> None:
    upload = uploaded(backends, tmp_path)
    with pytest.raises(type(ending)):
        with unsubmitted_is_deleted(upload.dataset.run, backends.store):
            raise ending
    assert backends.store.head(upload.object.key) is None


@pytest.mark.slow
def test_an_unknown_prediction_leaves_no_run_behind(backends: Backends) -> None:
    run = new_run()
    with pytest.raises(ResultExpired):
        steps.follow(run, "0" * 32, backends)
    assert not run.path.exists()


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
    from lora_prep.events import Event

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
    ("status", "says"),
    [
        (None, "Nothing was submitted"),
        ("uploaded", "Nothing was submitted"),
        ("submitted", "it goes on"),
        ("completed", "not archived yet"),
        ("archived", "done already"),
    ],
)
def test_what_an_interruption_means_depends_on_how_far_it_was(
    status: str | None, says: str
) -> None:
    run = new_run()
    run.update(status=status, training={"prediction_id": "p1"})
    why, fix = interruption_of(run)
    assert says in why
    assert ("lora-prep archive p1" in fix) == (status in {"submitted", "completed"})
