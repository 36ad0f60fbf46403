"""Where a trainer can fetch a zip: in the bucket, at the provider, or behind somebody's link."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import StoredObject, TrainingRequest
from lora_prep.stores import DataUrl, S3Store, check_fetchable, check_public, dataset_key
from lora_prep.trainers import PRIVACY_OF_UPLOADS, upload_to_provider
from pipelines.backends import Backends, request_for
from pipelines.runs import Run, find_run_of_data
from pipelines.values import Upload

__all__ = ["put_dataset", "put_into_bucket", "request_of", "upload_of_url"]

ZIP = "application/zip"


def put_dataset(
    run: Run, path: Path, sha256: str, backends: Backends, on_event: Listener = ignore
) -> Upload:
    """Put a zip where the trainer can fetch it, for the run's next submission.

    Raises:
        StorageError, CredentialsError: it was not taken.
    """
    attempt = backends.ledger.attempt_of(run.id)
    on_event(Event("upload", "uploading the zip"))
    with run.timed("upload"):
        if backends.choice.uploads_to_provider:
            _say(on_event, "upload", PRIVACY_OF_UPLOADS)
            link = upload_to_provider(backends.trainer, path, content_type=ZIP)
            run.update(status="uploaded", dataset={"sha256": sha256})
            upload = Upload(run, sha256, attempt, link=link, path=path)
            place = host_and_port(link)
        else:
            stored = put_into_bucket(run, path, sha256, backends.store, attempt)
            upload = Upload(run, sha256, attempt, stored, path=path)
            place = stored.bucket
    message = f"{path.stat().st_size / 1e6:.1f} MB to {place}"
    on_event(Event("upload", message, kind="done"))
    return upload


def put_into_bucket(
    run: Run, path: Path, sha256: str, store: S3Store, attempt: int = 1
) -> StoredObject:
    """Put a zip into the bucket under a submission's own key; the run remembers it."""
    key = store.key(dataset_key(f"{run.id}-{attempt}", sha256, datetime.now(UTC)))
    # Recorded before it is sent: a crash in between must not leave photos nobody knows of.
    run.update(dataset={"object": f"s3://{store.access.bucket}/{key}", "sha256": sha256})
    stored = store.put_file(path, key, sha256=sha256, content_type=ZIP)
    run.update(status="uploaded")
    return stored


def upload_of_url(run: Run, data_url: str, backends: Backends) -> Upload:
    """Return what is known of a zip that is somewhere already, by the link to it.

    The run that uploaded it knows its hash, whichever run it is trained for now; else the link
    without its query stands for it.
    """
    attempt = backends.ledger.attempt_of(run.id)
    dataset = (find_run_of_data(data_url) or run).record().get("dataset", {})
    bucket, _, key = dataset.get("object", "").removeprefix("s3://").partition("/")
    if key:
        return Upload(
            run, dataset["sha256"], attempt, StoredObject(bucket, key, 0, None), link=data_url
        )
    parts = urlsplit(data_url)
    place = f"{(parts.hostname or '').lower()}:{parts.port}{unquote(parts.path)}"
    return Upload(run, hashlib.sha256(place.encode()).hexdigest(), attempt, link=data_url)


def request_of(upload: Upload, backends: Backends, on_event: Listener) -> TrainingRequest:
    """Return the request with a link that was just signed, and opened as the trainer will.

    Raises:
        TrainerNotAllowed: the trainer is elsewhere, and the link leads to this machine or network.
        StorageError, CredentialsError: the link does not open, or would end too soon.
    """
    if (url := upload.link) is None:
        signed = _signed(upload, backends)
        end = f"{signed.expires_at:%Y-%m-%d %H:%M} UTC"
        _say(on_event, "upload", f"the link to the photos works until {end}")
        url = signed.url
    upload.run.update(dataset={"url_host": urlsplit(url).hostname or ""})
    if not is_loopback(backends.trainer.base_url):
        check_public(url)
    check_fetchable(url)
    return request_for(url, backends.settings)


def _signed(upload: Upload, backends: Backends) -> DataUrl:
    store = backends.store
    assert upload.object is not None, "an upload is an object or a link"  # noqa: S101
    wanted = backends.settings.store
    return store.presign(
        upload.object.key,
        timedelta(hours=wanted.presign_hours),
        at_least=timedelta(hours=min(wanted.presign_margin_hours, wanted.presign_hours)),
    )


def _say(on_event: Listener, stage: Any, message: str) -> None:
    on_event(Event(stage, message, kind="note"))
