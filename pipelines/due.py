"""Which slots of a schedule are due: a pure function of the cron line, two moments and a policy.

A slot is a moment at which a cron line fires, an aware datetime in UTC on a whole second.

croniter matches the fields; when the clock is put forward or back, the rule is ours, and that of
Vixie's cron. (croniter 6.2 itself fires `30 2 * * *` twice in the night the clock goes back.)

    the hour field begins with *   by real time: it fires whenever a clock on the wall shows a
    (`30 * * * *`, `0 */2 * * *`)  matching time, in both of two repeated hours and in no skipped
                                   one: every minute stays every minute
    any other hour field           by wall time: each matching time of a day fires once. One that is
    (`30 2 * * *`, `0 8-18 * * *`) skipped fires at the first moment after the gap, several skipped
                                   ones together once; one that comes twice fires the first time
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, available_timezones

from lora_prep.errors import ConfigurationError

__all__ = ["MOST", "ON_TIME", "Cron", "Policy", "due", "next_slot", "parse_cron"]

ON_TIME = timedelta(seconds=60)
"""How late a slot may be and still not count as missed: a worker that starts or is busy."""

MOST = 1000
"""Slots in one answer: whoever missed more gets the oldest now and the others at later looks."""

SECOND = timedelta(seconds=1)
STEP = timedelta(days=6)  # since 1970 no zone has changed its offset twice within so few days
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
WORDS = {
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    "sun", "mon", "tue", "wed", "thu", "fri", "sat", "l",
}  # fmt: skip


class Policy(StrEnum):
    """What becomes of slots that were missed while nothing ran.

    latest: they count as one, the newest; none: they are dropped; all: each fires, in order.
    """

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line and the zone whose clock it is meant for; made and checked by `parse_cron`."""

    expression: str
    zone: ZoneInfo

    @property
    def by_real_time(self) -> bool:
        """Whether it goes on by real time when the clock is put forward or back."""
        return self.expression.split()[-4].startswith("*")


def parse_cron(expression: str, zone_name: str) -> Cron:
    """Return a cron line that has been checked.

    Args:
        expression: minute, hour, day of month, month, day of week; with six fields, the first is
            the second. Names of months and days, lists, ranges, steps, `L` and `#` are allowed.
            When both days are given, either is enough, as in every cron.
        zone_name: a name of the IANA list, such as "Europe/Berlin".

    Raises:
        ConfigurationError: the line is none, or never comes true; or there is no such zone.

    Example:
        >>> cron = parse_cron("30 2 * * *", "Europe/Berlin")
        >>> print(next_slot(cron, datetime(2026, 3, 28, 12, tzinfo=UTC)))  # 2:30 does not exist
        2026-03-29 01:00:00+00:00
    """
    zone = _zone(zone_name)
    fields = expression.split()
    if len(fields) not in (5, 6):
        raise _no_cron(expression, f"It has {len(fields)} fields, not 5, or 6 with seconds first")
    for word in re.findall("[a-z]+", expression.lower()):
        if word not in WORDS:  # croniter would draw lots for R and H, anew in every process
            raise _no_cron(expression, f"{word!r} is neither a month nor a day of the week")
    cron = Cron(" ".join(fields), zone)
    from croniter import CroniterBadDateError, CroniterError

    try:
        next(_wall_times(cron, ANY_TIME))
    except CroniterBadDateError as error:
        raise _no_cron(expression, "No day of the calendar ever matches it") from error
    except (CroniterError, ValueError) as error:
        raise _no_cron(expression, str(error).rstrip(".")) from error
    return cron


def next_slot(cron: Cron, after: datetime) -> datetime:
    """Return the first slot after a moment (aware), in UTC."""
    after = after.astimezone(UTC)
    return _next_by_real_time(cron, after) if cron.by_real_time else _next_by_wall(cron, after)


def due(
    cron: Cron,
    *,
    last: datetime,
    now: datetime,
    policy: Policy,
    on_time: timedelta = ON_TIME,
    most: int = MOST,
) -> tuple[datetime, ...]:
    """Return which slots in (last, now] are to fire, the oldest first, in UTC.

    Args:
        cron: as `parse_cron` gives it.
        last: the last slot that fired, or since when there is a schedule (aware).
        now: the present moment (aware); when it lies before `last`, nothing is due.
        policy: `latest` gives the newest of them alone; `all` gives every one; `none` gives those
            of (now - on_time, now], and the older ones are missed for good.
        on_time: how late a slot may be under `none`.
        most: with more than these to fire, the oldest of them are returned. Nothing is lost as
            long as the next look starts from the last one that fired.
    """
    if policy is Policy.LATEST:
        newest = _newest(cron, last, now)
        return () if newest is None else (newest,)
    slot = max(last, now - on_time) if policy is Policy.NONE else last
    slots: list[datetime] = []
    while len(slots) < most and (slot := next_slot(cron, slot)) <= now:
        slots.append(slot)
    return tuple(slots)


def _newest(cron: Cron, last: datetime, now: datetime) -> datetime | None:
    """Halve the time that may hold a newer slot: a year of minutes takes 40 steps, not 500,000."""
    newest = next_slot(cron, last)
    if newest > now:
        return None
    end = now.astimezone(UTC)  # after it there is no slot up to now
    while (following := next_slot(cron, newest)) <= end:
        middle = following + (end - following) / 2
        found = next_slot(cron, middle)
        if found <= end:
            newest = found
        else:
            newest, end = following, middle
    return newest


def _next_by_real_time(cron: Cron, after: datetime) -> datetime:
    begin = after.replace(microsecond=0) + SECOND  # a slot may lie there already
    while True:
        shown = _shown(begin, cron.zone)
        slot = begin + (next(_wall_times(cron, shown - SECOND)) - shown)
        change = _first_change(cron.zone, begin, slot)
        if change is None:
            return slot
        begin = change  # the clock jumps before it comes to show that time


def _next_by_wall(cron: Cron, after: datetime) -> datetime:
    times = _wall_times(cron, _shown(after, cron.zone))
    moments = (_first_moment(wall, cron.zone) for wall in times)
    return next(moment for moment in moments if moment > after)


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what a clock of a zone shows, written as if it were UTC, which never jumps."""
    return moment.astimezone(zone).replace(tzinfo=UTC)


def _first_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when a clock of a zone first shows a time, or has just jumped over it."""
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    if early < late:  # in a gap, and nowhere else, PEP 495 turns the two round
        change = _first_change(zone, early, late)
        assert change is not None, "a gap is a change"  # noqa: S101
        return change
    return late


def _first_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """Return the first moment in (after, until] whose offset is not that of `after`."""
    low, before = after.replace(microsecond=0), after.astimezone(zone).utcoffset()
    while low < until:
        high = min(low + STEP, until)
        if high.astimezone(zone).utcoffset() != before:
            while high - low > SECOND:
                middle = low + (high - low) // (2 * SECOND) * SECOND
                if middle.astimezone(zone).utcoffset() == before:
                    low = middle
                else:
                    high = middle
            return high
        low = high
    return None


def _wall_times(cron: Cron, after: datetime) -> Iterator[datetime]:
    """Yield the times after one that match the fields, all of them as `_shown` writes them."""
    from croniter import croniter

    times = croniter(cron.expression, after, second_at_beginning=True)
    while True:
        yield times.get_next(datetime)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: it is a folder of the list
        alike = _alike(name)
        raise ConfigurationError(
            f"There is no time zone {name!r}.",
            why="The IANA list of time zones does not have it.",
            fix=f"Give a name of that list, such as {alike or 'Europe/Berlin or UTC'}.",
        ) from error


def _alike(name: str) -> str | None:
    from difflib import get_close_matches

    zones = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
    close = get_close_matches(name.rpartition("/")[2].lower(), zones, n=1, cutoff=0.75)
    return zones[close[0]] if close else None


def _no_cron(expression: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{expression!r} is no cron line.",
        why=f"{why}.",
        fix="Give minute, hour, day, month and day of week, such as '30 2 * * *'.",
    )
