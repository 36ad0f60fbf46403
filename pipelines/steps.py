"""The whole chain as ordinary calls: each step takes what the one before it returned.

    from pipelines import steps

    dataset = steps.prepare("sample_data/people/ada")     # verdicts, crops, zip
    with steps.connect() as backends:                     # your bucket and trainer, or embedded
        upload = steps.upload(dataset, backends)          # the zip in the bucket
        training = steps.train(upload, backends)          # one submission, then wait
        result = steps.archive(training, backends)        # verified, read back, zip deleted
    print(result.loras[0].object.url, dataset.run.report)

Every step writes what it did to the run's record before it returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lora_prep import __version__
from lora_prep.archive import TrainingFacts, archive_lora
from lora_prep.bundle import pack, write_manifest
from lora_prep.errors import (
    ConfigurationError,
    LoraPrepError,
    ResultExpired,
    SubmissionUnknown,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import (
    Bundle,
    Prediction,
    Selection,
    StoredObject,
    TrainingRequest,
)
from lora_prep.selection import overrides_path, require_enough
from lora_prep.settings import Settings, home_folder, load_settings
from lora_prep.stores import S3Store, dataset_key
from lora_prep.trainers import FRESH_S, WAN_14B_TRAINER, TrainerClient, wait_for_end
from pipelines.backends import Backends, choose, connect
from pipelines.cleaning import delete_dataset, give_up, unsubmitted_is_deleted
from pipelines.preparing import crop_selection, inspect_folder
from pipelines.runs import Run, new_run
from pipelines.telling import dataset_rows, lora_rows, tell, training_rows
from pipelines.values import Dataset, Result, Training, Upload

__all__ = [
    "Dataset",
    "Result",
    "Training",
    "Upload",
    "archive",
    "connect",
    "follow",
    "inspect",
    "plan",
    "prepare",
    "put_dataset",
    "run",
    "submit",
    "train",
    "upload",
]

PROVIDER = "wavespeed"
ZIP = "application/zip"


def inspect(
    folder: str | Path,
    *,
    settings: Settings | None = None,
    run: Run | None = None,
    on_event: Listener = ignore,
) -> Selection:
    """Judge every file of a folder and write the report; a set that is too small is no error here.

    Raises:
        NotAPhotoFolder, NoPhotos: there is nothing to judge.
        MissingDependency: insightface or a system library is missing.
    """
    settings, run, folder = settings or load_settings(), run or new_run(), Path(folder)
    inspected = inspect_folder(folder, settings, on_event)
    selection = inspected.selection
    _record_selection(run, selection)
    crops = crop_selection(run, inspected, settings, on_event)
    tell(run, inspected, crops, outcome=_why_not_enough(selection))
    return selection


def prepare(
    folder: str | Path,
    *,
    settings: Settings | None = None,
    run: Run | None = None,
    on_event: Listener = ignore,
) -> Dataset:
    """Judge, select and crop the photos of a folder, and pack them into a zip.

    Raises:
        DatasetTooSmall, TwoPeople: it is no set of one person; the report shows every photo.
        NotAPhotoFolder, NoPhotos: there is nothing to prepare.
        MissingDependency: insightface or a system library is missing.
    """
    settings, run, folder = settings or load_settings(), run or new_run(), Path(folder)
    with _timed(run, "prepare"):
        inspected = inspect_folder(folder, settings, on_event)
        selection = inspected.selection
        _record_selection(run, selection)
        crops = crop_selection(run, inspected, settings, on_event)
        if outcome := _why_not_enough(selection):
            tell(run, inspected, crops, outcome=outcome)
        require_enough(selection)
        bundle = pack(crops, run.path / "dataset.zip")
        write_manifest(run.path / "manifest.json", bundle, crops, **inspected.to_manifest())
    run.update(status="prepared", dataset=_dataset_facts(bundle))
    tell(run, inspected, crops, dataset_rows(bundle))
    _say(on_event, "prepare", f"{len(crops)} photos cropped, {bundle.size_bytes / 1e6:.1f} MB")
    for sentence in selection.advice:
        _say(on_event, "prepare", sentence)
    return Dataset(run, inspected, crops, bundle)


def plan(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Return what `run` would send for a data set; sends nothing.

    Raises:
        ConfigurationError, TrainerNotAllowed: the settings do not allow a training.
    """
    choice = choose(settings)
    hours = settings.store.presign_hours
    body = _request("", settings).to_body()
    body["data"] = f"(a presigned URL of the data set zip, {hours:g} h)"
    return {
        "dataset": _dataset_facts(dataset.bundle),
        "rehearsal": choice.rehearsal,
        "store": choice.store_url,
        "request": {
            "method": "POST",
            "base_url": "the embedded trainer" if choice.rehearsal else choice.trainer_url,
            "path": f"/api/v3/{WAN_14B_TRAINER}",
            "body": body,
        },
        # Rehearsals cost nothing; no other trainer is asked for its price by this version.
        "price_usd": None,
    }


def upload(dataset: Dataset, backends: Backends, on_event: Listener = ignore) -> Upload:
    """Put the data set's zip into the bucket, under a key of this run's own."""
    run = dataset.run
    on_event(Event("upload", "uploading the zip"))
    with _timed(run, "upload"):
        stored = put_dataset(dataset.bundle.path, dataset.bundle.sha256, run, backends.store)
    _say(on_event, "upload", f"{stored.size_bytes / 1e6:.1f} MB to {stored.bucket}")
    return Upload(dataset, stored)


def put_dataset(path: Path, sha256: str, run: Run, store: S3Store) -> StoredObject:
    """Put a zip into the bucket as a run's data set; the run remembers it, to delete it later."""
    key = store.key(dataset_key(run.id, sha256, datetime.now(UTC)))
    # Recorded before it is sent: a crash in between must not leave photos nobody knows of.
    run.update(dataset={"object": f"s3://{store.access.bucket}/{key}"})
    stored = store.put_file(path, key, sha256=sha256, content_type=ZIP)
    run.update(status="uploaded")
    return stored


def train(upload: Upload, backends: Backends, on_event: Listener = ignore) -> Training:
    """Submit the training once, and wait for its end.

    The data URL is presigned here, right before it is sent, so that its life is not spent waiting.
    When the trainer refuses or fails, the zip is deleted from the bucket; when the answer is lost
    or the wait is broken off it stays, since the training may be running.

    Raises:
        SubmissionUnknown: the request was sent and its answer is lost.
        TrainingFailed: the training ended without a LoRA.
        TemporaryError, CredentialsError: the request was not accepted.
        ConfigurationError: it was refused, or this run has submitted a training before.
    """
    run, settings, store = upload.dataset.run, backends.settings, backends.store
    if run.submitted:
        raise ConfigurationError(
            f"The run {run.id} has submitted a training before.",
            why="A run is one training: a second one would be paid again and mixed with the first.",
            fix="Prepare the photos again for another training.",
        )
    data_url = store.presign(upload.object.key, timedelta(hours=settings.store.presign_hours))
    run.update(dataset={"url_host": data_url.host})
    with _timed(run, "train"):
        try:
            prediction = submit(_request(data_url.url, settings), backends.trainer, run)
        except SubmissionUnknown:
            raise
        except LoraPrepError as error:
            give_up(run, store, error, on_event)
            raise
        _say(on_event, "train", f"submitted as {prediction.id}")
        return follow(run, prediction.id, backends, on_event, fresh_s=FRESH_S)


def follow(
    run: Run,
    prediction_id: str,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    fresh_s: float = 0,
) -> Training:
    """Wait for the end of a training that was submitted, by this command or an earlier one.

    `fresh_s`: how long an unknown id may be one that the trainer has not listed yet.

    Raises:
        TrainingFailed, ResultExpired: it has ended for good; the run's zip is deleted.
        TemporaryError, CredentialsError: it may go on; ask again.
    """
    try:
        prediction = wait_for_end(
            backends.trainer, prediction_id, backends.pace, on_event, fresh_s=fresh_s
        )
    except (TrainingFailed, ResultExpired) as error:
        give_up(run, backends.store, error, on_event)
        raise
    run.update(
        status="completed", training={"prediction_id": prediction_id, "model": prediction.model}
    )
    return Training(run, prediction)


def submit(request: TrainingRequest, trainer: TrainerClient, run: Run) -> Prediction:
    """Send one training and record its id before anything else happens."""
    facts = {
        "provider": PROVIDER,
        "base_url": trainer.base_url,
        "model": request.model,
        "prediction_id": None,
        "trigger_word": request.trigger_word,
        "steps": request.steps,
        "price_usd": None,
    }
    run.update(status="submitting", training=facts)
    prediction = trainer.submit(request)
    run.update(status="submitted", training={"prediction_id": prediction.id})
    return prediction


def opened(settings: Settings) -> dict[str, Any]:
    """Return what finds the same trainer and bucket again, whatever is set then; no secrets."""
    return {"trainer_url": choose(settings).trainer_url, "store": settings.store.model_dump()}


def archive(training: Training, backends: Backends, on_event: Listener = ignore) -> Result:
    """Fetch, verify and keep the LoRA in the bucket, then delete the data set's zip from it.

    It can be repeated until it succeeds: what lies in the bucket already is not sent again.

    Raises:
        ResultExpired, LoraInvalid, ArchiveError: the LoRA could not be fetched or verified.
        StorageError, CredentialsError: the bucket failed.
    """
    run, store = training.run, backends.store
    record = run.record()
    with _timed(run, "archive"):
        try:
            loras = archive_lora(
                training.prediction,
                _training_facts(training.prediction, record),
                run_id=run.id,
                store=store,
                folder=run.path / "lora",
                on_event=on_event,
            )
        except ResultExpired as error:  # nothing will come of it any more: no need of the photos
            give_up(run, store, error, on_event)
            raise
    result = Result(run, loras)
    run.update(
        status="archived",
        error=None,
        rehearsal=result.rehearsal,
        loras=[lora.to_json() for lora in loras],
    )
    for lora in loras:
        facts = f"{lora.facts.size_bytes / 1e6:.1f} MB, rank {lora.facts.rank}"
        _say(on_event, "archive", f"a LoRA of {facts} is in the bucket, verified and read back")
    delete_dataset(run, store, on_event)
    return result


def run(
    folder: str | Path,
    *,
    settings: Settings | None = None,
    run: Run | None = None,
    on_event: Listener = ignore,
) -> Result:
    """Do everything for one person: prepare, upload, train, archive, report.

    Raises:
        LoraPrepError: any of its kinds; the run's record tells how far it came.
    """
    settings, run = settings or load_settings(), run or new_run()
    on_event = run.listener(on_event)
    choice = choose(settings)  # a setting that cannot work must not cost a minute of analysis
    dataset = prepare(folder, settings=settings, run=run, on_event=on_event)
    run.update(
        rehearsal=choice.rehearsal,
        reused=False,
        opened=opened(settings),
    )
    try:
        with connect(settings, on_event) as backends:
            with unsubmitted_is_deleted(run, backends.store, on_event):
                uploaded = upload(dataset, backends, on_event)
                training = train(uploaded, backends, on_event)
            result = archive(training, backends, on_event)
    except LoraPrepError as error:
        run.update(error=error.to_json())
        rows = [*dataset_rows(dataset.bundle), *training_rows(run.record())]
        tell(run, dataset.inspected, dataset.crops, rows, outcome=f"{error.what} {error.why}")
        raise
    rows = [*dataset_rows(dataset.bundle), *training_rows(run.record()), *lora_rows(result.loras)]
    tell(run, dataset.inspected, dataset.crops, rows, rehearsal=result.rehearsal)
    return result


# ── parts of the steps ────────────────────────────────────────────────────────────────────────


def _why_not_enough(selection: Selection) -> str | None:
    """Return what the report says of a selection that makes no training set."""
    try:
        require_enough(selection)
    except LoraPrepError as error:
        return f"{error.why}\n{error.fix}"  # what happened is the report's own headline
    return None


def _record_selection(run: Run, selection: Selection) -> None:
    run.update(
        name=selection.folder.resolve().name,
        status="inspected",
        report=str(run.report),
        inspection={
            **selection.to_json(run.report),
            "overrides": str(overrides_path(home_folder(), selection.folder)),
        },
    )


def _request(data_url: str, settings: Settings) -> TrainingRequest:
    wanted = settings.trainer
    return TrainingRequest(WAN_14B_TRAINER, data_url, wanted.trigger_word, wanted.steps)


def _training_facts(prediction: Prediction, record: dict[str, Any]) -> TrainingFacts:
    training, dataset = record.get("training", {}), record.get("dataset", {})
    return TrainingFacts(
        provider=PROVIDER,
        model=training.get("model") or prediction.model,
        trigger_word=training.get("trigger_word"),
        steps=training.get("steps"),
        dataset_sha256=dataset.get("sha256"),
        images=dataset.get("images"),
        tool_version=__version__,
    )


def _dataset_facts(bundle: Bundle) -> dict[str, Any]:
    return {"images": bundle.images, "bytes": bundle.size_bytes, "sha256": bundle.sha256}


def _say(on_event: Listener, stage: Any, message: str) -> None:
    on_event(Event(stage, message, kind="note"))


@contextmanager
def _timed(run: Run, stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    run.update(seconds={stage: round(time.monotonic() - began, 2)})
