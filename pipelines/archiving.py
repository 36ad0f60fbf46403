"""The end of the way: the LoRA in the user's own bucket, verified; the photos deleted from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lora_prep import __version__
from lora_prep.addresses import is_loopback
from lora_prep.archive import (
    How,
    Limits,
    TrainingFacts,
    archive_lora,
    find_archived,
    note_cleaned,
    put_back,
    starts_over,
)
from lora_prep.errors import (
    ArchiveError,
    LoraBroken,
    LoraPrepError,
    ResultExpired,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.guard import Guard
from lora_prep.model import Lora, Prediction
from lora_prep.settings import Settings
from lora_prep.trainers import Submission, wait_for_end
from pipelines.backends import PROVIDER, Backends
from pipelines.cleaning import delete_datasets, give_up
from pipelines.runs import Run, run_by_id
from pipelines.values import Result, Training

__all__ = ["FOLDER", "archive", "how_to_archive"]

FOLDER = "lora"  # of the local copies, in the run's own


def archive(training: Training, backends: Backends, on_event: Listener = ignore) -> Result:
    """Fetch, verify and keep the LoRA in the bucket, then delete the data set's zip from it.

    It can be repeated until it succeeds: what lies in the bucket already is not sent again.

    Raises:
        ResultExpired, LoraBroken: nothing will come of this training; its zip is deleted.
        LoraInvalid, ArchiveError: the LoRA could not be fetched or verified.
        StorageError, CredentialsError: the bucket failed.
        TemporaryError: another process works on the run.
    """
    with training.run.alone():
        return _kept(training, backends, on_event)


# ── parts ──────────────────────────────────────────────────────────────────────────────────────


def _kept(training: Training, backends: Backends, on_event: Listener) -> Result:
    run, submission, store = training.run, training.submission, backends.store
    run.update(dataset={})  # a training from elsewhere has a run from here on
    with run.timed("archive"):
        try:
            loras = _archived(training, backends, on_event)
        except (ResultExpired, LoraBroken) as error:
            # Nothing will come of it any more: no need of the photos, and it may be trained again.
            backends.ledger.failed(submission.key, f"{error.what} {error.why}")
            give_up(run, store, error, on_event, submission)
            raise
    result = Result(run, loras, reused=submission.intent.run_id != run.id)
    archived = [lora.to_json() for lora in loras]
    backends.ledger.archived(submission.key, archived)
    run.update(
        status="archived", error=None, expires_at=None, rehearsal=result.rehearsal, loras=archived
    )
    for lora in loras:
        facts = lora.facts.words
        checked = "read back" if backends.settings.store.verify == "read" else "its length checked"
        words = f"verified and {checked}" if training.prediction else "archived before"
        message = f"a LoRA of {facts} is in the bucket, {words}"
        on_event(Event("archive", message, kind="done"))
    delete_datasets(run, store, on_event, submission)
    note_cleaned(run.path / FOLDER)
    if backends.settings.trainer.purge_remote and submission.prediction_id:
        _purge(submission.prediction_id, backends, on_event)
    return result


def _archived(training: Training, backends: Backends, on_event: Listener) -> tuple[Lora, ...]:
    run, submission, store = training.run, training.submission, backends.store
    owner = submission.intent.run_id
    prediction = training.prediction
    if prediction is None:
        over = starts_over(_folder_of(training))
        loras = () if over else find_archived(store, owner)
        if loras := loras or _put_back(training, backends, on_event):
            return loras
        try:
            prediction = _asked_again(submission, backends, on_event)
        except ArchiveError:
            if over and (loras := find_archived(store, owner)):
                return loras  # nobody else has it any more
            raise

    def ask() -> Prediction:
        # A dead link is not the end while the provider has the training: it gives another one.
        return wait_for_end(backends.trainer, prediction.id, backends.pace, on_event)

    return archive_lora(
        prediction,
        _training_facts(submission, run, backends.settings),
        run_id=owner,
        store=store,
        folder=run.path / FOLDER,
        how=how_to_archive(backends, ask),
        on_event=on_event,
    )


def _folder_of(training: Training) -> Path:
    """Return where the local copies of a training lie: with the run that it belongs to."""
    return (run_by_id(training.submission.intent.run_id) or training.run).path / FOLDER


def _put_back(training: Training, backends: Backends, on_event: Listener) -> tuple[Lora, ...]:
    """Archive the local copy of what the bucket has lost; () where there is none."""
    submission, folder = training.submission, _folder_of(training)
    run = run_by_id(submission.intent.run_id) or training.run
    with run.alone():
        if not folder.exists():
            return ()
        why = "once more" if starts_over(folder) else "it is not in the bucket"
        _say(on_event, "archive", f"{why}: looking for the copy on this machine")
        return put_back(
            _training_facts(submission, run, backends.settings),
            run_id=submission.intent.run_id,
            store=backends.store,
            folder=folder,
            how=how_to_archive(backends),
            on_event=on_event,
        )


def _asked_again(submission: Submission, backends: Backends, on_event: Listener) -> Prediction:
    """Ask the provider for what was archived and is neither in the bucket nor here."""
    try:
        return wait_for_end(
            backends.trainer, submission.prediction_id or "", backends.pace, on_event
        )
    except (ResultExpired, TrainingFailed) as error:
        raise ArchiveError(
            f"The LoRA that the run {submission.intent.run_id} archived is not in the bucket "
            f"{backends.store.access.bucket}.",
            why="It was moved or deleted, or another bucket is set now; this machine has no copy, "
            "and the provider keeps none any more.",
            fix="Set the bucket it is in, or train it once more with --again.",
        ) from error


def how_to_archive(backends: Backends, ask: Callable[[], Prediction] | None = None) -> How:
    """Return what the settings say of archiving.

    A hosted trainer's links may lead anywhere but into a private network; a trainer of the user's
    own may itself be in one.
    """
    wanted, trainer_url = backends.settings.archive, backends.trainer.base_url
    return How(
        limits=Limits(
            max_bytes=int(wanted.max_gb * 1e9),
            connect_timeout_s=wanted.connect_timeout_s,
            read_timeout_s=wanted.read_timeout_s,
            pause_min_s=wanted.retry_min_s,
            pause_max_s=wanted.retry_max_s,
        ),
        guard=Guard(
            closed=not is_loopback(trainer_url),
            trusted=urlsplit(trainer_url).hostname or "",
            proxies=True,
        ),
        verify=backends.settings.store.verify,
        ask=ask,
    )


def _purge(prediction_id: str, backends: Backends, on_event: Listener) -> None:
    """Delete the training at the provider; what fails is said, for the LoRA is safe already."""
    try:
        count = backends.trainer.delete_predictions([prediction_id])
    except LoraPrepError as error:
        words = f"the training is still at the provider: {error.what} {error.why}"
        on_event(Event("clean", words, kind="warning"))
    else:
        words = "is deleted at the provider" if count else "was not at the provider any more"
        on_event(Event("clean", f"the training {words}", kind="done"))


def _training_facts(submission: Submission, run: Run, settings: Settings) -> TrainingFacts:
    record = run.record()
    intent, dataset = submission.intent, record.get("dataset", {})
    asked = record.get("training", {}) | dict(intent.parameters)
    return TrainingFacts(
        provider=PROVIDER,
        model=intent.model,
        trigger_word=asked.get("trigger_word"),
        steps=asked.get("steps"),
        dataset_sha256=intent.dataset_sha256 or dataset.get("sha256"),
        images=dataset.get("images"),
        tool_version=__version__,
        image_sha256=_image_sha256(run),
        parameters=dict(intent.parameters),
        settings_sha256=_settings_sha256(settings),
    )


def _settings_sha256(settings: Settings) -> str:
    """Return what tells one set of settings from another; pydantic hides the secrets itself."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()


def _image_sha256(run: Run) -> tuple[str, ...]:
    """Return the hash of each picture that was sent; () where the run has no manifest."""
    try:
        entries = json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))["images"]
        return tuple(entry["sha256"] for entry in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _say(on_event: Listener, stage: Any, message: str) -> None:
    on_event(Event(stage, message, kind="note"))
