"""Which trainers may be talked to."""

from __future__ import annotations

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import TrainerNotAllowed

__all__ = ["check_trainer_address"]


def check_trainer_address(base_url: str) -> None:
    """Refuse a trainer that could cost money.

    A paid submission needs the ledger that makes it happen at most once. Until that exists, only
    trainers on this machine are allowed.

    Raises:
        TrainerNotAllowed: the trainer is not on loopback.
    """
    if not is_loopback(base_url):
        raise TrainerNotAllowed(
            f"The trainer {host_and_port(base_url)} is not used by this version.",
            why="A paid training must never be sent twice; the ledger for that is not built yet.",
            fix="Rehearse with --rehearse, or use a trainer on 127.0.0.1.",
        )
