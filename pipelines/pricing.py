"""What a training costs, and whether that is agreed to, before anything is uploaded."""

from __future__ import annotations

from collections.abc import Callable

from lora_prep.settings import Settings
from lora_prep.trainers import TrainerClient, check_budget
from pipelines.backends import Backends, open_ledger, request_for
from pipelines.values import Quote

__all__ = ["Approve", "approved", "ask_price"]

Approve = Callable[[Quote], None]
"""Asked before a training that costs something; raises `Declined` to refuse it."""


def ask_price(trainer: TrainerClient, settings: Settings) -> Quote:
    """Ask what the training costs and what is left on the account.

    Raises:
        Declined: it costs more than trainer.max_cost_usd, or than this month's budget has left; or
            nobody knows what it costs.
        TooManyRequests, TemporaryError, CredentialsError: the trainer gives no answer.
    """
    request = request_for("", settings)
    price = trainer.price(request.model, request.parameters)
    check_budget(price, settings.trainer.max_cost_usd)
    if settings.trainer.max_month_usd is not None:
        open_ledger(settings).check_month(price)
    return Quote(price, trainer.balance())


def approved(backends: Backends, approve: Approve | None) -> Quote:
    """Return the price once the user's limit and the user agree to it; a rehearsal asks nobody."""
    if backends.choice.rehearsal:
        return Quote(None, None)
    quote = ask_price(backends.trainer, backends.settings)
    if approve and quote.price_usd != 0:
        approve(quote)
    return quote
