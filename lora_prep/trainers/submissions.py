"""What the ledger keeps of a submission, and what a claim can come to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lora_prep.model import TrainingRequest
from lora_prep.trainers.claimer import Claimer
from lora_prep.trainers.locations import Location

__all__ = [
    "OVER",
    "Archived",
    "Claimed",
    "Conflict",
    "Ended",
    "Free",
    "InFlight",
    "Intent",
    "Outcome",
    "State",
    "Submission",
    "Taken",
    "Unknown",
    "canonical",
]


class Conflict(Exception):
    """Another row of the ledger has what must be unique."""


class State(StrEnum):
    """Where a submission stands.

    posting: it may be sent at any moment, or was; waiting: surely not sent, will be; unknown: it
    was sent and the answer is lost; submitted and completed: the provider has it, under an id;
    archived: its LoRA is in the bucket; failed and cancelled: it ended without one; refused: so did
    it, because its data URL could not be fetched; released: it surely was never accepted.
    """

    POSTING = "posting"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    ARCHIVED = "archived"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    RELEASED = "released"


OVER = frozenset({State.FAILED, State.REFUSED, State.CANCELLED})
"""What has ended without a LoRA: another submission may follow."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be sent, before it is: enough to recognise it afterwards.

    run_id and attempt name the submission (attempts count from 1); parameters: the body without
    the data URL; bucket and object_key: where the data URL leads; dataset_sha256: of the zip;
    account: `TrainerClient.account`, since a list shows the trainings of one key only;
    rehearsal: the trainer trains nothing and costs nothing, so that doing it again is harmless.
    """

    run_id: str
    attempt: int
    origin: str
    model: str
    parameters: Mapping[str, Any]
    dataset_sha256: str
    bucket: str
    object_key: str
    account: str = ""
    rehearsal: bool = False
    price_usd: float | None = None

    @property
    def key(self) -> str:
        """The submission's own key; it belongs into the object key of its zip."""
        return f"{self.run_id}-{self.attempt}"

    @property
    def entered(self) -> bool:
        """Whether it was never ours to send: a training from elsewhere, whose data nobody knows."""
        return not self.object_key

    @property
    def location(self) -> Location:
        """Where the data URL leads."""
        return Location(self.bucket, self.object_key)

    @property
    def fingerprint(self) -> str:
        """The same for every submission that asks the same trainer for the same LoRA."""
        asked = [self.origin, self.dataset_sha256, self.model, canonical(self.parameters)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def describes(self, request: TrainingRequest) -> bool:
        """Whether the request is the one that was claimed."""
        body = dict(request.to_body())
        body.pop("data", None)
        return (
            request.model == self.model
            and canonical(body) == canonical(self.parameters)
            and self.location.is_at(request.data_url)
        )


def canonical(parameters: Mapping[str, Any]) -> str:
    """Return parameters in the one spelling that is compared."""
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Submission:
    """One row of the ledger. token: of the claim, changes with every new one; times are UTC.

    posted_at: when it was last about to be sent; loras: the `loras` of the JSON contract.
    """

    intent: Intent
    state: State
    token: str
    claimer: Claimer
    prediction_id: str | None
    loras: tuple[Mapping[str, Any], ...]
    reason: str
    created_at: datetime
    updated_at: datetime
    posted_at: datetime
    submitted_at: datetime | None
    completed_at: datetime | None

    @property
    def key(self) -> str:
        """The submission's own key."""
        return self.intent.key


@dataclass(frozen=True, slots=True)
class Free:
    """Nothing stands in the way; only `look` says so, a claim takes it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """It is the caller's, and only the caller's, to send."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody has sent it, or is just sending it: follow. The id is None while it is sent."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Archived:
    """Its LoRA is in the bucket already."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been accepted, and nobody is sending it any more: reconcile."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class Ended:
    """This very submission ended without a LoRA; another one needs the next attempt."""

    submission: Submission


Taken = InFlight | Archived | Unknown | Ended
Outcome = Claimed | Taken
