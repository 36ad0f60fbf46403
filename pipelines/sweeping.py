"""Look for trainings that have completed and are not archived, before the provider forgets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from lora_prep.archive import KEPT_FOR, Archive, archives, spoken
from lora_prep.errors import LoraPrepError, TemporaryError
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.settings import Settings
from lora_prep.trainers import State, adopt_prediction, with_overrides
from pipelines.archiving import archive
from pipelines.backends import Backends
from pipelines.following import take_up
from pipelines.runs import Run, new_run, run_by_id
from pipelines.values import Result

__all__ = ["Swept", "sweep"]


@dataclass(frozen=True, slots=True)
class Swept:
    """One training that was found at the provider: its result, or why there is none.

    left_to: the run that it belongs to, which keeps its LoRA in another bucket, or which another
    process works on just now; `resume` archives it.
    """

    prediction_id: str
    result: Result | None = None
    error: LoraPrepError | None = None
    left_to: str | None = None


def sweep(backends: Backends, on_event: Listener = ignore) -> tuple[Swept, ...]:
    """Archive every completed training of the account that is in no archive yet, the oldest first.

    One that cannot be archived keeps no other from it.

    Raises:
        TemporaryError, CredentialsError, ConfigurationError: the provider's list cannot be read.
        StorageError: the bucket's archives cannot be listed.
    """
    swept = []
    for prediction in _unarchived(backends):
        left = _left(prediction)
        on_event(Event("archive", f"{prediction.id} is not archived, {left}", kind="note"))
        swept.append(_archived(prediction, backends, on_event))
    return tuple(swept)


def _left(prediction: Prediction) -> str:
    if prediction.created_at is None:
        return "and it does not say until when it is kept"
    return f"{spoken(prediction.created_at + KEPT_FOR - datetime.now(UTC))} are left"


def _unarchived(backends: Backends) -> Iterator[Prediction]:
    models = set(with_overrides(backends.settings.trainer.models))
    since = datetime.now(UTC) - KEPT_FOR
    listed = (one.prediction for one in backends.trainer.all_predictions(created_after=since))
    completed = [
        one for one in listed if one.status is PredictionStatus.COMPLETED and one.model in models
    ]
    completed.sort(key=lambda one: one.created_at or since)
    unknown = [one for one in completed if not _known(one, backends)]
    # Another machine may have archived it, under a run of its own.
    in_bucket = _in_bucket(backends) if unknown else set()
    yield from (one for one in unknown if one.id not in in_bucket)


def _known(prediction: Prediction, backends: Backends) -> bool:
    submission = backends.ledger.of_prediction(backends.trainer.origin, prediction.id)
    return submission is not None and submission.state is State.ARCHIVED


def _in_bucket(backends: Backends) -> set[str]:
    return {
        str(one.training.get("prediction_id"))
        for one in archives(backends.store)
        if isinstance(one, Archive)
    }


def _archived(prediction: Prediction, backends: Backends, on_event: Listener) -> Swept:
    fresh = new_run()
    try:
        submission = adopt_prediction(
            backends.ledger, backends.trainer, prediction.id, run_id=fresh.id
        )
        run = run_by_id(submission.intent.run_id)
        if run and (_keeps_elsewhere(run, backends.settings) or _is_busy(run)):
            return Swept(prediction.id, left_to=run.id)
        training = take_up(prediction.id, fresh, backends, on_event)
        return Swept(prediction.id, archive(training, backends, on_event))
    except LoraPrepError as error:
        return Swept(prediction.id, error=error)


def _keeps_elsewhere(run: Run, settings: Settings) -> bool:
    """Whether a run was opened with another bucket than the one that is open now."""
    opened = run.record().get("opened", {}).get("store", {})
    names = ("url", "endpoint_url")
    return bool(opened) and any(opened.get(name) != getattr(settings.store, name) for name in names)


def _is_busy(run: Run) -> bool:
    try:
        with run.alone():
            return False
    except TemporaryError:
        return True
