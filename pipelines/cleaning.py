"""When the photos leave the bucket: as soon as no training can need them any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lora_prep.errors import LoraPrepError
from lora_prep.events import Event, Listener, ignore
from lora_prep.stores import S3Store
from pipelines.runs import Run

__all__ = ["delete_dataset", "give_up", "unsubmitted_is_deleted"]


def delete_dataset(run: Run, store: S3Store, on_event: Listener = ignore) -> None:
    """Delete the run's zip from the bucket, if it has one there, and say so.

    A deletion that fails is said too, and is no error: how the training ended is what counts.
    """
    dataset = run.record().get("dataset", {})
    bucket, _, key = dataset.get("object", "").removeprefix("s3://").partition("/")
    if not key or bucket != store.access.bucket:
        return
    try:
        store.delete(key)
    except LoraPrepError as error:
        message = f"the photos are still in the bucket, delete {key} by hand: {error.what}"
    else:
        message = "the data set zip is deleted from the bucket"
    on_event(Event("clean", message, kind="note"))


def give_up(run: Run, store: S3Store, error: LoraPrepError, on_event: Listener = ignore) -> None:
    """Record that the training has ended for good, and delete its photos."""
    record = run.record()
    # Without a record it was submitted elsewhere; what is archived is archived.
    if record and record.get("status") != "archived":
        run.update(status="failed", error=error.to_json())
        delete_dataset(run, store, on_event)


@contextmanager
def unsubmitted_is_deleted(run: Run, store: S3Store, on_event: Listener = ignore) -> Iterator[None]:
    """Whatever ends the block before the submission, Ctrl-C too, leaves no photos behind."""
    try:
        yield
    except BaseException:
        if run.record().get("status") in {"prepared", "uploaded"}:
            delete_dataset(run, store, on_event)
        raise
