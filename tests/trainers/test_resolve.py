"""What its owner may say of a lost submission, and what the list overrules."""

from __future__ import annotations

import pytest

from lora_prep.errors import (
    ConfigurationError,
    LoraPrepError,
    NeedsAttention,
    TemporaryError,
)
from lora_prep.trainers import (
    InFlight,
    State,
    Submitted,
    TrainerClient,
    Unknown,
    adopt_prediction,
    resolve_not_submitted,
    resolve_with,
    submit_or_follow,
)
from tests.trainers.desk import Desk
from tests.trainers.provider import (
    DROP_AFTER,
    DROP_BEFORE,
    KEY,
    WAITS,
    request_of,
)

pytestmark = pytest.mark.slow  # servers and databases


@pytest.mark.slow
def test_without_inputs_its_owner_chooses(desk: Desk) -> None:
    desk.submit("run0", data="other")
    desk.served.inputs = "hidden"
    desk.served.faults = [DROP_AFTER]
    with pytest.raises(NeedsAttention) as raised:
        desk.submit()
    assert raised.value.candidates == ("task0001",), "run0's own is none"
    lost = desk.ledger.of_run("run1")
    assert lost
    with pytest.raises(ConfigurationError, match="belongs to another"):
        resolve_with(desk.ledger, desk.client, lost, "task0000")
    row = resolve_with(desk.ledger, desk.client, lost, "task0001")
    assert (row.state, row.prediction_id) == (State.SUBMITTED, "task0001")
    assert isinstance(desk.submit(), InFlight)
    assert desk.served.posts == 2


def test_what_the_list_shows_is_not_overruled(desk: Desk) -> None:
    desk.served.faults = [DROP_AFTER]
    assert isinstance(desk.once(), Unknown)
    lost = desk.ledger.of_run("run1")
    assert lost
    with pytest.raises(ConfigurationError, match="was submitted: it is task0000"):
        resolve_not_submitted(desk.ledger, desk.client, lost, WAITS)
    assert desk.row() is State.UNKNOWN
    desk.served.accepted[0]["model"] = "wavespeed-ai/another"
    with pytest.raises(ConfigurationError, match="is not the lost training"):
        resolve_with(desk.ledger, desk.client, lost, "task0000")


def test_what_was_sent_just_now_is_not_freed(desk: Desk) -> None:
    """The answer to the question before must not be taken for one to this one."""
    desk.served.faults, desk.served.consistent = [DROP_BEFORE, DROP_BEFORE], False
    with pytest.raises(NeedsAttention):
        desk.submit()
    lost = desk.ledger.of_run("run1")
    assert lost
    assert resolve_not_submitted(desk.ledger, desk.client, lost, WAITS).state is State.RELEASED
    assert isinstance(desk.once(), Unknown)
    again = desk.ledger.of_run("run1")
    assert again
    with pytest.raises(TemporaryError, match="sent just now"):
        resolve_not_submitted(desk.ledger, desk.client, again, WAITS)
    assert desk.row() is State.UNKNOWN


def test_only_what_is_lost_can_be_resolved(desk: Desk) -> None:
    outcome = desk.submit()
    assert isinstance(outcome, Submitted)
    with pytest.raises(ConfigurationError, match="not lost"):
        resolve_not_submitted(desk.ledger, desk.client, outcome.submission, WAITS)
    claim = desk.ledger.claim(desk.intent("run2", data="2"))
    with pytest.raises(ConfigurationError, match="is being sent"):
        resolve_not_submitted(desk.ledger, desk.client, claim.submission, WAITS)


def test_one_trainer_is_not_asked_for_what_another_was_sent(desk: Desk) -> None:
    desk.served.faults = [DROP_BEFORE]
    desk.once()
    lost = desk.ledger.of_run("run1")
    assert lost
    with TrainerClient("https://trainer.test", KEY) as other:
        intent = desk.intent()
        with pytest.raises(ConfigurationError, match="another trainer"):
            submit_or_follow(desk.ledger, other, intent, lambda: request_of(intent), WAITS)
        with pytest.raises(ConfigurationError, match="another trainer"):
            resolve_not_submitted(desk.ledger, other, lost, WAITS)
    assert desk.row() is State.UNKNOWN


def test_a_training_from_elsewhere_is_taken_over(desk: Desk) -> None:
    desk.served.accept("wavespeed-ai/wan-14b-trainer", {"data": "https://x/y.zip"})
    row = adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run9")
    assert (row.key, row.prediction_id) == ("run9-1", "task0000")
    assert adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run10") == row
    with pytest.raises(LoraPrepError, match="does not know"):
        adopt_prediction(desk.ledger, desk.client, "nothing", run_id="run11")


def test_a_lost_submission_gets_its_training_whoever_takes_that_over(desk: Desk) -> None:
    desk.served.faults = [DROP_AFTER]
    assert isinstance(desk.once(), Unknown)
    row = adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run9")
    assert (row.key, row.state) == ("run1-1", State.SUBMITTED)
    assert desk.ledger.of_run("run9") is None
    assert isinstance(desk.submit(), InFlight)
    assert desk.served.posts == 1


@pytest.mark.parametrize("archived", [False, True])
def test_what_was_taken_over_unknowingly_goes_back_to_the_submission_that_it_is(
    desk: Desk, archived: bool
) -> None:
    """A list without inputs cannot tell whose it is; one that shows them again does."""
    desk.served.faults, desk.served.inputs = [DROP_AFTER], "hidden"
    assert isinstance(desk.once(), Unknown)
    entered = adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run9")
    if archived:
        desk.ledger.archived(entered.key)
    with pytest.raises(NeedsAttention) as raised:
        desk.submit()
    assert raised.value.candidates == ("task0000",)
    desk.served.inputs = "shown"
    assert isinstance(desk.submit(), InFlight)
    assert desk.row() is State.SUBMITTED
    assert desk.row("run9") is (State.ARCHIVED if archived else State.CANCELLED)
    assert desk.served.posts == 1


def test_nothing_is_taken_over_while_the_list_cannot_tell_whose_it_is(desk: Desk) -> None:
    desk.served.faults = [DROP_AFTER]
    assert isinstance(desk.once(), Unknown)
    desk.served.list_status = 503
    with pytest.raises(TemporaryError):
        adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run9")
    assert desk.ledger.of_run("run9") is None


def test_a_yielded_training_stays_where_it_was_if_the_submission_has_changed(desk: Desk) -> None:
    desk.served.faults, desk.served.inputs = [DROP_AFTER], "hidden"
    assert isinstance(desk.once(), Unknown)
    lost = desk.ledger.of_run("run1")
    assert lost
    adopt_prediction(desk.ledger, desk.client, "task0000", run_id="run9")
    assert desk.ledger.release(lost, "its owner says so")
    assert not desk.ledger.adopt(lost, "task0000")
    entered = desk.ledger.of_run("run9")
    assert entered
    assert (entered.state, entered.prediction_id) == (State.SUBMITTED, "task0000")
