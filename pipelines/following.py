"""A training that was submitted, to its end: asked about for as long as it goes on."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from lora_prep.archive import KEPT_FOR, ArchiveState, find_archived, note_submitted, read_journal
from lora_prep.errors import (
    CredentialsError,
    DatasetNotFetched,
    LoraPrepError,
    ResultExpired,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.trainers import State, Submission, Waiting, Watch, adopt_prediction, poll
from pipelines.backends import Backends
from pipelines.cleaning import give_up
from pipelines.runs import Run, run_by_id
from pipelines.values import Training

__all__ = ["follow", "has_it_after_all", "look", "take_up"]


def follow(
    run: Run,
    submission: Submission,
    backends: Backends,
    on_event: Listener = ignore,
) -> Training:
    """Wait for the end of a training that was submitted, by this run or another one.

    Raises:
        TrainingFailed, ResultExpired: it has ended for good; its zip is deleted.
        TemporaryError, CredentialsError: it may go on; ask again.
    """
    watch = None
    while True:
        now_s = time.monotonic()
        found = look(run, submission, backends, watch, now_s=now_s, on_event=on_event)
        if isinstance(found, Training):
            return found
        watch = found.watch
        time.sleep(found.pause_s)


def look(
    run: Run,
    submission: Submission,
    backends: Backends,
    watch: Watch | None = None,
    *,
    now_s: float,
    on_event: Listener = ignore,
) -> Training | Waiting:
    """Ask once for the end of a training; watch: of the last look, None for the first one.

    now_s: on any clock that goes on from look to look.

    Raises: as `follow`.
    """
    ledger, client, intent = backends.ledger, backends.trainer, submission.intent
    prediction_id = submission.prediction_id or ""
    if watch is None:
        done = submission.state is State.ARCHIVED
        if done or (submission.state is State.COMPLETED and _is_archived(submission, backends)):
            return Training(run, submission, None)
        asked = {"model": intent.model, "prediction_id": prediction_id}
        run.update(status="submitted", training=asked)
        note_submitted(run.path / "lora", prediction_id)
        usual_s = ledger.expected_s(intent.origin, intent.model, intent.parameters)
        watch = Watch(now_s, backends.pace.min_s, usual_s)
    try:
        found = poll(client, prediction_id, backends.pace, watch, now_s=now_s, on_event=on_event)
    except (ResultExpired, TrainingFailed) as error:
        if _is_downloaded(run, prediction_id):  # the provider is not needed any more
            ledger.completed(submission.key)
            done_here = Prediction(prediction_id, intent.model, PredictionStatus.COMPLETED)
            return Training(run, submission, done_here)
        if isinstance(error, ResultExpired) and intent.account not in ("", client.account):
            raise _another_key(prediction_id) from error
        _ended(run, submission, backends, error, on_event)
        raise
    if isinstance(found, Waiting):
        return found
    if ledger.completed(submission.key):
        on_event(Event("train", "the training has completed", kind="done"))
    run.update(
        status="completed",
        training={"model": found.model or intent.model},
        expires_at=((found.created_at or datetime.now(UTC)) + KEPT_FOR).isoformat(),
    )
    return Training(run, submission, found)


def has_it_after_all(submission: Submission, backends: Backends) -> bool:
    """Whether the trainer has the LoRA of a training that was taken for lost.

    An id that it did not know for a while is one; asking costs nothing, another training does.
    """
    if submission.state is not State.FAILED or not submission.prediction_id:
        return False
    try:
        prediction = backends.trainer.result(submission.prediction_id)
    except LoraPrepError:
        return False
    return prediction.status is PredictionStatus.COMPLETED and bool(prediction.outputs)


def take_up(
    prediction_id: str, run: Run, backends: Backends, on_event: Listener = ignore
) -> Training:
    """Return a training by its prediction, also one that was submitted elsewhere.

    run: the run that takes part in it when no run of this machine has it.

    Raises:
        ResultExpired, TrainingFailed: there is nothing to fetch.
        TemporaryError, CredentialsError: the trainer gives no answer.
    """
    submission = adopt_prediction(backends.ledger, backends.trainer, prediction_id, run_id=run.id)
    owner = run_by_id(submission.intent.run_id) or run
    with owner.alone():
        return follow(owner, submission, backends, on_event)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _ended(
    run: Run,
    submission: Submission,
    backends: Backends,
    error: LoraPrepError,
    on_event: Listener,
) -> None:
    refused = isinstance(error, DatasetNotFetched)
    backends.ledger.failed(submission.key, f"{error.what} {error.why}", refused=refused)
    give_up(run, backends.store, error, on_event, submission)


def _is_downloaded(run: Run, prediction_id: str) -> bool:
    """Whether every file came before a crash, so that only the bucket is missing."""
    journal = read_journal(run.path / "lora")
    return (
        journal is not None
        and journal.prediction_id == prediction_id
        and journal.has(ArchiveState.DOWNLOADED)
    )


def _is_archived(submission: Submission, backends: Backends) -> bool:
    """Whether all but the last note of archiving it was done before a crash."""
    return bool(find_archived(backends.store, submission.intent.run_id))


def _another_key(prediction_id: str) -> CredentialsError:
    return CredentialsError(
        f"The trainer does not show the training {prediction_id} to this key.",
        why="It was submitted with another key, and keys see their own trainings only.",
        fix="Use the key it was submitted with.",
    )
