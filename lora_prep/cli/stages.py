"""upload, train, archive: single stages, for what was made elsewhere or broken off."""

from __future__ import annotations

import hashlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.addresses import why_not_a_server
from lora_prep.bundle import count_images
from lora_prep.cli.flags import StoreFlags, TrainerFlags, TrainingFlags, settings_flags
from lora_prep.cli.session import SessionParameter
from lora_prep.errors import ConfigurationError, DatasetTooSmall
from lora_prep.model import TrainingRequest
from lora_prep.settings import load_settings
from lora_prep.trainers import FRESH_S, WAN_14B_TRAINER
from pipelines import steps
from pipelines.backends import connect_store
from pipelines.runs import Run, find_run, find_run_of_data, new_run
from pipelines.telling import interruption_of

__all__ = ["archive", "train", "upload"]

Sections = dict[str, dict[str, Any]]


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
    with connect_store(settings, session.on_event) as bucket:
        stored = steps.put_dataset(zip_file, sha256, new_run(), bucket)
        data_url = bucket.presign(stored.key, timedelta(hours=settings.store.presign_hours))
    session.result = lambda: {
        "schema": 1,
        "url": data_url.url,
        "object": stored.url,
        "expires_at": data_url.expires_at.isoformat(),
        "sha256": sha256,
    }
    session.answer(data_url.url)


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
    session: SessionParameter,
) -> None:
    """Submit one training for a zip that is already somewhere, and wait for its end."""
    settings = load_settings(settings_flags(trainer, training))
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
    wanted = settings.trainer
    request = TrainingRequest(WAN_14B_TRAINER, data_url, wanted.trigger_word, wanted.steps)
    with steps.connect(settings, session.on_event) as backends:
        this.update(opened=steps.opened(settings))
        prediction = steps.submit(request, backends.trainer, this)
        steps.follow(this, prediction.id, backends, session.on_event, fresh_s=FRESH_S)
    session.answer(prediction.id)
    session.say(f"Keep its LoRA: lora-prep archive {prediction.id}")


def archive(
    prediction: Annotated[
        str, Parameter(name="PREDICTION", help="The id that `train` or `run` printed.")
    ],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    session: SessionParameter,
) -> None:
    """Fetch the LoRA of a training, verify it, keep it in the bucket and read it back.

    It waits when the training has not ended yet, and deletes the run's data set zip from the
    bucket afterwards. It can be repeated: nothing is trained or paid again.
    """
    this = find_run(prediction_id=prediction) or new_run()
    settings = load_settings(_as_opened(this, settings_flags(store, trainer)))
    session.result = lambda: {"schema": 1, **this.record()}
    session.interruption = lambda: (
        "The LoRA is not archived yet.",
        f"Go on with: lora-prep archive {prediction}",
    )
    with steps.connect(settings, session.on_event) as backends:
        training = steps.follow(this, prediction, backends, session.on_event)
        result = steps.archive(training, backends, session.on_event)
    for lora in result.loras:
        session.answer(f"lora    {lora.object.url}")


def _as_opened(run: Run, flags: Sections) -> Sections:
    """Return the flags, and below them the trainer and the store that the run was made with."""
    opened = run.record().get("opened")
    if not opened:
        return flags
    trainer = {"base_url": opened["trainer_url"], **flags.get("trainer", {})}
    store = {**opened["store"], **flags.get("store", {})}
    return {**flags, "trainer": trainer, "store": store}
