"""Look at everything a run needs, before it can go wrong: nothing is trained, nothing is paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import ConfigurationError, LoraPrepError
from lora_prep.events import Listener, ignore
from lora_prep.model import Check
from lora_prep.settings import PROVIDER_STORE, Settings
from lora_prep.stores import preflight
from lora_prep.trainers import (
    TrainerClient,
    check_budget,
    differences,
    trainer_of,
    with_overrides,
)
from pipelines.backends import choose, connect_store, connect_trainer, request_for

__all__ = ["examine"]


def examine(
    settings: Settings, *, live: bool = False, deep: bool = False, on_event: Listener = ignore
) -> Iterator[Check]:
    """Yield one check after the other.

    live: also ask the trainer what costs nothing: balance, catalogue, price and list; deep: also
    try what takes the bucket seconds.
    """
    choice = None
    try:
        choice = choose(settings)
    except LoraPrepError as error:
        yield Check.failed("settings", error)
    else:
        place = "a rehearsal: the embedded trainer" if choice.rehearsal else choice.trainer_url
        words = f"{place}, {settings.trainer.model}, store {choice.store_url}"
        yield Check("settings", "ok", words)
    if settings.store.url == PROVIDER_STORE:
        yield Check("bucket", "skipped", "The provider's own storage is used.")
    else:
        local = choice is not None and (choice.rehearsal or is_loopback(choice.trainer_url))
        yield from _bucket(settings, deep=deep, local_trainer=local, on_event=on_event)
    if choice is None:
        yield Check("trainer", "skipped", "Not looked at, since settings failed.")
    elif choice.rehearsal:
        yield Check("trainer", "skipped", "A rehearsal: nothing is asked, nothing is paid.")
    elif not live:
        yield Check(
            "trainer",
            "skipped",
            f"{host_and_port(choice.trainer_url)} was not asked.",
            "lora-prep doctor --live asks what costs nothing.",
        )
    else:
        with connect_trainer(settings) as trainer:
            yield from _trainer(trainer, settings)


def _bucket(
    settings: Settings, *, deep: bool, local_trainer: bool, on_event: Listener
) -> Iterator[Check]:
    try:
        # A service that has changed since is known again after the doctor.
        with connect_store(settings, on_event, anew=True) as store:
            yield from preflight(store, deep=deep, local_trainer=local_trainer)
    except LoraPrepError as error:
        yield Check.failed("bucket", error)


def _trainer(trainer: TrainerClient, settings: Settings) -> Iterator[Check]:
    """Ask a trainer everything that is free; after a key that is refused nothing more."""
    balance = _asked("balance", lambda: _balance(trainer))
    yield balance
    if balance.outcome == "fail":
        for name in ("catalogue", "price", "list"):
            yield Check(name, "skipped", "The trainer did not answer.")
        return
    yield from _catalogue(trainer, settings)
    yield _asked("price", lambda: _price(trainer, settings))
    yield _asked("list", lambda: _list(trainer))


def _asked(name: str, ask: Callable[[], Check]) -> Check:
    try:
        return ask()
    except LoraPrepError as error:
        return Check.failed(name, error)


def _balance(trainer: TrainerClient) -> Check:
    usd = trainer.balance()
    if usd is None:
        return Check("balance", "warn", "The key is taken; the trainer names no balance.")
    return Check("balance", "ok", f"The key is taken; the account holds {usd:g} USD.")


def _catalogue(trainer: TrainerClient, settings: Settings) -> Iterator[Check]:
    """Compare what we know of the trainer's model with what it says of it today."""
    ours = trainer_of(settings.trainer.model, with_overrides(settings.trainer.models))
    try:
        found = differences(ours, trainer.models())
    except LoraPrepError as error:
        yield Check.failed("catalogue", error)
        return
    if not found:
        yield Check("catalogue", "ok", f"{ours.model} is as we know it.")
    for one in found:
        yield Check(
            "catalogue",
            "warn",
            f"{one}.",
            f'Set the new numbers in [trainer.models."{ours.model}"], or choose another model.',
        )


def _price(trainer: TrainerClient, settings: Settings) -> Check:
    request, most = request_for("", settings), settings.trainer.max_cost_usd
    usd = trainer.price(request.model, request.parameters)
    check_budget(usd, most)
    if usd is None:
        return Check("price", "warn", "The trainer names no price.", "Look it up with it.")
    limit = "" if most is None else f", {most:g} USD are allowed"
    return Check("price", "ok", f"A training costs {usd:g} USD{limit}.")


def _list(trainer: TrainerClient) -> Check:
    """Whether a lost answer could be found again."""
    asks = "A lost answer is then asked about, with `lora-prep resolve`."
    try:
        listed: list[Any] = trainer.list_predictions(page_size=10, include_inputs=True)
    except ConfigurationError:
        trainer.list_predictions(page_size=10)
        return Check("list", "warn", "The list refuses to show inputs.", asks)
    if not listed:
        return Check("list", "ok", "The list is empty: whether it shows inputs is not known.")
    if all(one.inputs is None for one in listed):
        return Check("list", "warn", "The list shows no inputs.", asks)
    return Check("list", "ok", "The list shows inputs: a lost answer can be found again.")
