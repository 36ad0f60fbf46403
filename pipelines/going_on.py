"""Going on with runs: all that were left, or one from an earlier stage once more.

What was submitted is never submitted again by going back: that is a training of its own, with a
run of its own, and has to be asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lora_prep.archive import start_over
from lora_prep.errors import ConfigurationError, Declined, LoraPrepError, TemporaryError, error_of
from lora_prep.events import Listener, ignore
from lora_prep.photos import find_photos
from lora_prep.settings import Settings, home_folder, load_settings
from lora_prep.trainers import State, Submission
from pipelines import steps
from pipelines.archiving import FOLDER
from pipelines.backends import choose, connect_store, open_ledger
from pipelines.cleaning import delete_datasets
from pipelines.looking import Looker, Row
from pipelines.runs import Run, new_run, run_by_id
from pipelines.sources import is_in_a_bucket
from pipelines.submitting import no_dataset
from pipelines.train import Place, Task, begin

if TYPE_CHECKING:
    from pipelines.engine import Flow

__all__ = ["Left", "Stage", "go_back", "left_runs", "reopen", "resume_all", "would_submit"]

Stage = Literal["prepare", "upload", "submit", "archive"]
NOT_SENT = frozenset({None, State.WAITING, State.RELEASED})
AT_THE_END = frozenset({State.COMPLETED, State.ARCHIVED})
PREPARED = ("dataset.zip", "manifest.json", "drawing.json", "report.html", "contact_sheet.jpg")
PICTURES = ("crops", "thumbnails")  # folders, of which the report is drawn


@dataclass(frozen=True, slots=True)
class Left:
    """A run that was left, and what came of going on with it. error: None where it is archived."""

    run: str
    name: str | None
    status: str | None
    loras: tuple[dict[str, Any], ...] = ()
    error: LoraPrepError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the run as `resume --all --json` prints it, but for its exit status."""
        return {
            "run": self.run,
            "name": self.name,
            "status": self.status,
            "loras": list(self.loras),
            "error": self.error.to_json() if self.error else None,
        }


def reopen(run: Run, sections: steps.Sections) -> Settings:
    """Return the settings a run was begun with, and let those that are given now replace them.

    Raises:
        ConfigurationError, TrainerNotAllowed: they do not allow a training.
        TemporaryError: another process works on the run.
    """
    settings = load_settings(steps.as_opened(run, sections))
    with run.alone():  # a record has one writer at a time
        run.update(opened=steps.opened(settings, run.record().get("opened", {}).get("folder")))
    return settings


# ── all of them ───────────────────────────────────────────────────────────────────────────────


def left_runs(looker: Looker) -> list[Row]:
    """Return the unfinished runs of this machine that were begun here and nobody has in hand.

    Raises:
        TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
    """
    rows = [row for row in looker.rows(ended=False) if row.here and not row.held]
    return [row for row in rows if (run := run_by_id(row.run)) and "opened" in run.record()]


def resume_all(
    rows: list[Row],
    sections: steps.Sections,
    settings: Settings,
    place: Place,
    *,
    yes: bool,
    on_end: Callable[[Left], None],
) -> None:
    """Bring runs to their end side by side; one that fails stops no other.

    yes: also those that have submitted nothing yet; without, they are left as they are, but for
    rehearsals. on_end: told of each, when it has ended.

    Raises:
        TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
    """
    from pipelines.together import run_together

    tasks = {}
    for row in rows:
        run = run_by_id(row.run)
        if run is None:
            continue
        try:
            reopened = reopen(run, sections)
            if not yes and would_submit(row) and not choose(reopened).rehearsal:
                raise _not_unasked(run)
        except LoraPrepError as error:
            on_end(Left(row.run, row.name, row.status, error=error))
            continue
        tasks[row.run] = Task(row.run, yes=yes)
    if tasks:
        run_together(
            tasks,
            settings,
            place,
            at_once=settings.trainer.in_flight,
            on_end=lambda run_id, flow: on_end(_end_of(run_id, flow, place)),
        )


# ── one of them ───────────────────────────────────────────────────────────────────────────────


def go_back(
    run: Run, stage: Stage, settings: Settings, *, again: bool = False, on_event: Listener = ignore
) -> Run:
    """Make a run ready to go on from a stage; return it, or the run of a new training.

    archive: what is whole here is kept, else the provider is asked. The earlier stages of what was
    submitted need `again`, and then a run of its own.

    Raises:
        ConfigurationError: there is nothing to go back to, or it was submitted already.
        TemporaryError: a process has the run in hand.
        NotAPhotoFolder, NoPhotos: its photos are not there any more.
        StorageError, CredentialsError: the zip of before cannot be deleted.
    """
    looker = Looker(settings)
    try:
        if looker.held([run]):
            raise _in_hand(run)
    finally:
        looker.close()
    submission = open_ledger(settings).of_run(run.id)
    if stage == "archive":
        _archive_anew(run, submission)
        return run
    state = submission.state if submission else None
    if state in NOT_SENT and not run.record().get("reused"):
        if stage == "prepare":
            _unprepare(run, settings, on_event)
        return run  # what is not submitted is uploaded anew in any case
    if not again:
        raise ConfigurationError(
            f"The run {run.id} has been submitted: {stage} would be another training.",
            why="A run is one training, and another one may be paid for.",
            fix=f"Go on with this one: lora-prep resume {run.id}; for another one add --again.",
        )
    return _of_its_own(run, stage, settings)


def would_submit(row: Row) -> bool:
    """Whether going on sends a request that was not sent yet."""
    if row.provider_state is None:
        return row.prediction_id is None
    return row.provider_state in {State.WAITING, State.RELEASED, State.REFUSED}


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _end_of(run_id: str, flow: Flow, place: Place) -> Left:
    from pipelines.engine import without_lora

    run = run_by_id(run_id)
    record = run.record() if run else {}
    status, told, error = record.get("status"), record.get("error"), None
    if status != "archived":
        error = place.failures.get(run_id) or (error_of(told) if told else without_lora(flow))
    loras = tuple(record.get("loras") or ()) if status == "archived" else ()
    return Left(run_id, record.get("name"), status, loras, error)


def _not_unasked(run: Run) -> Declined:
    return Declined(
        f"The run {run.id} was left as it is: nobody agreed to pay for it.",
        why="It has submitted nothing yet.",
        fix=f"Add --yes, perhaps with --max-cost USD; or alone: lora-prep resume {run.id}",
    )


def _in_hand(run: Run) -> TemporaryError:
    return TemporaryError(
        f"Another process works on the run {run.id}.",
        why="A run is worked on by one at a time.",
        fix=f"Watch it: lora-prep status {run.id} --watch",
    )


def _archive_anew(run: Run, submission: Submission | None) -> None:
    record = run.record()
    if record.get("reused"):
        loras = record.get("loras") or [{"url": ""}]
        owner = str(loras[0]["url"]).rpartition("/")[0].rpartition("/")[2]
        raise ConfigurationError(
            f"The run {run.id} has no training of its own: another run had asked for the same.",
            why="The LoRA is archived by the run that was trained.",
            fix=f"lora-prep resume {owner or run.id}{' --from archive' if owner else ''}",
        )
    if submission is None or submission.prediction_id is None:
        raise ConfigurationError(
            f"The run {run.id} has nothing to archive yet.",
            why="It has no training.",
            fix=f"lora-prep resume {run.id}",
        )
    if submission.state in AT_THE_END:
        with run.alone():
            start_over(run.path / FOLDER, submission.prediction_id)


def _unprepare(run: Run, settings: Settings, on_event: Listener) -> None:
    """Take back what was made of the photos, which must be there still."""
    record = run.record()
    folder = record.get("opened", {}).get("folder")
    if folder is None:
        raise no_dataset(run)
    if not is_in_a_bucket(folder):
        find_photos(Path(folder), skip=home_folder())
    with run.alone():
        if (record.get("dataset") or {}).get("object"):
            with connect_store(settings, on_event) as store:
                delete_datasets(run, store, on_event)
        for name in PREPARED:
            (run.path / name).unlink(missing_ok=True)
        for name in PICTURES:
            shutil.rmtree(run.path / name, ignore_errors=True)
        run.update(status="created", dataset=None, inspection=None, error=None)


def _of_its_own(run: Run, stage: Stage, settings: Settings) -> Run:
    """Begin a new run with what a run was begun with, or with the zip that it has."""
    record = run.record()
    began_with = record.get("opened", {})
    if stage == "prepare":
        if "folder" not in began_with:
            raise no_dataset(run)
        return begin(began_with["folder"], settings, name=began_with.get("name"))
    if not (run.path / "dataset.zip").exists():
        raise ConfigurationError(
            f"The run {run.id} has no zip any more to submit again.",
            why=f"Looked for {run.path / 'dataset.zip'}.",
            fix=f"Make it anew: lora-prep resume {run.id} --from prepare --again",
        )
    fresh = new_run()
    fresh.make()
    for name in PREPARED:
        if (run.path / name).exists():
            shutil.copyfile(run.path / name, fresh.path / name)
    for name in PICTURES:
        if (run.path / name).exists():
            shutil.copytree(run.path / name, fresh.path / name)
    dataset = record.get("dataset") or {}
    fresh.update(
        name=record.get("name"),
        status="prepared",
        rehearsal=choose(settings).rehearsal,
        reused=False,
        report=str(fresh.report) if fresh.report.exists() else None,
        inspection=record.get("inspection"),
        dataset={key: dataset[key] for key in ("images", "bytes", "sha256") if key in dataset},
        opened=began_with,
    )
    return fresh
