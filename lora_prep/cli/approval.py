"""Ask the person before money is spent."""

from __future__ import annotations

from lora_prep.cli.session import Session
from lora_prep.errors import Declined
from pipelines.pricing import Approve
from pipelines.values import Quote

__all__ = ["approval"]


def approval(session: Session, *, yes: bool) -> Approve:
    """Return what is asked before a paid training: the person at the terminal, or `--yes`."""

    def approve(quote: Quote) -> None:
        price = _spoken(quote)
        session.say(price)
        if yes:
            return
        if not session.can_ask:
            raise Declined(
                "The training was not submitted: nobody agreed to pay for it.",
                why=f"{price} There is no terminal to ask at.",
                fix="Add --yes, perhaps with --max-cost USD.",
            )
        if not session.agrees("Submit it?"):
            raise Declined(
                "The training was not submitted.", why="You said no.", fix="Nothing was paid."
            )

    return approve


def _spoken(quote: Quote) -> str:
    price = (
        "The trainer names no price for it."
        if quote.price_usd is None
        else f"The training costs {quote.price_usd:g} USD."
    )
    if quote.balance_usd is None:
        return price
    return f"{price} The account holds {quote.balance_usd:g} USD."
