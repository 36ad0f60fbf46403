"""From a zip to a training that has completed: asked for once, whoever asks and however often.

Before anything is uploaded the ledger is asked whether the same was submitted before; what is in
flight is followed, what is archived is returned, what is lost is looked for. Only then the price is
asked, the zip uploaded and one request sent.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from lora_prep.errors import (
    ConfigurationError,
    DatasetNotFetched,
    LoraPrepError,
    SubmissionUnknown,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import TrainingRequest
from lora_prep.trainers import (
    Archived,
    InFlight,
    Intent,
    Ledger,
    State,
    Submission,
    Submitted,
    find_existing,
    submit_or_follow,
    wait_for_room,
)
from pipelines.backends import PROVIDER, Backends, request_for
from pipelines.cleaning import delete_datasets, give_up, surely_unsent
from pipelines.following import follow
from pipelines.pricing import Approve, approved
from pipelines.runs import Run, cancelled
from pipelines.uploading import put_dataset, request_of
from pipelines.values import Quote, Training, Upload

__all__ = [
    "archived_run",
    "dataset_sha256",
    "find",
    "go_on_after",
    "may_submit_once_more",
    "no_dataset",
    "obtain",
    "once_more",
    "send",
    "submit",
]

ATTEMPTS = 2  # submissions of a run: a second one where the first was refused


def obtain(
    run: Run,
    path: Path,
    sha256: str,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    again: bool = False,
    approve: Approve | None = None,
) -> Training:
    """Return the training of a zip: one that was asked for before, else a new one.

    path: of the zip, which is read only for a new one; sha256: what it has or had.

    Raises:
        Declined: it is too dear, or `approve` refused it.
        NeedsAttention, SubmissionUnknown: an answer is lost, and it may be running.
        TrainingFailed, ResultExpired: it ended without a LoRA.
        TemporaryError, CredentialsError, StorageError, ConfigurationError: nothing was accepted.
    """
    try:
        if existing := find(run, sha256, backends, on_event, again=again):
            return _followed(run, existing, backends, on_event)
    except DatasetNotFetched as error:
        once_more(run, path, backends, error, on_event)
    if not path.exists():
        raise no_dataset(run)
    quote = approved(backends, approve)
    upload = put_dataset(run, path, sha256, backends, on_event)
    return _submit_and_follow(upload, backends, on_event, again=again, quote=quote)


def find(
    run: Run, sha256: str, backends: Backends, on_event: Listener = ignore, *, again: bool = False
) -> Submission | None:
    """Return who asked for the same before, this run or another one; None: nobody, or in vain.

    What was lost on the way is looked for. `again`: only this run's own counts.

    Raises: as `obtain`, before the submission.
    """
    attempt = backends.ledger.attempt_of(run.id)
    intent = _intent(Upload(run, sha256, attempt), backends, None)
    existing = find_existing(
        backends.ledger, backends.trainer, intent, backends.waits, again=again, on_event=on_event
    )
    if not isinstance(existing, Archived | InFlight):
        return None
    return _joined(run, existing, backends, on_event)


def no_dataset(run: Run) -> ConfigurationError:
    """Return the error of a run that has nothing to submit."""
    return ConfigurationError(
        f"The run {run.id} has no data set to submit.",
        why="It was broken off before its photos were prepared, or its zip was made elsewhere.",
        fix="Begin again with: lora-prep run FOLDER",
    )


def submit(
    upload: Upload,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    again: bool = False,
    approve: Approve | None = None,
) -> Training:
    """Submit a training for an upload, once, and wait for its end.

    Raises: as `obtain`.
    """
    with upload.run.alone():
        quote = approved(backends, approve)
        return _submit_and_follow(upload, backends, on_event, again=again, quote=quote)


def archived_run(run: Run, backends: Backends) -> str | None:
    """Return the run that has archived what a prepared run asks for; None: it is new."""
    upload = Upload(run, run.record()["dataset"]["sha256"], 1)
    found = backends.ledger.look(_intent(upload, backends, None))
    return found.submission.intent.run_id if isinstance(found, Archived) else None


def send(
    upload: Upload,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    again: bool = False,
    quote: Quote,
) -> Submission:
    """Submit a training, once, and return what the run waits for from now on.

    Raises: as `obtain`.
    """
    outcome = _submitted(upload, backends, on_event, again=again, quote=quote)
    return _joined(upload.run, outcome, backends, on_event)


def go_on_after(
    submission: Submission,
    run: Run,
    path: Path,
    backends: Backends,
    on_event: Listener = ignore,
) -> None:
    """Do what a crash left undone when a training had ended without a LoRA, and raise that it has.

    It returns where the data URL could not be fetched and the run may submit once more.

    Raises:
        TrainingFailed: it has ended for good; its zip is deleted.
    """
    ended = TrainingFailed(
        f"The training of the run {run.id} has ended without a LoRA.",
        why=submission.reason or f"It is {submission.state.value}.",
        fix="Begin again with: lora-prep run FOLDER",
    )
    give_up(run, backends.store, ended, on_event, submission)
    refused = submission.state is State.REFUSED
    if not (refused and may_submit_once_more(run, path, backends.ledger)):
        raise ended
    run.update(status="prepared", error=None)


def dataset_sha256(run: Run, path: Path, submission: Submission | None) -> str:
    """Return the hash of a run's zip, which may be gone once it was submitted.

    Raises:
        ConfigurationError: there is none.
    """
    if path.exists():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if submission is None:
        raise no_dataset(run)
    return submission.intent.dataset_sha256


def may_submit_once_more(run: Run, path: Path, ledger: Ledger) -> bool:
    """Whether a run may submit again what was refused, never a third time; path: of its zip."""
    return path.exists() and ledger.attempt_of(run.id) <= ATTEMPTS


def once_more(
    run: Run, path: Path, backends: Backends, error: DatasetNotFetched, on_event: Listener = ignore
) -> None:
    """Let a run whose data URL could not be fetched submit a second time, and no third one.

    Raises:
        DatasetNotFetched: it has been submitted twice; `error` itself.
    """
    if not may_submit_once_more(run, path, backends.ledger):
        raise error
    delete_datasets(run, backends.store, on_event)  # the next one has a key of its own
    message = f"{error.why} Uploading and submitting it once more."
    on_event(Event("train", message, kind="warning"))
    run.update(status="prepared", error=None)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _submit_and_follow(
    upload: Upload, backends: Backends, on_event: Listener, *, again: bool, quote: Quote
) -> Training:
    """Submit and wait; a data URL that could not be fetched is made anew and submitted once more.

    That was a refusal (the provider's code 1402), so the second one has a key of its own.
    """
    run = upload.run
    try:
        submission = send(upload, backends, on_event, again=again, quote=quote)
        return _followed(run, submission, backends, on_event)
    except DatasetNotFetched as error:
        if upload.path is None:
            raise
        once_more(run, upload.path, backends, error, on_event)
        fresh = put_dataset(run, upload.path, upload.sha256, backends, on_event)
    submission = send(fresh, backends, on_event, again=again, quote=quote)
    return _followed(run, submission, backends, on_event)


def _followed(run: Run, submission: Submission, backends: Backends, on_event: Listener) -> Training:
    with run.timed("train"):
        return follow(run, submission, backends, on_event)


def _submitted(
    upload: Upload, backends: Backends, on_event: Listener, *, again: bool, quote: Quote
) -> Submitted | InFlight | Archived:
    """Submit, or find who did. Where nothing was accepted the zip is deleted from the bucket.

    The data URL is signed right before it is sent, so that its life is not spent waiting. Where
    the answer is lost the zip stays, since the training may be running.
    """
    run, settings, waits = upload.run, backends.settings, backends.waits
    intent = _intent(upload, backends, quote.price_usd)
    run.update(status="submitting", training=_facts(intent, backends))
    try:
        if not intent.rehearsal:  # the embedded trainer lets them queue
            wait_for_room(
                backends.ledger,
                backends.trainer,
                settings.trainer.in_flight,
                waits,
                partial(_unless_cancelled, run, on_event),
                but_for=intent.key,
                fresh_s=backends.pace.fresh_s,
            )
        return submit_or_follow(
            backends.ledger,
            backends.trainer,
            intent,
            lambda: _request(upload, backends, on_event),
            waits,
            again=again,
            webhook=settings.trainer.webhook,
            on_event=on_event,
        )
    except SubmissionUnknown:
        raise
    except LoraPrepError as error:
        if surely_unsent(run, backends.ledger):
            give_up(run, backends.store, error, on_event)
        raise


def _unless_cancelled(run: Run, on_event: Listener, event: Event) -> None:
    """Pass on what is said while a run waits; one that was cancelled waits no longer."""
    if run.is_cancelled:
        raise cancelled(run.id)
    on_event(event)


def _request(upload: Upload, backends: Backends, on_event: Listener) -> TrainingRequest:
    """Return the request; the last moment at which a run that was cancelled costs nothing."""
    if upload.run.is_cancelled:
        raise cancelled(upload.run.id)
    return request_of(upload, backends, on_event)


def _joined(
    run: Run, outcome: Submitted | InFlight | Archived, backends: Backends, on_event: Listener
) -> Submission:
    """Record what was found or submitted; a zip that it does not use is deleted."""
    submission = outcome.submission
    theirs = submission.intent.run_id != run.id
    if theirs:
        delete_datasets(run, backends.store, on_event)
        words = "has trained" if isinstance(outcome, Archived) else "is training"
        _say(on_event, "train", f"the run {submission.intent.run_id} {words} the same already")
    facts = _facts(submission.intent, backends)
    run.update(training={**facts, "prediction_id": submission.prediction_id}, reused=theirs)
    if isinstance(outcome, Submitted):
        _say(on_event, "train", f"submitted as {submission.prediction_id}")
    return submission


def _intent(upload: Upload, backends: Backends, price_usd: float | None) -> Intent:
    request = request_for("", backends.settings)
    location = upload.location
    return Intent(
        run_id=upload.run.id,
        attempt=upload.attempt,
        origin=backends.trainer.origin,
        model=request.model,
        parameters=request.parameters,
        dataset_sha256=upload.sha256,
        bucket=location.bucket,
        object_key=location.key,
        account=backends.trainer.account,
        rehearsal=backends.choice.rehearsal,
        price_usd=price_usd,
    )


def _facts(intent: Intent, backends: Backends) -> dict[str, Any]:
    return {
        "provider": PROVIDER,
        "base_url": backends.trainer.base_url,
        "model": intent.model,
        "prediction_id": None,
        **intent.parameters,
        "price_usd": intent.price_usd,
    }


def _say(on_event: Listener, stage: Any, message: str) -> None:
    on_event(Event(stage, message, kind="note"))
