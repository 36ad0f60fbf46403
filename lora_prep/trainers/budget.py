"""What was spent, and refusing what costs too much before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from lora_prep.errors import Declined

__all__ = ["Charge", "Month", "by_month", "check_budget", "check_month", "reaches"]

ROUNDING_USD = 1e-6  # what adding up costs: 12.6 - 4.2 - 4.2 is a little less than 4.2


@dataclass(frozen=True, slots=True)
class Charge:
    """What one submission was to cost when it was sent.

    at: when that was (aware); usd: None where nobody named a price; failed: whether the training
    ended without a LoRA, which the provider says it refunds.
    """

    at: datetime
    usd: float | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Month:
    """What was spent in a calendar month (UTC, as the provider bills).

    first: its first day; trainings: how many were sent; usd: what they cost, failed ones with it;
    failed_usd: of that, what the provider says it refunds; unpriced: trainings without a price.
    """

    first: date
    trainings: int
    usd: float
    failed_usd: float
    unpriced: int


def by_month(charges: Iterable[Charge]) -> tuple[Month, ...]:
    """Return what was spent in each month in which something was, the newest first."""
    months: dict[date, list[Charge]] = {}
    for one in charges:
        months.setdefault(_month_of(one.at), []).append(one)
    return tuple(
        Month(
            first,
            trainings=len(found),
            usd=sum(one.usd or 0 for one in found),
            failed_usd=sum(one.usd or 0 for one in found if one.failed),
            unpriced=sum(one.usd is None for one in found),
        )
        for first, found in sorted(months.items(), reverse=True)
    )


def reaches(left_usd: float, price_usd: float) -> bool:
    """Whether what is left pays a price."""
    return price_usd <= left_usd + ROUNDING_USD


def check_month(
    price_usd: float | None, most_usd: float | None, charges: Iterable[Charge], now: datetime
) -> None:
    """Refuse a training that this month's budget does not reach for.

    charges: of all months. What failed counts: a limit does not rely on a refund.

    Raises:
        Declined: the price is unknown, or above what is left.
    """
    if most_usd is None or price_usd == 0:
        return
    this = _month_of(now)
    spent_usd = next((one.usd for one in by_month(charges) if one.first == this), 0.0)
    left_usd = max(most_usd - spent_usd, 0)
    if price_usd is None or not reaches(left_usd, price_usd):
        price = "nobody names its price" if price_usd is None else f"it costs {price_usd:g} USD"
        raise Declined(
            "The training was not submitted: the budget of this month does not reach.",
            why=f"Of {most_usd:g} USD for {this:%B} {left_usd:g} are left, and {price}.",
            fix="Raise trainer.max_month_usd, or wait for the next month.",
        )


def check_budget(price_usd: float | None, most_usd: float | None, *, spent_usd: float = 0) -> None:
    """Refuse a training above the limit, and one whose price nobody knows.

    most_usd: None is no limit; spent_usd: what a batch has spent of it already.

    Raises:
        Declined: the price is unknown, or above what is left.
    """
    if most_usd is None:
        return
    left = most_usd - spent_usd
    if price_usd is None:
        raise Declined(
            "The training was not submitted: its price is not known.",
            why=f"The limit is {most_usd:g} USD, and the provider names no price.",
            fix="Look it up with the provider; without a limit it would be submitted.",
        )
    if not reaches(left, price_usd):
        raise Declined(
            "The training was not submitted: it costs too much.",
            why=f"It costs {price_usd:g} USD, and {max(left, 0):g} of {most_usd:g} USD are left.",
            fix="Raise the limit, or ask for fewer steps.",
        )


def _month_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date().replace(day=1)
