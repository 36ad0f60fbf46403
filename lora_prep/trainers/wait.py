"""Wait for a training to end, through every hiccup of the network."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass

from lora_prep.errors import ResultExpired, TemporaryError, TrainingFailed
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.redaction import redacted
from lora_prep.trainers.client import TrainerClient

__all__ = ["FRESH_S", "Pace", "wait_for_end"]

logger = logging.getLogger(__name__)

GROWTH = 1.5
JITTER = 0.1  # share of the interval, so that many clients do not ask in step
FRESH_S = 60.0
"""A provider may not find an id it has just given out: that long a 404 is not the end."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to ask and how long to wait, s: from min_s, growing, to max_s; wait_s in all."""

    min_s: float
    max_s: float
    wait_s: float


def wait_for_end(
    client: TrainerClient,
    prediction_id: str,
    pace: Pace,
    on_event: Listener = ignore,
    *,
    fresh_s: float = 0,
) -> Prediction:
    """Ask until the training has completed and return it with its outputs.

    For `fresh_s` seconds an id that the trainer does not know counts as not listed yet.

    Failures to get an answer are no failures of the training: they are waited out. A state that
    nobody knows is waited out too, since taking it for the end would invite a second payment.

    Raises:
        TrainingFailed: it ended without a result.
        ResultExpired: the trainer does not know the id.
        TemporaryError: it had not ended after `pace.wait_s`.
        CredentialsError: the key was refused.
    """
    began = time.monotonic()
    interval_s = pace.min_s
    said_unknown = False
    while True:
        waited_s = time.monotonic() - began
        try:
            prediction = client.result(prediction_id)
        except ResultExpired:
            if waited_s >= min(fresh_s, pace.wait_s):
                raise
            word = "not listed yet"
        except TemporaryError as error:
            if waited_s > pace.wait_s:
                raise
            logger.info("%s %s", error.what, error.why)
            word = "no answer, asking again"
        else:
            if prediction.status.terminal:
                return _completed(prediction)
            if prediction.status is PredictionStatus.UNKNOWN and not said_unknown:
                logger.warning("the trainer reports a state we do not know; still waiting")
                said_unknown = True
            word = prediction.status.value
        if waited_s > pace.wait_s:
            raise TemporaryError(
                f"The training {prediction_id} has not ended.",
                why=f"Waited {pace.wait_s:.0f} s, the setting trainer.wait_s.",
                fix=f"It goes on at the provider: lora-prep archive {prediction_id}",
            )
        on_event(Event("train", word, done=round(waited_s), unit="s"))
        time.sleep(interval_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311  no secret
        interval_s = min(interval_s * GROWTH, pace.max_s)


def _completed(prediction: Prediction) -> Prediction:
    if prediction.status is PredictionStatus.COMPLETED and prediction.outputs:
        return prediction
    if prediction.status is PredictionStatus.COMPLETED:
        why = "It is called completed, but names no file."
    else:
        words = redacted(prediction.error) or "The provider gives no reason."
        why = f"{words} (status {prediction.status}, code {prediction.error_code})"
    raise TrainingFailed(
        f"The training {prediction.id} ended without a LoRA.",
        why=why,
        fix="Failed trainings are said to be refunded; correct the cause and run again.",
    )
