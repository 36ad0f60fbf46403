"""Nothing is paid twice and nothing paid is lost: the chain against the service, fault by fault."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import (
    ArchiveError,
    ConfigurationError,
    Declined,
    NeedsAttention,
    ResultExpired,
    TooManyRequests,
    TrainingFailed,
)
from lora_prep.events import Event
from lora_prep.stores import KeyInUse, S3Store
from lora_prep.trainers import (
    State,
    adopt_prediction,
    resolve_not_submitted,
    resolve_with,
    wait_for_end,
)
from pipelines import steps
from pipelines.backends import Backends
from pipelines.following import take_up
from pipelines.runs import Run, new_run
from pipelines.submitting import obtain
from pipelines.uploading import put_into_bucket, upload_of_url
from tests.pipelines.conftest import Paid
from tests.trainer_service.helpers import jpeg, zip_of

pytestmark = pytest.mark.slow  # the embedded store
Start = Callable[..., Paid]
SEED = itertools.count()


def new_set() -> tuple[Run, Path, str]:
    """A run with a zip that no other test has."""
    run, seed = new_run(), next(SEED)
    run.update(status="prepared")
    path = run.path / "dataset.zip"
    path.write_bytes(zip_of({f"{n:04}.jpg": jpeg(n, side=33 + seed) for n in range(10)}))
    return run, path, hashlib.sha256(path.read_bytes()).hexdigest()


def train(run: Run, path: Path, sha256: str, backends: Backends, **how: Any) -> steps.Result:
    return steps.archive(obtain(run, path, sha256, backends, **how), backends)


def zips(backends: Backends, run: Run) -> list[str]:
    """The data sets of a run that are in the bucket."""
    listed = backends.store.client.list_objects_v2(Bucket=backends.store.access.bucket)
    keys = [one["Key"] for one in listed.get("Contents", [])]
    return [key for key in keys if key.endswith(".zip") and run.id in key]


def test_the_real_end_of_the_link_is_said_before_it_is_sent(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=3)
    monkeypatch.setattr(
        S3Store, "key_in_use", lambda _: KeyInUse("sso", "abcd", temporary=True, ends_at=ends_at)
    )
    run, path, sha256 = new_set()
    said: list[str] = []
    with paid().backends() as backends:
        obtain(run, path, sha256, backends, on_event=lambda event: said.append(event.message))
    words = f"works until {ends_at:%Y-%m-%d %H:%M} UTC"
    end = next(index for index, one in enumerate(said) if words in one)
    assert end < next(index for index, one in enumerate(said) if "submitted as" in one)
    assert "X-Amz" not in " ".join(said)


def test_the_same_photos_are_paid_for_once_and_again_only_when_asked(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        first = train(run, path, sha256, backends)
        second = train(new_run(), path, sha256, backends)
        assert (first.reused, second.reused) == (False, True)
        assert first.loras[0].object == second.loras[0].object
        assert second.run.record()["reused"] is True
        assert trainer.accepted == 1
        other = train(new_run(), path, sha256, backends, again=True)
        assert other.reused is False
        assert trainer.accepted == 2
    with trainer.backends(steps=3000) as backends:
        assert train(new_run(), path, sha256, backends).reused is False  # another request
    assert trainer.accepted == 3
    with trainer.backends() as backends:
        assert zips(backends, run) == []


@pytest.mark.parametrize(
    "faults",
    [
        ["drop-after-accept"],
        ["drop-before-accept"],
        ["slow@submit:1.5"],
        ["status-500@submit"],
        ["html@submit"],
        ["envelope-error@submit"],
        ["status-429@submit:2"],
        ["drop-after-accept", "refuse-list-inputs:1", "status-503@list:1", "status-429@result:2"],
        ["drop-after-accept", "result-404:1", "unknown-status:2", "html@result:1"],
        ["truncated-output:2"],
        ["expired-output:2"],
        ["no-range", "truncated-output:1"],
    ],
    ids=lambda faults: "+".join(faults),
)
def test_whatever_happens_on_the_way_one_task_is_accepted_and_archived(
    faults: list[str], paid: Start
) -> None:
    trainer = paid(*faults)
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        result = train(run, path, sha256, backends)
        assert zips(backends, run) == []
        submission = backends.ledger.of_run(run.id)
    assert submission is not None
    assert (submission.state, trainer.accepted) == (State.ARCHIVED, 1)
    assert run.record()["loras"] == [lora.to_json() for lora in result.loras]


def test_what_a_list_without_inputs_cannot_tell_its_owner_does(paid: Start) -> None:
    trainer = paid("drop-after-accept", "no-list-inputs")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with pytest.raises(NeedsAttention) as raised:
            train(run, path, sha256, backends)
        (candidate,) = raised.value.candidates
        assert len(zips(backends, run)) == 1  # the training may need it
        with pytest.raises(NeedsAttention):
            steps.resume(run, backends)
        with pytest.raises(NeedsAttention):
            train(new_run(), path, sha256, backends)  # the same photos from another run
        submission = backends.ledger.of_run(run.id)
        assert submission is not None
        resolve_with(backends.ledger, backends.trainer, submission, candidate)
        assert steps.resume(run, backends).loras
        assert zips(backends, run) == []
    assert trainer.accepted == 1


def test_what_was_surely_not_submitted_is_sent_after_its_owner_says_so(paid: Start) -> None:
    trainer = paid("drop-before-accept", "list-lag:1")  # a list that may lag proves nothing
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with pytest.raises(NeedsAttention, match="no proof"):
            train(run, path, sha256, backends)
        submission = backends.ledger.of_run(run.id)
        assert submission is not None
        resolve_not_submitted(backends.ledger, backends.trainer, submission, backends.waits)
        assert steps.resume(run, backends).loras
    assert trainer.accepted == 1


def test_a_data_set_that_could_not_be_fetched_is_signed_and_submitted_once_more(
    paid: Start,
) -> None:
    trainer = paid("data-1402:1")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        assert train(run, path, sha256, backends).loras
        submission = backends.ledger.of_run(run.id)
        assert submission is not None
        assert submission.intent.attempt == 2
        assert "-2/" in submission.intent.object_key
        assert zips(backends, run) == []
    assert trainer.accepted == 2  # the first was refused


def test_it_is_not_submitted_a_third_time(paid: Start) -> None:
    trainer = paid("data-1402:9")
    run, path, sha256 = new_set()
    with trainer.backends() as backends, pytest.raises(TrainingFailed, match="1402"):
        train(run, path, sha256, backends)
    assert trainer.accepted == 2
    assert run.record()["status"] == "failed"


def test_a_failed_training_is_free_to_be_submitted_by_the_next_run(paid: Start) -> None:
    trainer = paid("empty-outputs:1")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with pytest.raises(TrainingFailed, match="without a LoRA"):
            train(run, path, sha256, backends)
        with pytest.raises(TrainingFailed):
            steps.resume(run, backends)
        assert train(new_run(), path, sha256, backends).reused is False
    assert trainer.accepted == 2


class Killed(BaseException):
    """The end of the process at some line."""


def killed(*arguments: object) -> None:
    raise Killed


def test_killed_when_it_heard_of_a_failure_it_still_leaves_no_photos(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid("empty-outputs:1")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.following.give_up", killed)
            with pytest.raises(Killed):
                train(run, path, sha256, backends)
        assert len(zips(backends, run)) == 1
        with pytest.raises(TrainingFailed):
            steps.resume(run, backends)
        assert zips(backends, run) == []
    assert run.record()["status"] == "failed"


def test_killed_when_it_heard_of_a_refusal_it_is_still_submitted_once_more(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid("data-1402:1")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.following.give_up", killed)
            with pytest.raises(Killed):
                train(run, path, sha256, backends)
        assert steps.resume(run, backends).loras
        assert steps.resume(run, backends).loras
        assert zips(backends, run) == []
    assert trainer.accepted == 2  # the first was refused
    assert run.record()["status"] == "archived"


def test_what_was_refused_twice_is_not_submitted_when_it_is_resumed(paid: Start) -> None:
    trainer = paid("data-1402:2")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        for go_on in (
            lambda: train(run, path, sha256, backends),
            lambda: steps.resume(run, backends),
        ):
            with pytest.raises(TrainingFailed) as raised:
                go_on()
            assert "1402" in raised.value.why
    assert trainer.accepted == 2


def test_what_is_too_dear_is_refused_before_anything_is_uploaded(paid: Start) -> None:
    trainer = paid(price_usd=2)
    run, path, sha256 = new_set()
    asked: list[steps.Quote] = []

    def refuse(quote: steps.Quote) -> None:
        asked.append(quote)
        raise Declined("no", why="said so", fix="nothing")

    with trainer.backends(max_cost_usd=3.9) as backends, pytest.raises(Declined, match="4 USD"):
        train(run, path, sha256, backends)
    with trainer.backends() as backends, pytest.raises(Declined, match="said so"):
        train(run, path, sha256, backends, approve=refuse)
    assert asked == [steps.Quote(4.0, 100.0)]
    assert trainer.accepted == 0
    assert "object" not in run.record().get("dataset", {})
    with trainer.backends(max_cost_usd=4) as backends:
        assert train(run, path, sha256, backends).loras
        submission = backends.ledger.of_run(run.id)
        assert submission is not None
        assert submission.intent.price_usd == 4
        # What was paid already is not asked about again.
        assert train(new_run(), path, sha256, backends, approve=refuse).reused is True


def test_what_a_month_cannot_pay_any_more_is_refused_before_anything_is_uploaded(
    paid: Start,
) -> None:
    trainer = paid(price_usd=2)
    run, path, sha256 = new_set()
    with trainer.backends(max_month_usd=7) as backends:
        assert train(run, path, sha256, backends).loras
        other, path, sha256 = new_set()
        with pytest.raises(Declined, match="3 are left, and it costs 4 USD"):
            train(other, path, sha256, backends)
    assert trainer.accepted == 1
    assert "object" not in other.record().get("dataset", {})


def test_a_limit_refuses_what_has_no_price(paid: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends(max_cost_usd=100) as backends:
        monkeypatch.setattr(backends.trainer, "price", lambda model, parameters: None)
        with pytest.raises(Declined, match="not known"):
            train(run, path, sha256, backends)
    assert trainer.accepted == 0


def test_only_so_many_are_in_flight(paid: Start) -> None:
    trainer = paid("drop-after-accept", "no-list-inputs")
    run, path, sha256 = new_set()
    with trainer.backends(in_flight=1, too_many_total_s=0.1) as backends:
        with pytest.raises(NeedsAttention):
            train(run, path, sha256, backends)
        other, path, sha256 = new_set()
        with pytest.raises(TooManyRequests, match=run.id):
            train(other, path, sha256, backends)
        assert (len(zips(backends, run)), zips(backends, other)) == (1, [])
    assert trainer.accepted == 1


def test_a_run_that_is_cancelled_while_it_waits_for_room_waits_no_longer(paid: Start) -> None:
    trainer = paid("drop-after-accept", "no-list-inputs")
    run, path, sha256 = new_set()
    with trainer.backends(in_flight=1, too_many_total_s=3600) as backends:
        with pytest.raises(NeedsAttention):
            train(run, path, sha256, backends)
        other, path, sha256 = new_set()

        def cancel(event: Event, other: Run = other) -> None:
            if "waiting for room" in event.message:
                other.mark_cancelled()

        with pytest.raises(Declined, match="was cancelled"):
            train(other, path, sha256, backends, on_event=cancel)
        assert backends.ledger.of_run(other.id) is None
        assert zips(backends, other) == []
    assert trainer.accepted == 1


def test_the_training_is_deleted_at_the_provider_when_asked(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends(purge_remote=True) as backends:
        result = train(run, path, sha256, backends)
        assert trainer.api.list()["items"] == []
        assert steps.resume(run, backends).loras[0].object == result.loras[0].object
    assert trainer.accepted == 1


def test_what_was_killed_before_it_was_deleted_there_is_deleted_by_resume(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends(purge_remote=True) as backends:
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.archiving._purge", killed)
            with pytest.raises(Killed):
                train(run, path, sha256, backends)
        assert len(trainer.api.list()["items"]) == 1
        assert steps.resume(run, backends).loras
        assert trainer.api.list()["items"] == []


def test_a_training_from_elsewhere_is_taken_over(paid: Start) -> None:
    trainer = paid()
    _, path, _ = new_set()
    with trainer.backends() as backends:
        key = backends.store.key("elsewhere.zip")
        backends.store.put_file(path, key, sha256="", content_type="application/zip")
        url = backends.store.presign(key, timedelta(hours=1)).url
        prediction_id = trainer.api.submit(url)
        run = new_run()
        adopt_prediction(backends.ledger, backends.trainer, prediction_id, run_id=run.id)
        run.update(status="submitted")
        assert steps.resume(run, backends).loras
        again = take_up(prediction_id, new_run(), backends)
        assert again.run == run
        assert steps.archive(again, backends).reused is False
        backends.store.delete(key)
    assert trainer.accepted == 1


def test_a_foreign_id_that_nobody_knows_leaves_no_run(paid: Start) -> None:
    with paid().backends() as backends:
        run = new_run()
        with pytest.raises(ResultExpired):
            take_up("0" * 32, run, backends)
        assert not run.path.exists()


def test_two_files_of_one_training_are_told_apart_by_name(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends(model="wavespeed-ai/wan-2.2-image-lora-trainer") as backends:
        result = train(run, path, sha256, backends)
    assert sorted(lora.role for lora in result.loras) == ["high_noise", "low_noise"]
    assert run.record()["training"]["steps"] == 1000  # that trainer's own default


def test_the_provider_s_own_storage_is_used_only_when_it_is_chosen(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends(store="wavespeed") as backends:
        said: list[str] = []
        result = train(
            run, path, sha256, backends, on_event=lambda event: said.append(event.message)
        )
        assert result.loras[0].object.url.startswith("s3://lora-prep/")
        assert zips(backends, run) == []
        submission = backends.ledger.of_run(run.id)
    assert any("public link" in message for message in said)
    assert submission is not None
    assert (submission.intent.bucket, submission.intent.object_key[:7]) == ("", "sha256:")


def test_a_lost_answer_of_a_public_link_is_found_too(paid: Start) -> None:
    trainer = paid("drop-after-accept")
    run, path, sha256 = new_set()
    with trainer.backends(store="wavespeed") as backends:
        assert train(run, path, sha256, backends).loras
    assert trainer.accepted == 1


def test_a_link_is_trained_once(paid: Start) -> None:
    trainer = paid()
    with trainer.backends() as backends:
        key = backends.store.key("of-somebody.zip")
        path = new_set()[1]
        backends.store.put_file(path, key, sha256="", content_type="application/zip")
        links = [backends.store.presign(key, timedelta(hours=hours)).url for hours in (1, 2)]
        first, second = (
            steps.train(upload_of_url(new_run(), link, backends), backends) for link in links
        )
        assert first.submission.prediction_id == second.submission.prediction_id
        backends.store.delete(key)
    assert trainer.accepted == 1


def test_a_link_of_our_own_upload_is_trained_once_too(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        key = put_into_bucket(run, path, sha256, backends.store).key
        links = [backends.store.presign(key, timedelta(hours=hours)).url for hours in (1, 2)]
        # A run is one training: whoever trains its zip once more has a run of its own.
        first, second = (
            steps.train(upload_of_url(whose, link, backends), backends)
            for whose, link in zip((run, new_run()), links, strict=True)
        )
        assert first.submission.prediction_id == second.submission.prediction_id
        assert len(zips(backends, run)) == 1, "it is the first one's, which has not archived yet"
        assert train(new_run(), path, sha256, backends).reused is True
    assert trainer.accepted == 1


def test_dead_links_are_no_end_while_the_provider_has_the_training(paid: Start) -> None:
    trainer = paid("expired-output:4")
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with pytest.raises(ArchiveError, match="are dead") as raised:
            train(run, path, sha256, backends)
        assert raised.value.code == "archive_failed"
        assert steps.resume(run, backends).loras
    assert trainer.accepted == 1


def test_a_training_that_is_gone_for_good_may_be_paid_again(paid: Start) -> None:
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        training = obtain(run, path, sha256, backends)
        trainer.api.post("predictions/delete", ids=[training.submission.prediction_id])
        with pytest.raises(ResultExpired):
            steps.archive(training, backends)
        assert run.record()["status"] == "failed"
        assert zips(backends, run) == []
        assert train(new_run(), path, sha256, backends).reused is False
    assert trainer.accepted == 2


@pytest.mark.parametrize("copy", ["whole", "damaged"])
def test_what_came_whole_needs_no_provider_any_more(
    copy: str, paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket was away until the provider had forgotten the training."""
    trainer = paid()
    run, path, sha256 = new_set()
    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr("lora_prep.archive.keep._Keeping._upload", killed)
            with pytest.raises(Killed):
                train(run, path, sha256, backends)
        submission = backends.ledger.of_run(run.id)
        assert submission is not None
        trainer.api.post("predictions/delete", ids=[submission.prediction_id])
        if copy == "damaged":
            (run.path / "lora" / "1.safetensors").write_bytes(b"x")
            with pytest.raises(ResultExpired):
                steps.resume(run, backends)
        else:
            assert steps.resume(run, backends).loras
            assert train(new_run(), path, sha256, backends).reused is True
        assert zips(backends, run) == []
    assert run.record()["status"] == ("archived" if copy == "whole" else "failed")
    assert trainer.accepted == 1


def test_what_was_taken_for_gone_is_asked_for_once_more_when_it_is_resumed(
    paid: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid()
    run, path, sha256 = new_set()

    def unknown(*arguments: object) -> None:
        raise ResultExpired("gone", why="it is said to be", fix="nothing")

    with trainer.backends() as backends:
        with monkeypatch.context() as patch:
            patch.setattr(backends.trainer, "result", unknown)
            with pytest.raises(ResultExpired):
                train(run, path, sha256, backends)
        assert run.record()["status"] == "failed"
        prediction_id = trainer.api.list()["items"][0]["id"]
        wait_for_end(backends.trainer, prediction_id, backends.pace)
        assert steps.resume(run, backends).loras
        assert train(new_run(), path, sha256, backends).reused is True
    assert (run.record()["status"], run.record().get("error")) == ("archived", None)
    assert trainer.accepted == 1


def test_a_run_without_a_data_set_cannot_be_resumed(paid: Start) -> None:
    run = new_run()
    run.update(status="inspected")
    with paid().backends() as backends, pytest.raises(ConfigurationError, match="no data set"):
        steps.resume(run, backends)


def test_parameters_are_checked_before_anything_is_opened(paid: Start) -> None:
    trainer = paid()
    for wanted in ({"steps": 5}, {"lora_rank": 8}, {"model": "nobody/knows"}):
        with pytest.raises(ConfigurationError), trainer.backends(**wanted):
            raise AssertionError("it was opened")
