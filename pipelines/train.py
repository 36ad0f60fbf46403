"""The durable chain of one run: prepare -> upload -> submit -> poll -> archive -> clean.

Each stage is a plain function of a run's id. It does nothing that is done already (the run's
folder, the ledger and the archive's journal say what is), answers in JSON, and never raises what a
person can act on: that is an answer too. So whoever repeats a stage, an engine that was killed or
another machine, neither pays nor archives twice, and no journal has to be trusted for it.

`train_run` puts them in order. It takes `step` and `sleep` from whoever runs it: `engine` gives
those of DBOS, which remember each answer; `without_engine` just calls and sleeps.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lora_prep.archive import ArchiveState, read_journal
from lora_prep.errors import (
    DatasetNotFetched,
    Declined,
    LoraPrepError,
    NeedsAttention,
    SubmissionUnknown,
    unforeseen,
)
from lora_prep.events import Event, Listener, Stage
from lora_prep.model import StoredObject
from lora_prep.photos import find_photos
from lora_prep.settings import Settings, home_folder, load_settings
from lora_prep.stores import submission_of
from lora_prep.trainers import OVER, Ledger, State, Submission, Watch
from pipelines import steps
from pipelines.archiving import FOLDER as LORA
from pipelines.archiving import archive
from pipelines.backends import Backends, choose, connect, open_ledger
from pipelines.cleaning import delete_datasets, unsubmitted_is_deleted
from pipelines.following import follow, has_it_after_all, look
from pipelines.notifying import Happening, notice_of, notify
from pipelines.places import is_shared
from pipelines.pricing import Approve, approved
from pipelines.runs import Run, new_run, run_at
from pipelines.sharing import receive, share, unshare
from pipelines.sources import fetched, is_in_a_bucket
from pipelines.submitting import dataset_sha256, find, go_on_after, no_dataset, once_more, send
from pipelines.telling import tell
from pipelines.uploading import put_dataset
from pipelines.values import Quote, Training, Upload

__all__ = [
    "Answer",
    "Place",
    "Task",
    "begin",
    "settings_of",
    "train_run",
    "untold",
    "without_engine",
]

Answer = dict[str, Any]
Step = Callable[..., Answer]
"""step(name, function, *arguments) -> what the function answered, now or before a crash."""

PHOTOS = "photos"  # of a bucket, while they are looked at
A_RUN_S_OWN = {
    *("model", "models", "trigger_word", "steps", "learning_rate", "lora_rank"),
    *("max_cost_usd", "webhook", "purge_remote"),
}
"""Settings of the trainer that ask for another training, and not for another connection."""
SPOKEN: Final[Mapping[str, Stage]] = {
    "prepare": "prepare",
    "upload": "upload",
    "archive": "archive",
    "clean": "clean",
}
"""As what a stage's events are told; the others are the training."""
STEP_S: Final = 5.0  # a longer pause between two polls is slept by the engine
POLLING_S: Final = 30.0  # how long one step polls at most
PAUSE_MIN_S, PAUSE_MAX_S, GROWTH = 5.0, 600.0, 2.0  # between two tries of a patient run


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done, as the engine keeps it: ids and switches, no name, folder or secret.

    again: submit what was submitted before; yes: nobody is asked before paying; patient: what may
    pass (a bucket that is away) is waited out, for nobody is there to try again.
    """

    run: str
    again: bool = False
    yes: bool = False
    patient: bool = False


@dataclass(slots=True)
class Place:
    """What the stages need of the process they run in.

    approve: who is asked before a payment; without, a task has to say yes. on_event: hears what is
    said of each run, by its id; failures: the errors behind the answers, for a caller in the same
    process; leaving: set when it is about to end.
    """

    approve: Approve | None = None
    on_event: Callable[[str, Event], None] = lambda run_id, event: None  # noqa: ARG005
    failures: dict[str, LoraPrepError] = field(default_factory=dict)
    leaving: threading.Event = field(default_factory=threading.Event)
    _opened: dict[str, Backends] = field(default_factory=dict)
    _ledger: Ledger | None = None  # one process has one database
    _stack: ExitStack = field(default_factory=ExitStack)
    _opening: threading.Lock = field(default_factory=threading.Lock)
    # A preparation uses every core by itself.
    _preparing: threading.Lock = field(default_factory=threading.Lock)

    def backends(self, run: Run) -> Backends:
        """Open the trainer and the bucket of a run; runs that share them share one.

        Raises:
            ConfigurationError, TrainerNotAllowed: the settings do not allow a training.
        """
        settings = settings_of(run)
        key = settings.model_dump_json(
            include={"store", "trainer", "archive", "embedded"}, exclude={"trainer": A_RUN_S_OWN}
        )
        with self._opening:
            if key not in self._opened:
                opening = connect(settings, lambda event: self.on_event(run.id, event))
                self._opened[key] = self._stack.enter_context(opening)
            return replace(self._opened[key], settings=settings, choice=choose(settings))

    def ledger(self, run: Run) -> Ledger:
        """Open the ledger alone: a run may need neither trainer nor bucket.

        Raises:
            ConfigurationError, TemporaryError: it cannot be used.
        """
        self._ledger = self._ledger or open_ledger(settings_of(run))
        return self._ledger

    def listener(self, run: Run) -> Listener:
        """Return who hears what a stage of a run says."""
        return run.listener(lambda event: self.on_event(run.id, event))

    def prepare(self, run: Run) -> None:
        """Prepare a run's photos, one run at a time.

        Raises:
            LoraPrepError: as `steps.prepare`.
        """
        settings, opened = settings_of(run), run.record()["opened"]
        on_event = self.listener(run)
        with (
            self._preparing,
            fetched(opened["folder"], run.path / PHOTOS, settings, on_event) as folder,
        ):
            steps.prepare(folder, settings=settings, run=run, on_event=on_event)

    def offer(self, run: Run) -> None:
        """Let other machines begin a run or go on with it, where there are any.

        Raises:
            StorageError, CredentialsError: the bucket did not take what they need.
        """
        if run.record() and is_shared(settings_of(run)):
            share(run, self.backends(run).store)

    def forget(self, run: Run) -> None:
        """Remove a run that turned out to be needless, with all that was prepared for it."""
        shutil.rmtree(run.path, ignore_errors=True)

    def close(self) -> None:
        """Let go of every trainer and bucket."""
        self._stack.close()


def begin(folder: Path | str, settings: Settings, *, name: str | None = None) -> Run:
    """Make a run of a folder of photos; all that its stages need is in its record from now on.

    folder: on this machine, or s3://bucket/prefix; name: of the person, the folder's without.

    Raises:
        ConfigurationError, TrainerNotAllowed: the settings do not allow a training.
        NotAPhotoFolder, NoPhotos: there is nothing to look at.
    """
    choice = choose(settings)
    if not is_in_a_bucket(folder):
        find_photos(Path(folder), skip=home_folder())  # before anything is made for it
    run = new_run()
    run.update(
        status="created",
        rehearsal=choice.rehearsal,
        reused=False,
        opened={**steps.opened(settings, folder), "name": name},
    )
    return run


def settings_of(run: Run) -> Settings:
    """Return the settings a run was begun with, on top of those that are set now."""
    return load_settings(steps.as_opened(run, {}))


def train_run(task: Task, place: Place, step: Step, sleep: Callable[[float], None]) -> Answer:
    """Take a run from its photos to its archived LoRA, from wherever it is.

    The answer is {"status": "archived"} or {"status": "failed", "error": {"code"}}; the words of
    an error are in the run's record.
    """
    chain = _Chain(task, place, step, sleep)
    try:
        chain.do("prepare", prepare)
        key = _trained(chain)
        chain.do("archive", archive_stage, key)
        return chain.do("clean", clean, key)
    except _Ended as end:
        return step("tell", failed, task, place, end.answer)


def without_engine(task: Task, place: Place) -> Answer:
    """Run the same chain with nothing that remembers it but the run itself."""

    def step(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:  # noqa: ARG001
        return function(*arguments)

    run_at(task.run).take_back()
    return train_run(task, place, step, time.sleep)


# ── the stages ────────────────────────────────────────────────────────────────────────────────


def prepare(task: Task, place: Place) -> Answer:
    """Prepare the photos, unless there is a zip already or one was submitted."""
    run = _here(task, place)
    if not place.ledger(run).of_run(run.id):
        place.offer(run)
        # No trainer and no bucket of its own before: a set that is too small needs neither.
        _pack(run, place)
    return {}


def upload(task: Task, place: Place) -> Answer:
    """Find who has asked for the same, else get the price approved and upload the zip.

    Answers with the submission's key, None where there is none yet, and the price.
    """
    run = _here(task, place)
    backends, on_event, path = place.backends(run), place.listener(run), run.path / "dataset.zip"
    with unsubmitted_is_deleted(run, backends.store, backends.ledger, on_event):
        submission = backends.ledger.of_run(run.id)
        if submission and has_it_after_all(submission, backends):
            return {"key": submission.key}
        if submission is None or submission.state is State.REFUSED:
            _pack(run, place)
        if submission and submission.state in OVER:
            go_on_after(submission, run, path, backends, on_event)
        sha256 = dataset_sha256(run, path, submission)
        try:
            if existing := find(run, sha256, backends, on_event, again=task.again):
                return {"key": existing.key}
        except DatasetNotFetched as error:
            once_more(run, path, backends, error, on_event)
        if not path.exists():
            _pack(run, place)
            sha256 = dataset_sha256(run, path, None)
        quote = approved(backends, None if task.yes else place.approve or _refuse)
        if not backends.choice.uploads_to_provider:  # its link is a secret, and kept nowhere
            put_dataset(run, path, sha256, backends, on_event)
            place.offer(run)  # once more: who goes on elsewhere submits what is there
        return {"key": None, "price_usd": quote.price_usd}


def submit(task: Task, place: Place, price_usd: float | None) -> Answer:
    """Submit the zip that was uploaded, once; one that is gone is uploaded again."""
    run = _here(task, place)
    backends, on_event = place.backends(run), place.listener(run)
    with unsubmitted_is_deleted(run, backends.store, backends.ledger, on_event):
        upload = _uploaded(run, backends)
        if upload is None:
            _pack(run, place)
            path = run.path / "dataset.zip"
            sha256 = dataset_sha256(run, path, None)
            upload = put_dataset(run, path, sha256, backends, on_event)
        quote = Quote(price_usd, None)
        return {"key": send(upload, backends, on_event, again=task.again, quote=quote).key}


def poll(task: Task, place: Place, key: str, watched: Mapping[str, Any] | None) -> Answer:
    """Ask for the end until a longer pause is due; watched: what the last poll remembered."""
    run = _here(task, place)
    backends, on_event = place.backends(run), place.listener(run)
    watch = Watch(**watched) if watched else None
    now_s = time.time()
    until_s, began_s = now_s + POLLING_S, watch.began_s if watch else now_s
    submission = _submission(key, backends)
    try:
        while True:
            now_s = time.time()
            found = look(run, submission, backends, watch, now_s=now_s, on_event=on_event)
            if isinstance(found, Training):
                run.update(seconds={"train": round(time.time() - began_s, 2)})
                return {"ended": True}
            watch = found.watch
            answer = {"ended": False, "watch": asdict(watch), "pause_s": found.pause_s}
            if found.pause_s >= STEP_S or now_s > until_s or run.is_cancelled:
                return answer
            if place.leaving.wait(found.pause_s):
                return answer
    except DatasetNotFetched as error:  # its own, or that of a run which it only followed
        _pack(run, place)
        once_more(run, run.path / "dataset.zip", backends, error, on_event)
        return {"ended": False, "once_more": True}


def archive_stage(task: Task, place: Place, key: str) -> Answer:
    """Keep the LoRA in the bucket."""
    run = _here(task, place)
    backends, on_event = place.backends(run), place.listener(run)
    training = follow(run, _submission(key, backends), backends, on_event)
    result = archive(training, backends, on_event)
    return {"loras": len(result.loras)}


def clean(task: Task, place: Place, key: str) -> Answer:
    """Leave nothing behind that is not needed any more, and write the report."""
    run = _here(task, place)
    backends, on_event = place.backends(run), place.listener(run)
    submission = _submission(key, backends)
    if run.record().get("status") != "archived":  # another machine did that
        loras = [dict(lora) for lora in submission.loras]
        run.update(status="archived", error=None, expires_at=None, loras=loras)
    archived = read_journal(run.path / LORA)
    if archived is None or not archived.has(ArchiveState.CLEANED):
        delete_datasets(run, backends.store, on_event, submission)
    if is_shared(backends.settings):
        unshare(run, backends.store)
    tell(run)
    notify(notice_of(run, "done"), backends.settings)
    return {"status": "archived"}


def failed(task: Task, place: Place, answer: Answer) -> Answer:
    """Write down why a run has ended without a LoRA, or cannot go on."""
    run, code = run_at(task.run), answer["error"]["code"]
    record = run.record()
    looked_at = record.get("status") != "created" or "dataset" in record
    if not looked_at and place.approve is not None:  # who asked for it is told by the command
        place.forget(run)
        return {"status": "failed", "error": {"code": code}}
    error = place.failures[run.id].to_json() if run.id in place.failures else untold(run, code)
    run.update(error=error, status=record.get("status") if looked_at else "failed")
    tell(run)
    event: Happening = "needs_attention" if code == NeedsAttention.code else "failed"
    notify(notice_of(run, event), settings_of(run))
    return {"status": "failed", "error": {"code": code}}


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


class _Ended(Exception):
    """A stage answered with an error that ends the run, for now at least."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer["error"]["code"])
        self.answer = answer


@dataclass(slots=True)
class _Chain:
    """A run's stages, each one a step of the engine, tried again where that is asked for."""

    task: Task
    place: Place
    step: Step
    sleep: Callable[[float], None]

    def do(self, name: str, stage: Callable[..., Answer], *arguments: Any) -> Answer:
        pause_s = PAUSE_MIN_S
        while True:
            answer = self.step(name, _answered, stage, self.task, self.place, *arguments)
            if "error" not in answer:
                return answer
            if not (self.task.patient and answer["again"]):
                raise _Ended(answer)
            if error := self.place.failures.get(self.task.run):  # else it looks as if it hung
                words = f"{error.what} Trying again in {pause_s:g} s."
                spoken = SPOKEN.get(name, "train")
                self.place.on_event(self.task.run, Event(spoken, words, kind="warning"))
            self.sleep(pause_s)
            pause_s = min(pause_s * GROWTH, PAUSE_MAX_S)


def _trained(chain: _Chain) -> str:
    """Submit and wait, a second time where the data URL could not be fetched."""
    while True:
        uploaded = chain.do("upload", upload)
        key: str | None = uploaded["key"]
        if key is None:
            key = chain.do("submit", submit, uploaded["price_usd"])["key"]
        polled: Answer = {"watch": None}
        while not polled.get("ended"):
            polled = chain.do("poll", poll, key, polled["watch"])
            if polled.get("once_more"):
                break
            if not polled["ended"]:
                chain.sleep(polled["pause_s"])
        else:
            return str(key)


def _answered(stage: Callable[..., Answer], task: Task, place: Place, *arguments: Any) -> Answer:
    """Call a stage; an error is an answer, so that no engine has to keep exceptions."""
    try:
        with run_at(task.run).alone():  # a command may be about to change its record
            return stage(task, place, *arguments)
    except LoraPrepError as error:
        place.failures[task.run] = error
        # What may have been accepted is for its owner to look at, however often one asks.
        again = error.retryable and not isinstance(error, SubmissionUnknown)
        # Its words may name a folder, and the database may be shared.
        return {"error": {"code": error.code}, "again": again}
    except Exception as error:  # noqa: BLE001  else the engine would keep it, with its words
        told = unforeseen(error)
        told.__cause__ = error
        place.failures[task.run] = told
        return {"error": {"code": told.code}, "again": False}  # a full disk needs somebody


def _here(task: Task, place: Place) -> Run:
    """Return a run; one of another machine is begun here with what that one has shared."""
    run = run_at(task.run)
    if not run.record():
        receive(run, place.backends(run).store)
    return run


def _pack(run: Run, place: Place) -> None:
    """Prepare the photos, unless their zip is here: another machine may have made it there."""
    if (run.path / "dataset.zip").exists():
        return
    if "folder" not in run.record().get("opened", {}):
        raise no_dataset(run)
    place.prepare(run)


def untold(run: Run, code: str) -> dict[str, Any]:
    """Return an error of which only its code outlived the process that met it."""
    return {
        "code": code,
        "message": f"The run {run.id} has stopped: {code}.",
        "why": "The process that could say more has ended.",
        "fix": f"Try again: lora-prep resume {run.id}",
        "retryable": True,
    }


def _submission(key: str, backends: Backends) -> Submission:
    submission = backends.ledger.get(key)
    assert submission is not None, "rows are never deleted"  # noqa: S101
    return submission


def _uploaded(run: Run, backends: Backends) -> Upload | None:
    """Return the zip that lies in the bucket for the next submission, if it does."""
    attempt = backends.ledger.attempt_of(run.id)
    dataset = run.record().get("dataset", {})
    bucket, _, key = dataset.get("object", "").removeprefix("s3://").partition("/")
    store = backends.store
    if backends.choice.uploads_to_provider or bucket != store.access.bucket:
        return None
    seen = store.head(key) if submission_of(key) == f"{run.id}-{attempt}" else None
    if seen is None:
        return None
    stored = StoredObject(bucket, key, seen.size_bytes, None)
    return Upload(run, dataset["sha256"], attempt, stored, path=run.path / "dataset.zip")


def _refuse(quote: Quote) -> None:  # noqa: ARG001  as `Approve` is called
    raise Declined(
        "The training was not submitted: nobody agreed to pay for it.",
        why="Nobody is there to be asked.",
        fix="Add --yes, perhaps with --max-cost USD.",
    )
