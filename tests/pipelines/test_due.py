"""Which slots are due: across restarts, missed slots and nights on which the clock jumps."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError
from pipelines.due import MOST, ON_TIME, Cron, Policy, due, next_slot, parse_cron
from tests.sample import examples

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
# Of Berlin, New York (summer), Lord Howe (half an hour), Apia (a day that never was), Santiago
# (at midnight), and a zone without any.
JUMPS = {
    "Europe/Berlin": ["2026-03-29T01:00Z", "2026-10-25T01:00Z"],
    "America/New_York": ["2026-03-08T07:00Z", "2026-11-01T06:00Z"],
    "Australia/Lord_Howe": ["2026-04-04T15:00Z", "2026-10-03T15:30Z"],
    "Pacific/Apia": ["2011-12-30T10:00Z"],
    "America/Santiago": ["2026-04-05T03:00Z", "2026-09-06T04:00Z"],
    "UTC": ["2026-01-01T00:00Z"],
}
LINES = [
    "* * * * *", "30 * * * *", "*/20 * * * *", "0 */2 * * *", "30 2 * * *", "*/15 1-3 * * *",
    "0 0 * * *", "15 0,2,3 * * 0,6", "45 23 1-15 * *", "20 30 */5 * * *", "0 0 2 * * *",
]  # fmt: skip

crons = st.builds(parse_cron, st.sampled_from(LINES), st.sampled_from(sorted(JUMPS)))


@st.composite
def crons_and_looks(draw: st.DrawFn) -> tuple[Cron, list[datetime]]:
    """A cron line, and when a schedule was made and looked at, some hours around a jump."""
    cron = draw(crons)
    jump = datetime.fromisoformat(draw(st.sampled_from(JUMPS[cron.zone.key])))
    start = jump - timedelta(seconds=draw(st.integers(0, 6 * 3600)))
    waits = st.integers(0, 5000) | st.sampled_from([1, 60, 3600])
    looks = [start]
    for seconds in draw(st.lists(waits, min_size=1, max_size=6)):
        looks.append(looks[-1] + timedelta(seconds=seconds))
    return cron, looks


def fired(cron: Cron, looks: list[datetime], policy: Policy, **how: int) -> list[list[datetime]]:
    """What each look fires when every slot that fires is written down, as a worker does."""
    last, told = looks[0], []
    for now in looks[1:]:
        slots = due(cron, last=last, now=now, policy=policy, **how)  # type: ignore[arg-type]
        told.append(list(slots))
        last = slots[-1] if slots else last
    return told


def flat(lists: list[list[datetime]]) -> list[datetime]:
    return [slot for one in lists for slot in one]


def matching(cron: Cron, start: datetime, end: datetime) -> list[datetime]:
    """The rule in other words: go through a zone's minutes one by one."""
    minute, hour = cron.expression.split()[:2]
    minutes = {int(value) for value in minute.split(",")} if minute != "*" else set(range(60))
    hours = {int(value) for value in hour.split(",")} if hour != "*" else set(range(24))
    slots = []
    moment = (start + MINUTE).replace(second=0, microsecond=0)
    while moment <= end:
        before, shown = ((at.astimezone(cron.zone)) for at in (moment - MINUTE, moment))
        jumped = shown.replace(tzinfo=None) - before.replace(tzinfo=None) - MINUTE
        seen = [shown.replace(tzinfo=None)]
        if hour != "*":
            seen += [seen[0] - MINUTE * n for n in range(1, jumped // MINUTE + 1)]  # skipped ones
            seen = [] if shown.fold else seen
        if any(one.minute in minutes and one.hour in hours for one in seen):
            slots.append(moment)
        moment += MINUTE
    return slots


@pytest.mark.parametrize("zone", sorted(JUMPS))
@pytest.mark.parametrize("line", ["30 * * * *", "30 2 * * *", "0,15,45 0,1,2,3,23 * * *"])
def test_every_line_keeps_the_rule_when_the_clock_jumps(zone: str, line: str) -> None:
    cron = parse_cron(line, zone)
    for jump in JUMPS[zone]:
        start, end = (datetime.fromisoformat(jump) + timedelta(hours=h) for h in (-6, 6))
        slots = due(cron, last=start, now=end, policy=Policy.ALL)
        assert list(slots) == matching(cron, start, end)


def shown(line: str, day: date, zone: ZoneInfo = BERLIN) -> list[str]:
    """When a line fires on a day, as a clock of the zone shows it."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    end = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=zone).astimezone(UTC)
    slots = due(
        parse_cron(line, zone.key),
        last=start - timedelta(seconds=1),
        now=end,
        policy=Policy.ALL,
        most=10_000,
    )
    return [f"{slot.astimezone(zone):%H:%M %Z}" for slot in slots]


SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


def test_a_time_that_does_not_exist_fires_once_right_after_the_gap() -> None:
    assert shown("30 2 * * *", SPRING) == ["03:00 CEST"]
    assert shown("*/15 2 * * *", SPRING) == ["03:00 CEST"]
    assert shown("0,30 2-3 * * *", SPRING) == ["03:00 CEST", "03:30 CEST"]


def test_a_time_that_comes_twice_fires_the_first_time() -> None:
    assert shown("30 2 * * *", AUTUMN) == ["02:30 CEST"]
    assert shown("0 1-3 * * *", AUTUMN) == ["01:00 CEST", "02:00 CEST", "03:00 CET"]


def test_what_goes_by_real_time_fires_in_both_hours_and_in_no_skipped_one() -> None:
    assert len(shown("30 * * * *", AUTUMN)) == 25
    assert len(shown("30 * * * *", SPRING)) == 23
    assert len(shown("* * * * *", AUTUMN)) == 25 * 60
    assert shown("0 */2 * * *", AUTUMN)[:3] == ["00:00 CEST", "02:00 CEST", "02:00 CET"]
    assert shown("0 */2 * * *", SPRING)[:2] == ["00:00 CET", "04:00 CEST"]


def test_six_fields_begin_with_the_second() -> None:
    cron = parse_cron("*/20 30 4 * * *", "UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    slots = due(cron, last=start, now=start + timedelta(days=1), policy=Policy.ALL)
    assert [f"{slot:%H:%M:%S}" for slot in slots] == ["04:30:00", "04:30:20", "04:30:40"]


@examples(60)
@given(crons_and_looks())
def test_all_gives_the_same_slots_however_often_it_is_looked(
    case: tuple[Cron, list[datetime]],
) -> None:
    cron, looks = case
    once = due(cron, last=looks[0], now=looks[-1], policy=Policy.ALL)
    assert flat(fired(cron, looks, Policy.ALL)) == list(once)
    between = [due(cron, last=a, now=b, policy=Policy.ALL) for a, b in pairwise(looks)]
    assert [slot for slots in between for slot in slots] == list(once)


@examples(60)
@given(crons_and_looks(), st.sampled_from(Policy))
def test_slots_rise_and_none_comes_twice(case: tuple[Cron, list[datetime]], policy: Policy) -> None:
    cron, looks = case
    told = fired(cron, looks, policy)
    slots = flat(told)
    assert slots == sorted(set(slots))
    every = due(cron, last=looks[0], now=looks[-1], policy=Policy.ALL)
    assert set(slots) <= set(every)
    for (before, now), some in zip(pairwise(looks), told, strict=True):
        assert all(looks[0] < slot <= now for slot in some)
        assert policy is Policy.NONE or all(before < slot for slot in some)


@examples(40)
@given(crons_and_looks())
def test_latest_gives_the_newest_alone(case: tuple[Cron, list[datetime]]) -> None:
    cron, looks = case
    for (before, now), some in zip(pairwise(looks), fired(cron, looks, Policy.LATEST), strict=True):
        assert some == list(due(cron, last=before, now=now, policy=Policy.ALL))[-1:]


@examples(60)
@given(crons_and_looks(), st.integers(1, 4000))
def test_none_gives_what_is_on_time_and_nothing_older(
    case: tuple[Cron, list[datetime]], on_time_s: int
) -> None:
    cron, looks = case
    on_time = timedelta(seconds=on_time_s)
    last, now = looks[0], looks[-1]
    every = due(cron, last=last, now=now, policy=Policy.ALL)
    assert due(cron, last=last, now=now, policy=Policy.NONE, on_time=on_time) == tuple(
        slot for slot in every if now - slot < on_time
    )


@examples(40)
@given(crons_and_looks(), st.integers(1, 5))
def test_more_than_the_most_come_at_later_looks(
    case: tuple[Cron, list[datetime]], most: int
) -> None:
    cron, looks = case
    every = due(cron, last=looks[0], now=looks[-1], policy=Policy.ALL)
    looks = [looks[0]] + [looks[-1]] * (len(every) // most + 1)
    told = fired(cron, looks, Policy.ALL, most=most)
    assert all(len(some) <= most for some in told)
    assert flat(told) == list(every)


@examples(60)
@given(crons_and_looks())
def test_the_next_slot_is_the_first_and_later_moments_have_later_ones(
    case: tuple[Cron, list[datetime]],
) -> None:
    cron, looks = case
    slots = [next_slot(cron, look) for look in looks]
    assert slots == sorted(slots)
    for look, slot in zip(looks, slots, strict=True):
        assert slot > look
        assert slot.tzinfo is UTC
        assert next_slot(cron, slot - timedelta(microseconds=1)) == slot
        assert due(cron, last=look, now=slot, policy=Policy.ALL) == (slot,)


@pytest.mark.parametrize("policy", Policy)
def test_nothing_is_due_before_a_slot_nor_when_the_clock_was_put_back(policy: Policy) -> None:
    cron = parse_cron("0 12 * * *", "UTC")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert due(cron, last=noon - MINUTE, now=noon - timedelta(seconds=1), policy=policy) == ()
    assert due(cron, last=noon - MINUTE, now=noon, policy=policy) == (noon,)
    assert due(cron, last=noon, now=noon + MINUTE, policy=policy) == ()
    assert due(cron, last=noon, now=noon - MINUTE, policy=policy) == ()


def test_three_days_missed() -> None:
    cron = parse_cron("0 12 * * *", "UTC")
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)
    days = tuple(first + timedelta(days=n) for n in (1, 2, 3))
    now = days[-1] + timedelta(hours=1)
    assert due(cron, last=first, now=now, policy=Policy.ALL) == days
    assert due(cron, last=first, now=now, policy=Policy.LATEST) == days[-1:]
    assert due(cron, last=first, now=now, policy=Policy.NONE) == ()
    assert due(cron, last=first, now=days[1] + ON_TIME / 2, policy=Policy.NONE) == days[1:2]
    assert due(cron, last=first, now=days[1] + ON_TIME, policy=Policy.NONE) == ()


def test_ten_years_of_seconds_are_answered_at_once() -> None:
    cron = parse_cron("* * * * * *", "Europe/Berlin")
    start, now = datetime(2016, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    assert due(cron, last=start, now=now, policy=Policy.LATEST) == (now,)
    assert len(due(cron, last=start, now=now, policy=Policy.ALL)) == MOST


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "0 fields"),
        ("@daily", "1 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * 2030", "7 fields"),
        ("60 * * * *", "out of range"),
        ("0 24 * * *", "out of range"),
        ("*/0 * * * *", "step '0'"),
        ("0 0 30 2 *", "No day of the calendar"),
        ("R R * * *", "'r' is neither"),
        ("H 2 * * *", "'h' is neither"),
        ("0 0 * foo *", "'foo' is neither"),
        ("1,,2 * * * *", "not acceptable"),
    ],
)
def test_a_line_that_is_none_says_why(line: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match="is no cron line") as raised:
        parse_cron(line, "UTC")
    assert why in raised.value.why


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../x", "/etc/passwd", "a\0b"])
def test_an_unknown_zone_says_so(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="There is no time zone"):
        parse_cron("0 0 * * *", zone)


def test_a_zone_that_is_nearly_right_is_named() -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_cron("0 0 * * *", "Berlin")
    assert "Europe/Berlin" in raised.value.fix


def test_names_lists_and_blanks_are_allowed() -> None:
    cron = parse_cron(" 0  9 * JAN-mar mon,FRI ", "UTC")
    assert cron == Cron("0 9 * JAN-mar mon,FRI", ZoneInfo("UTC"))
    assert dataclasses.is_dataclass(cron)
    assert next_slot(cron, datetime(2026, 4, 1, tzinfo=UTC)) == datetime(2027, 1, 1, 9, tzinfo=UTC)
    last = parse_cron("0 0 L * *", "UTC")
    assert next_slot(last, datetime(2026, 2, 3, tzinfo=UTC)) == datetime(2026, 2, 28, tzinfo=UTC)


@pytest.mark.parametrize("line", ["30 2 * * *", "30 * * * *"])
def test_the_answer_does_not_depend_on_the_zone_of_the_question(line: str) -> None:
    cron = parse_cron(line, "Europe/Berlin")
    for hours in range(-3, 4):
        moment = datetime(2026, 10, 25, 1, tzinfo=UTC) + timedelta(hours=hours)
        assert next_slot(cron, moment.astimezone(BERLIN)) == next_slot(cron, moment)
