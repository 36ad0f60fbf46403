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

import os
from pathlib import Path
from typing import Any

from lora_prep.bundle import pack, write_manifest
from lora_prep.errors import (
    DatasetError,
    LoraPrepError,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import Bundle, Crop, Selection
from lora_prep.report.text import plural
from lora_prep.selection import overrides_path, require_enough
from lora_prep.settings import Settings, home_folder, load_settings
from lora_prep.trainers import OVER
from pipelines import archiving
from pipelines.backends import PROVIDER, Backends, choose, connect, connect_trainer, request_for
from pipelines.cleaning import unsubmitted_is_deleted
from pipelines.following import follow, has_it_after_all
from pipelines.preparing import Inspected, crop_selection, inspect_folder, keep_for_report
from pipelines.pricing import Approve, ask_price
from pipelines.runs import Run, new_run
from pipelines.sources import is_in_a_bucket
from pipelines.submitting import dataset_sha256, go_on_after, obtain, submit
from pipelines.telling import tell
from pipelines.uploading import put_dataset
from pipelines.values import Dataset, Quote, Result, Training, Upload

Sections = dict[str, dict[str, Any]]
PATHS = {"reference", "overrides", "pack"}

__all__ = [
    "PROVIDER",
    "Dataset",
    "Quote",
    "Result",
    "Training",
    "Upload",
    "archive",
    "as_opened",
    "connect",
    "inspect",
    "plan",
    "prepare",
    "resume",
    "run",
    "train",
    "upload",
]


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
        CaptionInvalid: captions are asked for and some cannot be used; the report says so.
        MissingDependency: insightface or a system library is missing.
    """
    settings, run, folder = settings or load_settings(), run or new_run(), Path(folder)
    with run.timed("prepare"):
        inspected = inspect_folder(folder, settings, on_event)
        _record_selection(run, inspected.selection)
        _cropped(run, inspected, settings, on_event)
    selection = inspected.selection
    usable = f"{len(selection.usable)} of {plural(len(selection.verdicts), 'file')} usable"
    on_event(Event("prepare", usable, kind="done"))
    tell(run)
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
        CaptionInvalid: captions are asked for and some cannot be used; the report says so.
        NotAPhotoFolder, NoPhotos: there is nothing to prepare.
        MissingDependency: insightface or a system library is missing.
    """
    settings, run = settings or load_settings(), run or new_run()
    return _prepared(Path(folder), settings, run, on_event)


def plan(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Return what `run` would send for a data set. Of a paid trainer only the price is asked.

    A price above trainer.max_cost_usd, or one that nobody tells, is returned and not raised.

    Raises:
        ConfigurationError, TrainerNotAllowed: the settings do not allow a training.
    """
    choice = choose(settings)
    hours = settings.store.presign_hours
    request = request_for("", settings)
    link = f"(a presigned URL of the data set zip, {hours:g} h)"
    if choice.uploads_to_provider:
        link = "(a public link of the provider's storage)"
    quote, refused = Quote(None, None), None
    if not choice.rehearsal:
        try:
            with connect_trainer(settings) as trainer:
                quote = ask_price(trainer, settings)
        except LoraPrepError as error:
            refused = f"{error.what} {error.why}"
    return {
        "dataset": _dataset_facts(dataset.bundle),
        "rehearsal": choice.rehearsal,
        "store": choice.store_url,
        "request": {
            "method": "POST",
            "base_url": "the embedded trainer" if choice.rehearsal else choice.trainer_url,
            "path": f"/api/v3/{request.model}",
            "body": {"data": link, **request.parameters},
        },
        "price_usd": quote.price_usd,
        "balance_usd": quote.balance_usd,
        "refused": refused,
    }


def upload(dataset: Dataset, backends: Backends, on_event: Listener = ignore) -> Upload:
    """Put the data set's zip where the trainer can fetch it, for a submission of this run's own."""
    bundle = dataset.bundle
    return put_dataset(dataset.run, bundle.path, bundle.sha256, backends, on_event)


def train(
    upload: Upload,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    again: bool = False,
    approve: Approve | None = None,
) -> Training:
    """Submit the training at most once, and wait for its end.

    The same request in flight is followed, whichever run sent it, and what is archived already is
    not trained again; `again` submits it all the same. When the trainer refuses or fails, the zip
    is deleted from the bucket; when the answer is lost it stays, since the training may be running.

    Raises:
        Declined: it costs more than trainer.max_cost_usd, nobody knows what it costs, or `approve`
            refused it.
        NeedsAttention, SubmissionUnknown: the request was sent and its answer is lost.
        TrainingFailed, ResultExpired: the training ended without a LoRA.
        TemporaryError, CredentialsError, ConfigurationError: the request was not accepted.
    """
    return submit(upload, backends, on_event, again=again, approve=approve)


def archive(training: Training, backends: Backends, on_event: Listener = ignore) -> Result:
    """Fetch, verify and keep the LoRA in the bucket, then delete the data set's zip from it.

    It can be repeated until it succeeds: what lies in the bucket already is not sent again.

    Raises:
        ResultExpired, LoraBroken: nothing will come of this training; its zip is deleted.
        LoraInvalid, ArchiveError: the LoRA could not be fetched or verified.
        StorageError, CredentialsError: the bucket failed.
        TemporaryError: another process works on the run.
    """
    result = archiving.archive(training, backends, on_event)
    tell(result.run)
    return result


def run(
    folder: str | Path,
    *,
    settings: Settings | None = None,
    run: Run | None = None,
    again: bool = False,
    approve: Approve | None = None,
    on_event: Listener = ignore,
) -> Result:
    """Do everything for one person: prepare, upload, train, archive, report.

    The same photos, trainer and parameters are trained once: a training that is on its way is
    followed, one that is archived is returned (`reused`); `again` trains all the same. `approve` is
    asked before a training that costs something; without it only trainer.max_cost_usd can refuse.

    Raises:
        LoraPrepError: any of its kinds; the run's record tells how far it came.
    """
    settings, run = settings or load_settings(), run or new_run()
    on_event = run.listener(on_event)
    choice = choose(settings)  # a setting that cannot work must not cost a minute of analysis
    facts = {
        "rehearsal": choice.rehearsal,
        "reused": False,
        "opened": opened(settings, Path(folder)),
    }
    dataset = _prepared(Path(folder), settings, run, on_event, **facts)
    try:
        with run.alone(), connect(settings, on_event) as backends:
            result = _finish(
                run,
                dataset.bundle.path,
                dataset.bundle.sha256,
                backends,
                on_event,
                again=again,
                approve=approve,
            )
    except LoraPrepError as error:
        run.update(error=error.to_json())
        tell(run)
        raise
    tell(run)
    return result


def resume(
    run: Run,
    backends: Backends,
    on_event: Listener = ignore,
    *,
    approve: Approve | None = None,
) -> Result:
    """Go on with a run that was broken off after its photos were prepared.

    A request that was sent is looked for and followed, never sent a second time; one that surely
    was not accepted is sent now. `backends` are those that the run was made with: `opened`.

    Raises:
        ConfigurationError: the run has no data set; begin again with `run`.
        TrainingFailed: its training has ended without a LoRA.
        TemporaryError: another process works on the run.
        LoraPrepError: as `run`.
    """
    run.take_back()
    with run.alone():
        try:
            return _resumed(run, backends, on_event, approve)
        finally:
            tell(run)


def opened(settings: Settings, folder: Path | str | None = None) -> dict[str, Any]:
    """Return what opens the same trainer and bucket again, whatever is set then; no secrets.

    Also what it may cost, whom the provider is to tell of its end and whether it is to forget it,
    where that was said; and of a run that begins with a folder, where that is and how its photos
    are judged. Paths are whole ones: whoever goes on may stand in another folder.
    """
    asked = {"model", "trigger_word", "steps", "learning_rate", "lora_rank", "models"}
    said = {"max_cost_usd", "purge_remote", "webhook"}
    began_with = {}
    if folder is not None:
        began_with = {
            "folder": _spelled_out(folder),
            "dataset": _paths_whole(settings.dataset.model_dump(exclude_defaults=True)),
            "faces": _paths_whole(settings.faces.model_dump(exclude_defaults=True)),
        }
    return {
        **began_with,
        "trainer_url": choose(settings).trainer_url,
        "store": settings.store.model_dump(),
        "trainer": {
            **settings.trainer.model_dump(include=asked),
            # Not as defaults: those would hide a limit that is set now.
            **settings.trainer.model_dump(include=said, exclude_defaults=True),
        },
    }


def _spelled_out(folder: Path | str) -> str:
    if is_in_a_bucket(folder):
        return str(folder)
    return str(Path(os.path.expanduser(folder)).absolute())  # noqa: PTH111  Path's own raises


def _paths_whole(section: dict[str, Any]) -> dict[str, Any]:
    """Return a section of settings with its paths absolute; a face pack's name stays a name."""
    whole = dict(section)
    for name in PATHS & whole.keys():
        if name != "pack" or os.sep in whole[name]:
            whole[name] = _spelled_out(whole[name])
    return whole


def as_opened(run: Run, sections: Sections) -> Sections:
    """Return settings, and below them the trainer, the bucket and the parameters a run had."""
    had = run.record().get("opened")
    if not had:
        return sections
    trainer = {**had.get("trainer", {}), "base_url": had["trainer_url"]}
    had_too = {name: had[name] for name in ("dataset", "faces") if name in had}
    return {
        **had_too,
        **sections,
        "trainer": {**trainer, **sections.get("trainer", {})},
        "store": {**had["store"], **sections.get("store", {})},
    }


# ── parts of the steps ────────────────────────────────────────────────────────────────────────


def _prepared(
    folder: Path, settings: Settings, run: Run, on_event: Listener, **facts: Any
) -> Dataset:
    with run.timed("prepare"):
        inspected = inspect_folder(folder, settings, on_event)
        selection = inspected.selection
        # Before there is a zip: what is killed must not be resumed with whatever trainer is set.
        _record_selection(run, selection, **facts)
        crops = _cropped(run, inspected, settings, on_event)
        bundle = _packed(run, inspected, crops)
    run.update(status="prepared", dataset=_dataset_facts(bundle))
    tell(run)
    message = f"{len(crops)} photos cropped, {bundle.size_bytes / 1e6:.1f} MB"
    on_event(Event("prepare", message, kind="done"))
    for sentence in selection.advice:
        _say(on_event, "prepare", sentence)
    return Dataset(run, inspected, crops, bundle)


def _packed(run: Run, inspected: Inspected, crops: tuple[Crop, ...]) -> Bundle:
    """Pack the crops; where they are too few, the report says so before the error does."""
    try:
        require_enough(inspected.selection)
    except DatasetError:
        tell(run)
        raise
    bundle = pack(crops, run.path / "dataset.zip")
    write_manifest(run.path / "manifest.json", bundle, crops, **inspected.to_manifest())
    return bundle


def _resumed(run: Run, backends: Backends, on_event: Listener, approve: Approve | None) -> Result:
    on_event = run.listener(on_event)
    submission, path = backends.ledger.of_run(run.id), run.path / "dataset.zip"
    if submission and has_it_after_all(submission, backends):
        return archiving.archive(follow(run, submission, backends, on_event), backends, on_event)
    if submission and submission.state in OVER:
        go_on_after(submission, run, path, backends, on_event)
    try:
        sha256 = dataset_sha256(run, path, submission)
        return _finish(run, path, sha256, backends, on_event, approve=approve)
    except LoraPrepError as error:
        run.update(error=error.to_json())
        raise


def _finish(
    run: Run,
    path: Path,
    sha256: str,
    backends: Backends,
    on_event: Listener,
    *,
    again: bool = False,
    approve: Approve | None,
) -> Result:
    with unsubmitted_is_deleted(run, backends.store, backends.ledger, on_event):
        training = obtain(run, path, sha256, backends, on_event, again=again, approve=approve)
    return archiving.archive(training, backends, on_event)


def _cropped(
    run: Run, inspected: Inspected, settings: Settings, on_event: Listener
) -> tuple[Crop, ...]:
    """Crop what was selected; the record names the report already, so an error is told there."""
    try:
        crops = crop_selection(run, inspected, settings, on_event)
    except DatasetError as error:
        keep_for_report(run, inspected, (), settings)
        tell(run, error)
        raise
    keep_for_report(run, inspected, crops, settings)
    return crops


def _record_selection(run: Run, selection: Selection, **facts: Any) -> None:
    opened = facts.get("opened") or run.record().get("opened") or {}
    run.update(
        name=opened.get("name") or selection.folder.resolve().name,
        status="inspected",
        report=str(run.report),
        inspection={
            **selection.to_json(run.report),
            "folder": _spelled_out(selection.folder),  # whoever reviews it may stand elsewhere
            "overrides": str(overrides_path(home_folder(), selection.folder)),
        },
        **facts,
    )


def _dataset_facts(bundle: Bundle) -> dict[str, Any]:
    return {"images": bundle.images, "bytes": bundle.size_bytes, "sha256": bundle.sha256}


def _say(on_event: Listener, stage: Any, message: str) -> None:
    on_event(Event(stage, message, kind="note"))
