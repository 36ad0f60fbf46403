"""What a month cost, and that its budget holds whoever spends at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import Declined
from lora_prep.model import TrainingRequest
from lora_prep.trainers import Claimed, Ledger, State, submit_once
from lora_prep.trainers.budget import Charge, Month, by_month, check_budget, check_month
from lora_prep.trainers.database import Database
from tests.trainers.databases import DATABASES, KINDS, new_database
from tests.trainers.desk import Desk
from tests.trainers.provider import FULL, WAITS, intent_of, request_of

ORIGIN = "https://trainer.test"
WAIT_S = 30
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_a_month_is_one_of_the_calendar_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    spent = [
        Charge(datetime(2026, 12, 1, 0, 30, tzinfo=berlin), 4.0),  # still November
        Charge(NOON, 3.0, failed=True),
        Charge(NOON, None),
        Charge(datetime(2025, 11, 26, tzinfo=UTC), 1.0),
    ]
    assert by_month(spent) == (
        Month(date(2026, 11, 1), trainings=3, usd=7.0, failed_usd=3.0, unpriced=1),
        Month(date(2025, 11, 1), trainings=1, usd=1.0, failed_usd=0, unpriced=0),
    )
    assert by_month([]) == ()


@given(
    st.lists(
        st.builds(
            Charge,
            st.datetimes(timezones=st.just(UTC)),
            st.none() | st.floats(0, 1000),
            st.booleans(),
        )
    )
)
def test_no_charge_is_lost(charges: list[Charge]) -> None:
    months = by_month(charges)
    assert sum(one.trainings for one in months) == len(charges)
    assert sum(one.usd for one in months) == pytest.approx(sum(one.usd or 0 for one in charges))
    assert all(one.failed_usd <= one.usd and one.unpriced <= one.trainings for one in months)
    assert [one.first for one in months] == sorted({one.first for one in months}, reverse=True)


def test_a_month_has_what_is_left_and_the_next_one_has_all_of_it() -> None:
    spent = [Charge(NOON, 4.0), Charge(NOON, 3.0, failed=True)]
    check_month(3.0, 10.0, spent, NOON)
    check_month(99.0, None, spent, NOON)
    check_month(0.0, 7.0, spent, NOON)
    check_month(10.0, 10.0, spent, NOON + timedelta(days=6))
    with pytest.raises(Declined, match="10 USD for November 3 are left, and it costs 4 USD"):
        check_month(4.0, 10.0, spent, NOON)
    with pytest.raises(Declined, match="nobody names its price"):
        check_month(None, 10.0, [], NOON)


@pytest.mark.parametrize(("price", "times"), [(4.2, 3), (0.1, 3), (3.3, 7), (1.1, 10)])
def test_a_budget_reaches_for_as_many_as_it_was_made_for(price: float, times: int) -> None:
    """Sums of such numbers are a little off: 12.6 - 4.2 - 4.2 is less than 4.2."""
    most, spent = round(price * times, 2), [Charge(NOON, price)] * (times - 1)
    check_month(price, most, spent, NOON)
    check_budget(price, most, spent_usd=sum(one.usd or 0 for one in spent))
    with pytest.raises(Declined):
        check_month(price, most, [*spent, Charge(NOON, price)], NOON)
    with pytest.raises(Declined):
        check_month(price, most - 0.01, spent, NOON)


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return new_database(request.param, tmp_path)


def test_many_at_once_spend_no_more_than_the_month_has(where: Path | str) -> None:
    Ledger(where)  # the tables are made

    def claim(number: int) -> bool:
        ledger = Ledger(where, most_month_usd=10)
        wanted = intent_of(ORIGIN, f"run{number}", data=f"{number:064}", price_usd=4.0)
        try:
            return isinstance(ledger.claim(wanted), Claimed)
        except Declined:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 2
    assert [one.usd for one in by_month(Ledger(where).charges())] == [8.0]


def test_what_was_never_sent_or_never_real_costs_nothing(where: Path | str) -> None:
    ledger = Ledger(where, most_month_usd=10)
    rehearsed = intent_of(ORIGIN, "run1", data="1" * 64, price_usd=9.0, rehearsal=True)
    assert isinstance(ledger.claim(rehearsed), Claimed)
    freed = ledger.claim(intent_of(ORIGIN, "run2", data="2" * 64, price_usd=9.0))
    assert isinstance(freed, Claimed)
    with pytest.raises(Declined):
        ledger.check_month(2.0)
    assert ledger.release(freed.submission, "never sent")
    ledger.check_month(10.0)
    again = intent_of(ORIGIN, "run2", data="2" * 64, price_usd=10.0)
    claim = ledger.claim(again)
    assert isinstance(claim, Claimed)
    assert ledger.waiting(claim, "no room")
    assert [one.usd for one in ledger.charges()] == [10.0]  # it will be sent
    with pytest.raises(Declined):
        ledger.claim(intent_of(ORIGIN, "run3", data="3" * 64, price_usd=1.0))
    assert ledger.get("run3-1") is None
    ledger.check_month(1.0)  # before an upload it may be what waits itself


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


def test_what_waited_into_the_next_month_is_paid_from_that_one(where: Path | str) -> None:
    clock = Clock(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    ledger = Ledger(where, most_month_usd=10, clock=clock)
    first = ledger.claim(intent_of(ORIGIN, "run1", data="1" * 64, price_usd=8.0))
    assert isinstance(first, Claimed)
    assert ledger.sending(first)
    assert ledger.waiting(first, "no room")
    clock.now += timedelta(minutes=2)
    second = ledger.claim(intent_of(ORIGIN, "run2", data="2" * 64, price_usd=8.0))
    assert isinstance(second, Claimed)
    with pytest.raises(Declined, match="for December 2 are left"):
        ledger.sending(first)
    assert ledger.sending(second)
    row = ledger.get("run1-1")
    assert row is not None
    assert row.state is State.WAITING  # surely not sent, and to be released


def test_what_the_new_month_does_not_pay_is_free_again(desk: Desk, tmp_path: Path) -> None:
    clock = Clock(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    desk.ledger = ledger = Ledger(tmp_path / "months", most_month_usd=10, clock=clock)
    desk.served.faults = [FULL]
    wanted = desk.intent(price_usd=8.0)
    requests = iter(range(2))

    def make_request() -> TrainingRequest:
        if next(requests) == 1:  # while it had to wait
            clock.now += timedelta(minutes=2)
            other = ledger.claim(desk.intent("run2", data="2" * 64, price_usd=8.0))
            assert isinstance(other, Claimed)
        return request_of(wanted)

    with pytest.raises(Declined):
        submit_once(ledger, desk.client, wanted, make_request, WAITS)
    assert desk.served.posts == 1
    assert desk.served.accepted == []
    assert desk.row() is State.RELEASED


def test_a_training_that_turns_out_to_be_a_lost_one_is_counted_once(where: Path | str) -> None:
    ledger = Ledger(where)
    lost = ledger.claim(intent_of(ORIGIN, "run1", price_usd=4.0))
    assert isinstance(lost, Claimed)
    assert ledger.unsure(lost, "no answer")
    elsewhere = replace(intent_of(ORIGIN, "run9", data=""), object_key="", bucket="")
    ledger.enter(elsewhere, "task1")
    assert ledger.adopt(lost.submission, "task1")
    assert [one.usd for one in ledger.charges()] == [4.0]


@pytest.mark.slow
def test_who_waits_for_the_others_sees_what_they_have_spent(tmp_path: Path) -> None:
    """Whatever a database takes for an isolation: a snapshot of before the wait counts nothing."""
    if "postgres" not in KINDS:
        pytest.skip("there is no Postgres on this machine")
    url = str(new_database("postgres", tmp_path))
    strict = f"{url}&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read"
    Ledger(strict)
    waiting = threading.Event()

    def claim() -> bool:
        waiting.set()
        wanted = intent_of(ORIGIN, "run2", data="2" * 64, price_usd=8.0)
        try:
            return isinstance(Ledger(strict, most_month_usd=10).claim(wanted), Claimed)
        except Declined:
            return False

    with ThreadPoolExecutor() as pool:
        with Database(strict).transaction() as rows:
            rows.spend_alone()
            second = pool.submit(claim)
            waiting.wait()
            until = time.monotonic() + WAIT_S
            while not _somebody_waits(url) and time.monotonic() < until:
                time.sleep(0.02)
            first = Ledger(strict)
            assert isinstance(first.claim(intent_of(ORIGIN, "run1", price_usd=8.0)), Claimed)
        assert not second.result()


def _somebody_waits(url: str) -> bool:
    asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with Database(url).transaction() as rows:
        return bool(rows._connection.exec_driver_sql(asked).scalar())
