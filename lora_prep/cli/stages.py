"""upload, train, archive: single stages, for what was made elsewhere or broken off."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lora_prep.addresses import why_not_a_server
from lora_prep.bundle import count_images
from lora_prep.cli.approval import approval
from lora_prep.cli.flags import (
    ArchiveFlags,
    PaymentFlags,
    StoreFlags,
    TrainerFlags,
    TrainingFlags,
    settings_flags,
)
from lora_prep.cli.session import Session, SessionParameter
from lora_prep.errors import ConfigurationError, DatasetTooSmall
from lora_prep.settings import PROVIDER_STORE, Settings, load_settings
from lora_prep.trainers import UPLOADS_LIVE
from pipelines import steps
from pipelines.backends import connect_store
from pipelines.following import take_up
from pipelines.runs import Run, find_run, find_run_of_data, new_run
from pipelines.telling import interruption_of
from pipelines.uploading import put_dataset, put_into_bucket, upload_of_url

__all__ = ["archive", "train", "upload"]


def upload(
    zip_file: Annotated[Path, Parameter(name="ZIP", help="A data set zip.")],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    session: SessionParameter,
) -> None:
    """Put a zip into the bucket and print the presigned URL a trainer can fetch it by.

    The URL is a password for the photos until it expires; whoever has it can download them.
    """
    settings = load_settings(settings_flags(store))
    images = count_images(zip_file)
    if images < settings.dataset.min_images:
        raise DatasetTooSmall(
            f"{zip_file} holds {images} pictures.",
            why=f"A training needs at least {settings.dataset.min_images}.",
            fix="Make a zip with: lora-prep prepare FOLDER -o ZIP",
        )
    with zip_file.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    url, stored, expires_at = _uploaded(zip_file, sha256, settings, session)
    session.result = lambda: {
        "schema": 1,
        "url": url,
        "object": stored,
        "expires_at": expires_at.isoformat(),
        "sha256": sha256,
    }
    session.answer(url)
    session.say(f"The link works until {expires_at:%Y-%m-%d %H:%M} UTC.")


def train(
    url: Annotated[
        str,
        Parameter(
            name="URL",
            help='The data URL, or "-" to read it from stdin.',
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    trainer: TrainerFlags = TrainerFlags(),
    training: TrainingFlags = TrainingFlags(),
    payment: PaymentFlags = PaymentFlags(),
    session: SessionParameter,
) -> None:
    """Submit one training for a zip that is already somewhere, and wait for its end.

    It is submitted once: the same again is followed, or returned when its LoRA is archived.
    """
    settings = load_settings(settings_flags(trainer, training, payment))
    data_url = sys.stdin.readline().strip() if url == "-" else url
    if why_not := why_not_a_server(data_url):
        raise ConfigurationError(
            "The data URL is no address a trainer can fetch from.",
            why=f"It {why_not}.",
            fix="Get one with: lora-prep upload ZIP",
        )
    # The run that uploaded the zip deletes it, too; a run is one training, so never its second.
    uploader = find_run_of_data(data_url)
    this = uploader if uploader and not uploader.submitted else new_run()
    session.result = lambda: {"schema": 1, **this.record()}
    session.interruption = lambda: interruption_of(this)
    with steps.connect(settings, session.on_event) as backends:
        this.update(opened=steps.opened(settings))
        trained = steps.train(
            upload_of_url(this, data_url, backends),
            backends,
            session.on_event,
            again=payment.again,
            approve=approval(session, yes=payment.yes),
        )
    prediction_id = trained.submission.prediction_id or ""
    session.answer(prediction_id)
    session.say(f"Keep its LoRA: lora-prep archive {prediction_id}")


def archive(
    prediction: Annotated[
        str, Parameter(name="PREDICTION", help="The id that `train` or `run` printed.")
    ],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Fetch the LoRA of a training, verify it, keep it in the bucket and read it back.

    It waits when the training has not ended yet, and deletes the run's data set zip from the
    bucket afterwards. It can be repeated: nothing is trained or paid again.
    """
    this = find_run(prediction_id=prediction) or new_run()
    settings = load_settings(steps.as_opened(this, settings_flags(store, trainer, archive)))
    session.result = lambda: {"schema": 1, **this.record()}
    session.interruption = lambda: (
        "The LoRA is not archived yet.",
        f"Go on with: lora-prep archive {prediction}",
    )
    with steps.connect(settings, session.on_event) as backends:
        training = take_up(prediction, this, backends, session.on_event)
        session.result = lambda: {"schema": 1, **training.run.record()}
        result = steps.archive(training, backends, session.on_event)
    for lora in result.loras:
        session.answer(f"lora    {lora.object.url}")


def _uploaded(
    path: Path, sha256: str, settings: Settings, session: Session
) -> tuple[str, str | None, datetime]:
    """Upload a zip; return its URL, the object of a bucket of the user's, and when it expires."""
    run: Run = new_run()
    if settings.store.url == PROVIDER_STORE:
        with steps.connect(settings, session.on_event) as backends:
            link = put_dataset(run, path, sha256, backends, session.on_event).link or ""
        return link, None, datetime.now(UTC) + UPLOADS_LIVE
    with connect_store(settings, session.on_event) as bucket:
        stored = put_into_bucket(run, path, sha256, bucket)
        signed = bucket.presign(stored.key, timedelta(hours=settings.store.presign_hours))
    return signed.url, stored.url, signed.expires_at
