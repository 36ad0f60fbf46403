"""What a month cost, and that its budget holds whoever spends at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import Declined
from lora_prep.trainers import Claimed, Ledger
from lora_prep.trainers.budget import Charge, Month, by_month, check_month
from tests.trainers.databases import DATABASES, new_database
from tests.trainers.provider import intent_of

ORIGIN = "https://trainer.test"
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
