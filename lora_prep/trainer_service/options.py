"""How one service is set up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

__all__ = ["ServiceOptions", "owner_of_key"]


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What the person who starts the service decides.

    api_keys: each sees its own tasks only; closed: reach public addresses only, for a service
    that strangers can reach; public_url: how clients reach it, empty for the address that each
    called; tasks_at_once: for each key, more wait; price_usd: per 1,000 steps; balance_usd: of
    each key at the beginning; webhook_retry_s: before the first redelivery.
    """

    api_keys: tuple[str, ...] = field(repr=False)
    closed: bool = False
    public_url: str = ""
    tasks_at_once: int = 3  # what the hosted service gives its lowest tier
    price_usd: float = 0.0
    balance_usd: float = 0.0
    webhook_retry_s: float = 5.0

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners that the keys stand for."""
        return tuple(owner_of_key(key) for key in self.api_keys)


def owner_of_key(key: str) -> str:
    """Return how a key's owner is called in the table: nobody gets from there to the key.

    Owners are compared instead of keys, so how long that takes tells nothing of a key either.
    """
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
