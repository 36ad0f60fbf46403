"""Refuse what costs too much, before anything is sent."""

from __future__ import annotations

from lora_prep.errors import Declined

__all__ = ["check_budget"]


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
    if price_usd > left:
        raise Declined(
            "The training was not submitted: it costs too much.",
            why=f"It costs {price_usd:g} USD, and {max(left, 0):g} of {most_usd:g} USD are left.",
            fix="Raise the limit, or ask for fewer steps.",
        )
