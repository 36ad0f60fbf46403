"""When the photos leave the bucket: as soon as no training can need them any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lora_prep.errors import LoraPrepError, TemporaryError
from lora_prep.events import Event, Listener, ignore
from lora_prep.stores import S3Store
from lora_prep.trainers import OVER, Ledger, State, Submission
from pipelines.runs import Run

__all__ = ["delete_datasets", "give_up", "surely_unsent", "unsubmitted_is_deleted"]

UNSENT = {None, State.RELEASED, *OVER}


def delete_datasets(
    run: Run, store: S3Store, on_event: Listener = ignore, submission: Submission | None = None
) -> bool:
    """Delete the zip of a run, and that of the submission it took part in, from the bucket.

    A deletion that fails is said, and is no error: how the training ended is what counts. False:
    one failed.
    """
    gone = True
    uploaded = run.record().get("dataset", {}).get("object", "").removeprefix("s3://")
    zips = {tuple(uploaded.split("/", 1))} if uploaded else set()
    if submission:
        zips.add((submission.intent.bucket, submission.intent.object_key))
    for key in sorted(key for bucket, key in zips if bucket == store.access.bucket):
        try:
            if store.head(key) is None:
                continue
            store.delete(key)
        except LoraPrepError as error:
            gone = False
            message = f"the photos are still in the bucket, delete {key} by hand: {error.what}"
            on_event(Event("clean", message, kind="warning"))
        else:
            on_event(Event("clean", "the data set zip is deleted from the bucket", kind="done"))
    return gone


def give_up(
    run: Run,
    store: S3Store,
    error: LoraPrepError,
    on_event: Listener = ignore,
    submission: Submission | None = None,
) -> None:
    """Record that the training has ended for good, and delete its photos."""
    record = run.record()
    # Without a record it was submitted elsewhere; what is archived is archived.
    if record and record.get("status") != "archived":
        run.update(status="failed", error=error.to_json())
        delete_datasets(run, store, on_event, submission)


def surely_unsent(run: Run, ledger: Ledger) -> bool:
    """Whether no training of this run can be under way; False when the ledger does not answer."""
    try:
        submission = ledger.of_run(run.id)
    except TemporaryError:
        return False
    return (submission and submission.state) in UNSENT


@contextmanager
def unsubmitted_is_deleted(
    run: Run, store: S3Store, ledger: Ledger, on_event: Listener = ignore
) -> Iterator[None]:
    """Whatever ends the block before the submission, Ctrl-C too, leaves no photos behind."""
    try:
        yield
    except BaseException:
        if surely_unsent(run, ledger) and run.record().get("status") in {
            "prepared",
            "uploaded",
            "submitting",
        }:
            delete_datasets(run, store, on_event)
        raise
