"""A paid request is sent at most once, whatever the trainer does."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from lora_prep.errors import (
    ConfigurationError,
    LoraPrepError,
    NeedsAttention,
    StorageError,
    SubmissionUnknown,
    TemporaryError,
    TooManyRequests,
    TrainingFailed,
)
from lora_prep.model import TrainingRequest
from lora_prep.trainers import (
    Archived,
    Free,
    InFlight,
    Ledger,
    State,
    Submitted,
    TrainerClient,
    Unknown,
    Waits,
    resolve_not_submitted,
    submit_once,
)
from tests.origin import Answer, closed_port, envelope, origin
from tests.trainers.desk import Desk
from tests.trainers.provider import (
    BROKEN,
    DROP_AFTER,
    DROP_BEFORE,
    FULL,
    HANG_AFTER,
    KEY,
    REFUSE,
    SUBMIT_S,
    WAITS,
    client_of,
    intent_of,
    ledger_in,
    request_of,
)

pytestmark = pytest.mark.slow  # servers on threads


def test_the_second_call_follows_and_pays_nothing(desk: Desk) -> None:
    first = desk.submit()
    assert isinstance(first, Submitted)
    assert first.submission.prediction_id == "task0000"
    for again in (desk.submit(), desk.submit("run2")):
        assert isinstance(again, InFlight)
        assert again.submission.prediction_id == "task0000"
    desk.ledger.archived("run1-1")
    assert isinstance(desk.submit("run3"), Archived)
    assert desk.served.posts == 1
    assert isinstance(desk.submit("run4", again=True), Submitted)
    assert desk.served.posts == 2


@pytest.mark.parametrize("fault", [DROP_AFTER, HANG_AFTER])
def test_an_accepted_training_with_a_lost_answer_is_found(desk: Desk, fault: str) -> None:
    desk.served.faults = [fault]
    outcome = desk.submit()
    assert isinstance(outcome, InFlight)
    assert outcome.submission.prediction_id == "task0000"
    assert desk.served.posts == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DROP_BEFORE, BROKEN])
def test_a_consistent_list_lets_it_be_sent_again(desk: Desk, fault: str) -> None:
    desk.served.faults = [fault]
    assert isinstance(desk.submit(), Submitted)
    assert (desk.served.posts, len(desk.served.accepted)) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [DROP_BEFORE, BROKEN])
def test_any_other_list_does_not(desk: Desk, fault: str) -> None:
    desk.served.consistent = False
    desk.served.faults = [fault]
    for _ in range(2):
        with pytest.raises(NeedsAttention) as raised:
            desk.submit()
        assert raised.value.candidates == ()
        assert "lora-prep resolve run1 --prediction ID, or --not-submitted" in raised.value.fix
        assert raised.value.fix.endswith("lora-prep resume run1")
    assert desk.served.posts == 1
    assert desk.row() is State.UNKNOWN
    lost = desk.ledger.of_run("run1")
    assert lost
    resolve_not_submitted(desk.ledger, desk.client, lost, WAITS)
    assert isinstance(desk.submit(), Submitted)


def test_absence_from_the_list_of_another_key_says_so(desk: Desk) -> None:
    desk.served.faults = [DROP_AFTER]
    assert isinstance(desk.once(), Unknown)
    desk.served.accepted = []  # keys see their own trainings only
    desk.client = TrainerClient(desk.served.url, "another-key", submit_timeout_s=SUBMIT_S)
    with desk.client, pytest.raises(NeedsAttention) as raised:
        desk.submit()
    assert "with another key" in raised.value.why
    assert desk.row() is State.UNKNOWN


@pytest.mark.slow
def test_a_list_that_cannot_be_read_leaves_it_unknown(desk: Desk) -> None:
    desk.served.faults = [DROP_AFTER]
    desk.served.list_status = 503
    with pytest.raises(SubmissionUnknown, match="cannot be read"):
        desk.submit()
    desk.served.list_status = 200
    assert isinstance(desk.submit(), InFlight)
    assert desk.served.posts == 1


def test_a_definite_refusal_frees_it(desk: Desk) -> None:
    desk.served.faults = [REFUSE]
    with pytest.raises(ConfigurationError, match="steps"):
        desk.submit()
    assert desk.row() is State.RELEASED
    assert isinstance(desk.submit(), Submitted)


def test_no_room_waits_and_tries_again(desk: Desk) -> None:
    desk.served.faults = [FULL, FULL]
    assert isinstance(desk.submit(), Submitted)
    assert (desk.served.posts, len(desk.served.accepted)) == (3, 1)
    assert "no room" in desk.events[0].message


@pytest.mark.slow
def test_no_room_for_too_long_frees_it(desk: Desk) -> None:
    desk.served.faults = [FULL] * 100
    with pytest.raises(TooManyRequests):
        desk.submit()
    assert desk.row() is State.RELEASED
    assert desk.served.accepted == []


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    full = Answer(429, b"{}", {"Retry-After": "0.01"})
    with origin(full, envelope(id="a")) as server, TrainerClient(server.url, KEY) as client:
        intent = intent_of(client.origin)
        waits = Waits(too_many_s=99)
        outcome = submit_once(
            ledger_in(tmp_path), client, intent, lambda: request_of(intent), waits
        )
    assert isinstance(outcome, Submitted)


def test_no_connection_frees_it(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    with client_of(f"http://127.0.0.1:{closed_port()}") as client:
        intent = intent_of(client.origin)
        with pytest.raises(TemporaryError):
            submit_once(ledger, client, intent, lambda: request_of(intent), WAITS)
    assert isinstance(ledger.look(intent), Free)


@pytest.mark.parametrize("error", [StorageError("No.", why="No.", fix="No."), KeyboardInterrupt()])
def test_what_goes_wrong_before_sending_frees_it(desk: Desk, error: BaseException) -> None:
    def fail() -> TrainingRequest:
        raise error

    with pytest.raises(type(error)):
        submit_once(desk.ledger, desk.client, desk.intent(), fail, WAITS)
    assert desk.row() is State.RELEASED
    assert desk.served.posts == 0


def test_another_request_than_the_claimed_one_is_not_sent(desk: Desk) -> None:
    other = desk.intent("run2")
    with pytest.raises(ConfigurationError, match="not the one that was claimed"):
        submit_once(desk.ledger, desk.client, desk.intent(), lambda: request_of(other), WAITS)
    assert desk.served.posts == 0


def test_an_interruption_while_sending_is_looked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        desk.served.accept("m", {"data": request_of(desk.intent()).data_url})
        raise KeyboardInterrupt

    monkeypatch.setattr(desk.client._exchange, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):  # once is enough: who stops it is not kept waiting
        desk.submit()
    assert desk.row() is State.UNKNOWN
    monkeypatch.undo()
    assert isinstance(desk.submit(), InFlight)
    assert desk.served.posts == 0


@pytest.mark.slow
def test_an_unforeseen_error_while_sending_leaves_it_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise MemoryError

    monkeypatch.setattr(desk.client, "submit", broken)
    with pytest.raises(MemoryError):
        desk.once()
    monkeypatch.undo()
    assert desk.row() is State.POSTING
    assert isinstance(desk.once(), Unknown)
    assert isinstance(desk.submit(), Submitted)


def test_an_id_that_cannot_be_kept_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: object) -> bool:
        raise TemporaryError("No ledger.", why="The disk is full.", fix="")

    monkeypatch.setattr("lora_prep.trainers.submit.KEEP_AFTER_S", (0.0, 0.01))
    monkeypatch.setattr(desk.ledger, "submitted", gone)
    with pytest.raises(NeedsAttention) as raised:
        desk.once()
    assert raised.value.candidates == ("task0000",)
    assert raised.value.to_json()["candidates"] == ["task0000"]
    assert "lora-prep resolve run1 --prediction task0000" in raised.value.fix
    monkeypatch.undo()
    assert isinstance(desk.submit(), InFlight)
    assert desk.served.posts == 1


def test_a_ledger_that_cannot_be_written_sends_nothing(desk: Desk, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.execute("DROP TABLE lora_prep_submissions")
    with pytest.raises(TemporaryError, match="ledger"):
        desk.once()
    assert desk.served.posts == 0


def test_a_failed_training_needs_a_new_attempt(desk: Desk) -> None:
    desk.submit()
    desk.ledger.failed("run1-1", "1402: the data URL could not be fetched")
    with pytest.raises(TrainingFailed, match="1402"):
        desk.submit()
    attempt = desk.ledger.attempt_of("run1")
    outcome = desk.submit(attempt=attempt)
    assert isinstance(outcome, Submitted)
    assert outcome.submission.prediction_id == "task0001"


@pytest.mark.slow
def test_a_lost_attempt_does_not_find_the_attempt_before(desk: Desk) -> None:
    desk.submit()
    desk.ledger.failed("run1-1", "failed")
    desk.served.faults = [DROP_BEFORE]
    outcome = desk.submit(attempt=2)
    assert outcome.submission.prediction_id == "task0001"


def test_threads_of_one_process_send_it_once(desk: Desk) -> None:
    outcomes: list[object] = []

    def run(number: int) -> None:
        try:
            outcomes.append(desk.submit(f"run{number % 3}"))
        except LoraPrepError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.served.posts == 1
    assert [type(one).__name__ for one in outcomes].count("Submitted") == 1
    assert {type(one).__name__ for one in outcomes} == {"Submitted", "InFlight"}


def test_a_webhook_must_be_https(desk: Desk) -> None:
    intent = desk.intent()
    with pytest.raises(ConfigurationError, match="https"):
        submit_once(
            desk.ledger,
            desk.client,
            intent,
            lambda: request_of(intent),
            WAITS,
            webhook="http://x.test/",
        )
    assert desk.row() is State.RELEASED
    outcome = submit_once(
        desk.ledger,
        desk.client,
        intent,
        lambda: request_of(intent),
        WAITS,
        webhook="https://x.test/?a=b&c",
    )
    assert isinstance(outcome, Submitted)
    assert desk.served.accepted[0]["model"].endswith("?webhook=https%3A%2F%2Fx.test%2F%3Fa%3Db%26c")


@pytest.mark.slow
def test_a_process_that_stands_still_is_waited_for_and_then_told_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ledger.claim(desk.intent())
    other = Ledger(desk.ledger._database._engine.url.render_as_string(), stale_s=99)
    desk.ledger = other
    monkeypatch.setattr(desk.client, "submit_timeout_s", 0.0)
    with pytest.raises(TemporaryError, match="Another process"):
        desk.submit()
