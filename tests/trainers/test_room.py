"""At most so many trainings at a time, and what is known to have ended is in nobody's way."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from lora_prep.errors import TooManyRequests
from lora_prep.events import Event, Listener, ignore
from lora_prep.trainers import Claimed, Free, Ledger, State, wait_for_room
from lora_prep.trainers.wait import TIMED_OUT
from tests.trainers.desk import Desk
from tests.trainers.provider import DROP_BEFORE, WAITS

pytestmark = pytest.mark.slow  # servers on threads

SHORT = replace(WAITS, too_many_total_s=0.4)  # some looks, on a busy machine too
DAY_S = 86_400


def fill(desk: Desk, count: int = 3) -> None:
    for number in range(count):
        desk.submit(f"run{number}", data=str(number))


def wait(
    desk: Desk, *, but_for: str = "new-1", on_event: Listener = ignore, fresh_s: float = 60
) -> None:
    wait_for_room(desk.ledger, desk.client, 3, SHORT, on_event, but_for=but_for, fresh_s=fresh_s)


def claim(desk: Desk, run_id: str = "run9", **how: object) -> Claimed:
    claimed = desk.ledger.claim(desk.intent(run_id, data=run_id, **how))
    assert isinstance(claimed, Claimed)
    return claimed


def test_where_there_is_room_nobody_is_asked(desk: Desk) -> None:
    fill(desk, 2)
    desk.served.accepted[0]["status"] = "completed"
    wait(desk, on_event=desk.events.append)
    assert desk.row("run0") is State.SUBMITTED
    assert desk.events == []


def test_full_is_said_and_in_the_end_raised(desk: Desk) -> None:
    fill(desk)
    with pytest.raises(TooManyRequests) as raised:
        wait(desk, on_event=desk.events.append)
    assert "3 trainings are in flight at 127.0.0.1:" in raised.value.what
    assert "At most 3 may be" in raised.value.why
    assert "resolve" not in raised.value.fix
    assert {event.stage for event in desk.events} == {"train"}
    assert desk.events[0].message.startswith("3 trainings are in flight")
    assert len(desk.events) > 1
    assert desk.served.posts == 3


def test_what_has_completed_makes_room_while_it_is_waited_for(desk: Desk) -> None:
    fill(desk)

    def complete(event: Event) -> None:
        desk.served.accepted[1]["status"] = "completed"

    wait(desk, on_event=complete)
    assert [desk.row(f"run{number}") for number in range(3)] == [
        State.SUBMITTED,
        State.COMPLETED,
        State.SUBMITTED,
    ]
    assert not isinstance(desk.ledger.look(desk.intent("x", data="1")), Free), "it may be archived"
    desk.served.result_status = 500  # what has completed does not count, without asking again
    wait(desk)


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        ("failed", 1405, State.FAILED),
        ("failed", 1402, State.REFUSED),  # which its run may submit once more
        ("cancelled", 0, State.FAILED),
        ("timeout", 0, State.FAILED),
        ("deleted", 0, State.FAILED),
    ],
)
def test_what_has_failed_makes_room(desk: Desk, status: str, code: int, state: State) -> None:
    fill(desk)
    desk.served.accepted[0] |= {"status": status, "code": code, "error": "could not fetch"}
    wait(desk)
    row = desk.ledger.of_run("run0")
    assert row
    assert row.state is state
    for word in ("task0000", "could not fetch", status, str(code)):
        assert word in row.reason


@pytest.mark.parametrize("stays", [True, False])
def test_a_time_out_is_believed_when_it_is_told_twice(desk: Desk, stays: bool) -> None:
    """It may be that of a request, and not of the training."""
    fill(desk)
    desk.served.accepted[0] |= {"status": "failed", "code": TIMED_OUT}

    def change(event: Event) -> None:
        assert desk.row("run0") is State.SUBMITTED
        if not stays:
            desk.served.accepted[0] |= {"status": "processing", "code": 0}

    if stays:
        wait(desk, on_event=change)
        assert desk.row("run0") is State.FAILED
    else:
        with pytest.raises(TooManyRequests):
            wait(desk, on_event=change)
        assert desk.row("run0") is State.SUBMITTED


@pytest.mark.parametrize(("fresh_s", "state"), [(60, State.SUBMITTED), (0.05, State.FAILED)])
def test_an_unknown_id_has_ended_when_it_stays_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fresh_s: float, state: State
) -> None:
    """However long ago it was given: the provider may not find it for a moment."""
    monkeypatch.setattr(desk.ledger, "_clock", lambda: time.time() - DAY_S)
    fill(desk)
    desk.served.accepted[0]["id"] = "gone"
    with suppress(TooManyRequests):
        wait(desk, fresh_s=fresh_s)
    assert desk.row("run0") is state


def test_one_hiccup_frees_nothing(desk: Desk) -> None:
    fill(desk)
    desk.served.result_status = 404
    with pytest.raises(TooManyRequests):
        wait(desk, fresh_s=0, on_event=lambda _: setattr(desk.served, "result_status", 200))
    assert {desk.row(f"run{number}") for number in range(3)} == {State.SUBMITTED}


@pytest.mark.parametrize("status", [401, 429, 500])
def test_without_an_answer_it_counts(desk: Desk, status: int) -> None:
    fill(desk)
    desk.served.result_status = status
    with pytest.raises(TooManyRequests, match="in flight"):
        wait(desk)
    assert {desk.row(f"run{number}") for number in range(3)} == {State.SUBMITTED}


def test_its_own_row_is_in_nobody_s_way(desk: Desk) -> None:
    fill(desk)
    with pytest.raises(TooManyRequests):
        wait(desk)
    wait(desk, but_for="run1-1")


def test_a_lost_answer_counts_and_its_owner_is_told(desk: Desk) -> None:
    fill(desk, 2)
    desk.served.faults = [DROP_BEFORE]
    desk.once("lost", data="lost")
    with pytest.raises(TooManyRequests) as raised:
        wait(desk)
    assert raised.value.fix.endswith("lora-prep resolve lost")


def test_one_that_waits_for_room_counts_as_long_as_somebody_would_send_it(desk: Desk) -> None:
    fill(desk, 2)
    waiting = claim(desk)
    desk.ledger.waiting(waiting, "429")
    with pytest.raises(TooManyRequests):
        wait(desk)
    desk.ledger.let_go(waiting)
    wait(desk)


def test_another_key_s_trainings_neither_count_nor_end(desk: Desk) -> None:
    """To this key they look as if they had expired; taking them for that could pay them twice."""
    fill(desk, 2)
    desk.ledger.submitted(claim(desk, account="another"), "theirs")
    wait(desk, fresh_s=0)
    assert desk.row("run9") is State.SUBMITTED
    desk.submit("run2", data="2")
    with pytest.raises(TooManyRequests):
        wait(desk, fresh_s=0)
    assert desk.row("run9") is State.SUBMITTED


@pytest.mark.parametrize(("days", "counts"), [(6.9, True), (7.1, False)])
def test_what_the_provider_cannot_have_any_more_does_not_count(
    desk: Desk, days: float, counts: bool
) -> None:
    fill(desk, 2)
    url = desk.ledger._database._engine.url.render_as_string()
    old = Ledger(url, clock=lambda: time.time() - days * DAY_S)
    claimed = old.claim(desk.intent("old", data="old"))
    assert isinstance(claimed, Claimed)
    old.unsure(claimed, "reset")
    if counts:
        with pytest.raises(TooManyRequests):
            wait(desk)
    else:
        wait(desk)
