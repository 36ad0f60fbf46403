"""doctor: everything a run needs, looked at before it can go wrong."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lora_prep.cli.flags import (
    PaymentFlags,
    StoreFlags,
    TrainerFlags,
    TrainingFlags,
    settings_flags,
)
from lora_prep.cli.session import Session, SessionParameter
from lora_prep.model import Check
from lora_prep.settings import Settings, load_settings
from pipelines.doctor import examine

__all__ = ["doctor", "report"]


def doctor(
    *,
    live: Annotated[
        bool,
        Parameter(
            help="Also ask the trainer what is free: balance, catalogue, price and list.",
            show_default=False,
        ),
    ] = False,
    deep: Annotated[
        bool,
        Parameter(help="Also try an upload in parts and a link that expires.", show_default=False),
    ] = False,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    training: TrainingFlags = TrainingFlags(),
    payment: PaymentFlags = PaymentFlags(),
    session: SessionParameter,
) -> None:
    """Check the settings, the bucket and the trainer: one line each, with what to do about it.

    A kilobyte is put into the bucket and deleted. Nothing is trained and nothing is paid. The exit
    status is that of the first thing that fails.
    """
    settings = load_settings(settings_flags(store, trainer, training, payment))
    report(settings, session, live=live, deep=deep)


def report(settings: Settings, session: Session, *, live: bool = False, deep: bool = False) -> None:
    """Print every check as it is made; raises the error of the first that fails."""
    checks: list[Check] = []
    session.result = lambda: {"schema": 1, "checks": [check.to_json() for check in checks]}
    for check in examine(settings, live=live, deep=deep, on_event=session.on_event):
        checks.append(check)
        session.answer(f"{check.outcome:<8} {check.name:<10} {check.found}")
        if check.fix and check.outcome != "ok":
            session.answer(f"{'':<19} {check.fix}")
    if failed := next((check.error for check in checks if check.error), None):
        raise failed
