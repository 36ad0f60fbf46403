"""Wait until a trainer has room for one more training."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from lora_prep.addresses import host_and_port
from lora_prep.errors import DatasetNotFetched, LoraPrepError, ResultExpired, TooManyRequests
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import PredictionStatus
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.ledger import Ledger
from lora_prep.trainers.reconcile import Waits
from lora_prep.trainers.submissions import State, Submission
from lora_prep.trainers.wait import FRESH_S, TIMED_OUT, failure_of

__all__ = ["wait_for_room"]

KEPT_FOR = timedelta(days=7)
"""The provider keeps no prediction longer: what was posted before that is in nobody's way."""


def wait_for_room(
    ledger: Ledger,
    client: TrainerClient,
    most: int,
    waits: Waits,
    on_event: Listener = ignore,
    *,
    but_for: str,
    fresh_s: float = FRESH_S,
) -> None:
    """Wait until fewer than `most` trainings of this trainer and key are in flight.

    Only when it is full is the trainer asked what has ended, and the ledger told. Nothing is held:
    two that find the last place both go on. The provider's 429 is the real limit, and submitting
    waits for that too; this spares it requests that it would refuse.

    but_for: the key of the caller's own submission, which may have a row already; fresh_s: as
    `Pace.fresh_s`.

    Raises:
        TooManyRequests: there was no room for `waits.too_many_total_s`.
        TemporaryError: the ledger does not answer.
    """
    until = time.monotonic() + waits.too_many_total_s
    doubted: dict[str, float] = {}
    while len(rows := _in_flight(ledger, client, but_for)) >= most:
        rows = [row for row in rows if not _has_ended(ledger, client, row, doubted, fresh_s)]
        if len(rows) < most:
            return
        if time.monotonic() >= until:
            raise _full(ledger, client, rows, most, waits)
        words = f"{len(rows)} trainings are in flight, at most {most} may be; waiting for room"
        on_event(Event("train", words))
        time.sleep(waits.look_every_s)


def _in_flight(ledger: Ledger, client: TrainerClient, but_for: str) -> list[Submission]:
    since = datetime.now(UTC) - KEPT_FOR
    return [
        row
        for row in ledger.in_flight(client.origin)
        if row.key != but_for
        and row.posted_at >= since
        # The limit is an account's; and to another key its trainings look like expired ones.
        and row.intent.account in {"", client.account}
        # Surely not at the provider, and nobody is left who would send it.
        and not (row.state is State.WAITING and ledger.is_given_up(row))
    ]


def _has_ended(
    ledger: Ledger,
    client: TrainerClient,
    row: Submission,
    doubted: dict[str, float],
    fresh_s: float,
) -> bool:
    """Ask whether a training has ended, and note it in the ledger.

    Noting a failure allows a second payment. So what may be a passing fault of the provider is
    believed when it is told twice: a time-out that may be the request's own, and an id that it does
    not find if that lasts as long as `wait_for_end` would ask for it. `doubted`: since when, by key
    of the submission.
    """
    if row.state is not State.SUBMITTED or row.prediction_id is None:
        return False
    since_s = doubted.get(row.key)
    try:
        prediction = client.result(row.prediction_id)
    except ResultExpired as error:
        missed_s = time.monotonic() - doubted.setdefault(row.key, time.monotonic())
        if since_s is None or missed_s < fresh_s:
            return False
        ledger.failed(row.key, f"{error.what} {error.why}")
        return True
    except LoraPrepError:  # no answer: it counts
        return False
    if prediction.status is PredictionStatus.COMPLETED:
        ledger.completed(row.key)
        return True
    if not prediction.status.terminal:
        doubted.pop(row.key, None)
        return False
    if since_s is not None or prediction.error_code != TIMED_OUT:
        failure = failure_of(prediction)
        refused = isinstance(failure, DatasetNotFetched)
        ledger.failed(row.key, f"{failure.what} {failure.why}", refused=refused)
        return True
    doubted[row.key] = time.monotonic()
    return False


def _full(
    ledger: Ledger, client: TrainerClient, rows: list[Submission], most: int, waits: Waits
) -> TooManyRequests:
    fix = "Run it again when one has ended."
    lost = next((row for row in rows if _is_lost(ledger, row)), None)
    if lost:
        fix += (
            f" One's answer was lost; say what became of it: lora-prep resolve {lost.intent.run_id}"
        )
    return TooManyRequests(
        f"{len(rows)} trainings are in flight at {host_and_port(client.origin)}.",
        why=f"At most {most} may be, and there was no room for {waits.too_many_total_s:.0f} s.",
        fix=fix,
    )


def _is_lost(ledger: Ledger, row: Submission) -> bool:
    """Whether a submission counts only because nobody knows whether it was accepted."""
    return row.state is State.UNKNOWN or (row.state is State.POSTING and ledger.is_given_up(row))
