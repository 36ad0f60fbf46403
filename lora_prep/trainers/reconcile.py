"""Find out what became of a submission whose answer was lost.

The provider knows no idempotency key; its list is the only witness. A prediction is ours when one
of its inputs leads to the bucket and key of our data set, which no other submission uses. Where the
list shows no inputs, what could be ours is named, and its owner decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import ConfigurationError, LoraPrepError
from lora_prep.events import Event, Listener, ignore
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.ledger import Ledger
from lora_prep.trainers.responses import Listed
from lora_prep.trainers.submissions import Submission

__all__ = [
    "Absent",
    "Candidates",
    "Cannot",
    "Changed",
    "Found",
    "Reconciled",
    "Released",
    "Waits",
    "check_same_trainer",
    "look_for",
    "must_be_listed_at",
    "reconcile",
]

CLOCKS = timedelta(minutes=10)
"""How far our clock and the provider's may differ, when only its newer predictions are listed."""

LISTED_FOR = timedelta(days=6)
"""Predictions live 7 days; a day is left for clocks that differ."""
LOOKS = 2
"""A prediction deleted while pages are read shifts another out of sight, though hardly twice."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Every wait around a submission, s.

    margin_s: beyond the submission's time-out, until a server that got it must list it;
    look_every_s: between two looks at the list or the ledger; too_many_s: after a 429 that names
    no pause; too_many_total_s: for room, in all.
    """

    margin_s: float = 60
    look_every_s: float = 5
    too_many_s: float = 60
    too_many_total_s: float = 3600


@dataclass(frozen=True, slots=True)
class Found:
    """It was accepted, as this prediction."""

    prediction_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """It surely was not accepted, and is free again."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The list does not show it. That proves nothing unless the list is consistent."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The list shows these predictions, the newest first; one may be it."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cannot:
    """The list could not be read."""

    error: LoraPrepError


@dataclass(frozen=True, slots=True)
class Changed:
    """Somebody else settled it meanwhile: claim again to learn how."""


Reconciled = Found | Released | Absent | Candidates | Cannot | Changed


def reconcile(
    ledger: Ledger,
    client: TrainerClient,
    submission: Submission,
    waits: Waits,
    on_event: Listener = ignore,
) -> Reconciled:
    """Look for a lost submission, again and again until the list must show it, and settle it.

    What is found is adopted. What is absent is released only if the trainer guarantees that its
    list is consistent, and if nobody can be sending it any more. All else is left as it is.

    Raises:
        ConfigurationError: it was sent to another trainer.
        TemporaryError: the ledger does not answer.
    """
    check_same_trainer(submission, client)
    certain_at = must_be_listed_at(submission, client, waits)
    absent = 0
    while True:
        began = time.time()
        consistent = client.list_is_consistent()
        seen = look_for(ledger, client, submission, whole_list=consistent)
        if isinstance(seen, Found):
            return _adopted(ledger, submission, seen)
        if began > certain_at:
            if not (consistent and _proves_absence(seen, ledger, client, submission)):
                return seen
            absent += 1
            if absent >= LOOKS:
                released = ledger.release(submission, "the trainer never had it")
                return Released() if released else Changed()
            continue
        on_event(Event("train", "the answer was lost, looking for the training"))
        time.sleep(min(waits.look_every_s, max(certain_at - time.time(), 0) + 0.01))


def must_be_listed_at(submission: Submission, client: TrainerClient, waits: Waits) -> float:
    """Return from when on a server that got it lists it if its list is consistent, s since 1970."""
    return submission.posted_at.timestamp() + client.submit_timeout_s + waits.margin_s


def check_same_trainer(submission: Submission, client: TrainerClient) -> None:
    """Refuse to ask one trainer for what another was sent: it would not know it.

    Raises:
        ConfigurationError: the client is of another trainer.
    """
    origin = submission.intent.origin
    if origin == client.origin or (is_loopback(origin) and is_loopback(client.origin)):
        return
    raise ConfigurationError(
        f"The training of {submission.intent.run_id} was sent to another trainer.",
        why=f"That is {host_and_port(origin)}, and not {host_and_port(client.origin)}.",
        fix=f"Set trainer.base_url to {origin}.",
    )


def _proves_absence(
    seen: Absent | Candidates | Cannot, ledger: Ledger, client: TrainerClient, row: Submission
) -> bool:
    """Whether a consistent list that does not show a submission says that it was not accepted.

    Not while it may still be sent, not to another key, and not when the list may have dropped it.
    """
    return (
        isinstance(seen, Absent)
        and ledger.is_over(row)
        # The embedded trainer may come back on another port, with all it had.
        and (row.intent.origin == client.origin or row.intent.rehearsal)
        and row.intent.account == client.account
        and datetime.now(UTC) - row.posted_at < LISTED_FOR
    )


def look_for(
    ledger: Ledger, client: TrainerClient, submission: Submission, *, whole_list: bool = False
) -> Found | Absent | Candidates | Cannot:
    """Look once for a lost submission in the trainer's list; changes nothing.

    whole_list: do not limit it to predictions since the submission, which relies on its clock.
    """
    since = submission.posted_at - CLOCKS
    try:
        listed = list(client.all_predictions(None if whole_list else since))
    except LoraPrepError as error:
        return Cannot(error)
    owners = ledger.owners(client.origin, (one.prediction.id for one in listed))
    free = [
        one for one in listed if owners.get(one.prediction.id, submission.key) == submission.key
    ]
    location = submission.intent.location
    ours = [one for one in free if any(map(location.is_at, one.texts()))]
    if not ours:
        ours = [one for one in free if _may_be(one, submission, since)]
        return Candidates(_ids(ours)) if ours else Absent()
    return Found(ours[0].prediction.id) if len(ours) == 1 else Candidates(_ids(ours))


def _may_be(listed: Listed, submission: Submission, since: datetime) -> bool:
    """Whether a prediction that does not say what it was asked with can be the lost one."""
    if listed.inputs is not None:
        return False
    prediction = listed.prediction
    created = prediction.created_at or datetime.now(UTC)
    asked, told = submission.intent.model, prediction.model
    # The list may name a model without its owner.
    same = not told or told.rpartition("/")[2] == asked.rpartition("/")[2]
    return same and created >= since


def _ids(listed: list[Listed]) -> tuple[str, ...]:
    return tuple(one.prediction.id for one in listed)


def _adopted(ledger: Ledger, submission: Submission, found: Found) -> Found | Cannot | Changed:
    try:
        return found if ledger.adopt(submission, found.prediction_id) else Changed()
    except ConfigurationError as error:  # another submission took it since we looked
        return Cannot(error)
