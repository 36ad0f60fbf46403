"""Wait for a training to end, through every hiccup of the network."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace

from lora_prep.errors import (
    DatasetNotFetched,
    NoOutputs,
    ResultExpired,
    TemporaryError,
    TooManyRequests,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.redaction import redacted
from lora_prep.trainers.client import TrainerClient

__all__ = [
    "FRESH_S",
    "TIMED_OUT",
    "Pace",
    "Waiting",
    "Watch",
    "failure_of",
    "poll",
    "wait_for_end",
]

logger = logging.getLogger(__name__)

GROWTH = 1.5
JITTER = 0.1  # share of the interval, so that many clients do not ask in step
FRESH_S = 60.0
"""A provider may not find an id it has just given out: that long a 404 is not the end."""
NOT_FETCHED = 1402  # the provider's code for a data URL that it could not fetch
TIMED_OUT = 5004  # its code for a time-out, which may be that of a request and not of the training


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to ask and how long to wait, s: from min_s, growing, to max_s; wait_s in all.

    fresh_s: how long an id that the trainer does not know may be one that it does not list yet, or
    one that it misses for a moment.
    """

    min_s: float
    max_s: float
    wait_s: float
    fresh_s: float = FRESH_S


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered between two polls of a training; JSON-shaped, so that it can be kept.

    began_s, missed_s: on the clock of its caller, when it began and since when the trainer does not
    know the id; interval_s: until the next poll; expected_s: how long such trainings took before,
    which is only said; asked_again, said_unknown: done once only.
    """

    began_s: float
    interval_s: float
    expected_s: float | None = None
    missed_s: float | None = None
    asked_again: bool = False
    said_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The training has not ended: ask again in `pause_s`."""

    watch: Watch
    pause_s: float


def poll(
    client: TrainerClient,
    prediction_id: str,
    pace: Pace,
    watch: Watch,
    *,
    now_s: float,
    on_event: Listener = ignore,
) -> Prediction | Waiting:
    """Ask once, and return the training when it has completed, else what to ask again with.

    Failures to get an answer are no failures of the training: they are waited out. A state that
    nobody knows is waited out too, since taking it for the end would invite a second payment.

    Raises: as `wait_for_end`.
    """
    waited_s = now_s - watch.began_s
    pause_s = watch.interval_s
    usually = f", usually {_spoken(watch.expected_s)}" if watch.expected_s else ""
    try:
        prediction = client.result(prediction_id)
    except ResultExpired:
        watch = watch if watch.missed_s is not None else replace(watch, missed_s=now_s)
        if now_s - (watch.missed_s or 0) >= min(pace.fresh_s, pace.wait_s):
            raise
        word = "not known to the trainer, asking again"
    except TemporaryError as error:
        if waited_s > pace.wait_s:
            raise
        if isinstance(error, TooManyRequests) and error.retry_after_s:
            pause_s = max(pause_s, min(error.retry_after_s, pace.wait_s - waited_s))
        logger.info("%s %s", error.what, error.why)
        word = "no answer, asking again"
    else:
        watch = replace(watch, missed_s=None)
        if prediction.status.terminal:
            if prediction.error_code != TIMED_OUT or watch.asked_again:
                return _completed(prediction)
            watch = replace(watch, asked_again=True)
        if prediction.status is PredictionStatus.UNKNOWN and not watch.said_unknown:
            logger.warning("the trainer reports a state we do not know; still waiting")
            watch = replace(watch, said_unknown=True)
        word = f"{prediction.status.value}{usually}"
    if waited_s > pace.wait_s:
        raise _not_ended(prediction_id, pace)
    on_event(Event("train", word, done=round(waited_s), unit="s"))
    pause_s *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
    grown = min(watch.interval_s * GROWTH, pace.max_s)
    return Waiting(replace(watch, interval_s=grown), pause_s)


def wait_for_end(
    client: TrainerClient,
    prediction_id: str,
    pace: Pace,
    on_event: Listener = ignore,
    *,
    expected_s: float | None = None,
) -> Prediction:
    """Ask until the training has completed and return it with its outputs.

    expected_s: how long such trainings took before (`Ledger.expected_s`); it is only said.

    Raises:
        DatasetNotFetched: the provider could not fetch the data URL (its code 1402).
        NoOutputs: it is called completed, and names no file.
        TrainingFailed: it ended without a result in another way.
        ResultExpired: the trainer does not know the id.
        TemporaryError: it had not ended after `pace.wait_s`.
        CredentialsError: the key was refused.
    """
    watch = Watch(time.monotonic(), pace.min_s, expected_s)
    while True:
        now_s = time.monotonic()
        found = poll(client, prediction_id, pace, watch, now_s=now_s, on_event=on_event)
        if isinstance(found, Prediction):
            return found
        watch = found.watch
        time.sleep(found.pause_s)


def _not_ended(prediction_id: str, pace: Pace) -> TemporaryError:
    return TemporaryError(
        f"The training {prediction_id} has not ended.",
        why=f"Waited {pace.wait_s:.0f} s, the setting trainer.wait_s.",
        fix=f"It goes on at the provider: lora-prep archive {prediction_id}",
    )


def _completed(prediction: Prediction) -> Prediction:
    if prediction.status is PredictionStatus.COMPLETED and prediction.outputs:
        return prediction
    raise failure_of(prediction)


def failure_of(prediction: Prediction) -> TrainingFailed:
    """Return why a training that has ended gave no LoRA."""
    what = f"The training {prediction.id} ended without a LoRA."
    fix = "Failed trainings are said to be refunded; correct the cause and run again."
    if prediction.status is PredictionStatus.COMPLETED:
        return NoOutputs(what, why="It is called completed, but names no file.", fix=fix)
    words = redacted(prediction.error) or "The provider gives no reason."
    why = f"{words} (status {prediction.status}, code {_code(prediction.error_code)})"
    kind = DatasetNotFetched if prediction.error_code == NOT_FETCHED else TrainingFailed
    return kind(what, why=why, fix=fix)


def _code(code: int) -> str:
    return str(code) if abs(code) < 10**9 else "unreadable"  # Python prints no endless numbers


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
