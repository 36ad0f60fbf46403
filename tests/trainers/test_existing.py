"""What is asked before an upload: is the same training on its way or done? Nothing is sent."""

from __future__ import annotations

import threading

import pytest

from lora_prep.errors import (
    ConfigurationError,
    NeedsAttention,
    SubmissionUnknown,
    TemporaryError,
    TrainingFailed,
)
from lora_prep.events import Event
from lora_prep.model import TrainingRequest
from lora_prep.trainers import (
    Archived,
    Free,
    InFlight,
    State,
    Submitted,
    TrainerClient,
    find_existing,
    submit_once,
)
from tests.trainers.desk import Desk
from tests.trainers.provider import BROKEN, DROP_AFTER, DROP_BEFORE, KEY, WAITS, request_of

pytestmark = pytest.mark.slow  # servers on threads


def test_nothing_is_claimed_and_nothing_sent(desk: Desk) -> None:
    for _ in range(2):
        assert desk.find() == Free()
    assert desk.ledger.of_run("run1") is None
    assert (desk.served.posts, desk.served.asked, desk.events) == (0, [], [])


def test_another_run_s_training_is_found_on_its_way_and_done(desk: Desk) -> None:
    desk.submit()
    for run_id in ("run1", "run2"):
        found = desk.find(run_id)
        assert isinstance(found, InFlight)
        assert (found.submission.key, found.submission.prediction_id) == ("run1-1", "task0000")
    desk.ledger.archived("run1-1", [{"url": "s3://b/k"}])
    found = desk.find("run2")
    assert isinstance(found, Archived)
    assert found.submission.loras == ({"url": "s3://b/k"},)
    assert desk.ledger.of_run("run2") is None
    assert desk.find("run2", data="other") == Free()


def test_again_looks_past_others_but_not_past_itself(desk: Desk) -> None:
    desk.submit()
    assert desk.find("run2", again=True) == Free()
    assert isinstance(desk.find("run1", again=True), InFlight)


@pytest.mark.parametrize("run_id", ["run1", "run2"])
def test_a_lost_answer_is_looked_for_and_adopted(desk: Desk, run_id: str) -> None:
    desk.served.faults = [DROP_AFTER]
    desk.once()
    found = desk.find(run_id)
    assert isinstance(found, InFlight)
    assert (found.submission.key, found.submission.prediction_id) == ("run1-1", "task0000")
    assert (desk.row(), desk.served.posts) == (State.SUBMITTED, 1)


@pytest.mark.parametrize("fault", [DROP_BEFORE, BROKEN])
def test_what_the_trainer_never_had_is_free_again(desk: Desk, fault: str) -> None:
    desk.served.faults = [fault]
    desk.once()
    assert desk.find("run2") == Free()
    assert (desk.row(), desk.served.posts) == (State.RELEASED, 1)


def test_what_nobody_can_tell_is_for_its_owner(desk: Desk) -> None:
    desk.served.consistent = False
    desk.served.faults = [DROP_BEFORE]
    desk.once()
    with pytest.raises(NeedsAttention, match="no proof") as raised:
        desk.find("run2")
    assert "lora-prep resolve run1 " in raised.value.fix, "the run that lost it"
    desk.served.list_status = 503
    with pytest.raises(SubmissionUnknown, match="cannot be read"):
        desk.find()
    assert (desk.row(), desk.served.posts) == (State.UNKNOWN, 1)


def test_an_attempt_that_ended_is_told_and_the_next_is_free(desk: Desk) -> None:
    desk.submit()
    desk.ledger.failed("run1-1", "1402: the data URL could not be fetched")
    with pytest.raises(TrainingFailed, match="1402"):
        desk.find()
    assert desk.find(attempt=2) == Free()
    assert desk.find("run2") == Free()


def test_one_trainer_is_not_asked_for_what_another_was_sent(desk: Desk) -> None:
    desk.submit()
    with TrainerClient("https://trainer.test", KEY) as other:
        with pytest.raises(ConfigurationError, match="another trainer"):
            find_existing(desk.ledger, other, desk.intent(), WAITS)


def test_one_that_is_just_being_sent_is_waited_for(desk: Desk) -> None:
    """Its sender goes on when it is seen to be waited for."""
    claimed, seen = threading.Event(), threading.Event()
    sent: list[object] = []

    def make_request() -> TrainingRequest:
        claimed.set()
        assert seen.wait(20)
        return request_of(desk.intent())

    def send() -> None:
        sent.append(submit_once(desk.ledger, desk.client, desk.intent(), make_request, WAITS))

    def listen(event: Event) -> None:
        assert "another process is submitting" in event.message
        seen.set()

    thread = threading.Thread(target=send)
    thread.start()
    assert claimed.wait(20)
    found = find_existing(desk.ledger, desk.client, desk.intent("run2"), WAITS, on_event=listen)
    thread.join()
    assert isinstance(sent[0], Submitted)
    assert isinstance(found, InFlight)
    assert found.submission.prediction_id == "task0000"
    assert desk.served.posts == 1


def test_one_that_does_not_get_on_is_told_of(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.client, "submit_timeout_s", 0.0)
    claim = desk.ledger.claim(desk.intent())
    with pytest.raises(TemporaryError, match="does not get on"):
        desk.find("run2")
    desk.ledger.let_go(claim)  # type: ignore[arg-type]
    assert desk.find("run2") == Free(), "given up: the trainer never had it"
