"""A ledger, a client and a provider, for the tests of submitting and of resolving."""

from __future__ import annotations

from pathlib import Path

from lora_prep.events import Event
from lora_prep.trainers import (
    Archived,
    Ended,
    Free,
    InFlight,
    Intent,
    State,
    Submitted,
    Unknown,
    find_existing,
    submit_once,
    submit_or_follow,
)
from tests.trainers.provider import (
    WAITS,
    Provider,
    client_of,
    intent_of,
    ledger_in,
    request_of,
)


class Desk:
    """A ledger, a client and a provider, and one call that a user would make."""

    def __init__(self, served: Provider, folder: Path) -> None:
        self.served = served
        self.ledger = ledger_in(folder)
        self.client = client_of(served.url)
        self.events: list[Event] = []

    def intent(self, run_id: str = "run1", **how: object) -> Intent:
        return intent_of(self.served.url, run_id, **how)  # type: ignore[arg-type]

    def once(
        self, run_id: str = "run1", **how: object
    ) -> Submitted | InFlight | Archived | Unknown | Ended:
        intent = self.intent(run_id, **how)
        return submit_once(self.ledger, self.client, intent, lambda: request_of(intent), WAITS)

    def submit(
        self, run_id: str = "run1", *, again: bool = False, **how: object
    ) -> Submitted | InFlight | Archived:
        intent = self.intent(run_id, **how)
        return submit_or_follow(
            self.ledger,
            self.client,
            intent,
            lambda: request_of(intent),
            WAITS,
            again=again,
            on_event=self.events.append,
        )

    def find(
        self, run_id: str = "run1", *, again: bool = False, **how: object
    ) -> Free | InFlight | Archived:
        return find_existing(
            self.ledger,
            self.client,
            self.intent(run_id, **how),
            WAITS,
            again=again,
            on_event=self.events.append,
        )

    def row(self, run_id: str = "run1") -> State:
        row = self.ledger.of_run(run_id)
        assert row
        return row.state
