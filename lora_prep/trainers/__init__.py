"""trainers/: submit a training at most once, and follow it to its end."""

from lora_prep.trainers.address import (
    OFFICIAL_ORIGIN,
    check_trainer_server,
    key_for,
    origin_of,
)
from lora_prep.trainers.budget import Charge, Month, by_month, check_budget, reaches
from lora_prep.trainers.catalogue import (
    TRAINERS,
    WAN_14B_TRAINER,
    Parameter,
    Trainer,
    check_parameters,
    differences,
    role_of_output,
    trainer_of,
    with_overrides,
)
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.ledger import Ledger
from lora_prep.trainers.locations import Location
from lora_prep.trainers.media import PRIVACY_OF_UPLOADS, UPLOADS_LIVE, upload_to_provider
from lora_prep.trainers.rate import TokenBucket
from lora_prep.trainers.reconcile import (
    Absent,
    Candidates,
    Cannot,
    Changed,
    Found,
    Released,
    Waits,
    check_same_trainer,
    look_for,
    reconcile,
)
from lora_prep.trainers.resolve import adopt_prediction, resolve_not_submitted, resolve_with
from lora_prep.trainers.room import wait_for_room
from lora_prep.trainers.submissions import (
    OVER,
    Archived,
    Claimed,
    Ended,
    Free,
    InFlight,
    Intent,
    State,
    Submission,
    Unknown,
)
from lora_prep.trainers.submit import Submitted, find_existing, submit_once, submit_or_follow
from lora_prep.trainers.wait import FRESH_S, Pace, Waiting, Watch, poll, wait_for_end
from lora_prep.trainers.webhooks import check_webhook

__all__ = [
    "FRESH_S",
    "OFFICIAL_ORIGIN",
    "OVER",
    "PRIVACY_OF_UPLOADS",
    "TRAINERS",
    "UPLOADS_LIVE",
    "WAN_14B_TRAINER",
    "Absent",
    "Archived",
    "Candidates",
    "Cannot",
    "Changed",
    "Charge",
    "Claimed",
    "Ended",
    "Found",
    "Free",
    "InFlight",
    "Intent",
    "Ledger",
    "Location",
    "Month",
    "Pace",
    "Parameter",
    "Released",
    "State",
    "Submission",
    "Submitted",
    "TokenBucket",
    "Trainer",
    "TrainerClient",
    "Unknown",
    "Waiting",
    "Waits",
    "Watch",
    "adopt_prediction",
    "by_month",
    "check_budget",
    "check_parameters",
    "check_same_trainer",
    "check_trainer_server",
    "check_webhook",
    "differences",
    "find_existing",
    "key_for",
    "look_for",
    "origin_of",
    "poll",
    "reaches",
    "reconcile",
    "resolve_not_submitted",
    "resolve_with",
    "role_of_output",
    "submit_once",
    "submit_or_follow",
    "trainer_of",
    "upload_to_provider",
    "wait_for_end",
    "wait_for_room",
    "with_overrides",
]
