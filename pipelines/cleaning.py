"""When the photos leave the bucket: as soon as no training can need them any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lora_prep.errors import LoraPrepError
from lora_prep.stores import S3Store
from pipelines.runs import Run

__all__ = ["delete_dataset", "give_up", "unsubmitted_is_deleted"]


def delete_dataset(run: Run, store: S3Store) -> bool:
    """Delete the run's zip from the bucket; False when it has none in this bucket."""
    dataset = run.record().get("dataset", {})
    bucket, _, key = dataset.get("object", "").removeprefix("s3://").partition("/")
    if not key or bucket != store.access.bucket:
        return False
    store.delete(key)
    return True


def give_up(run: Run, store: S3Store, error: LoraPrepError) -> None:
    """Record that the training has ended for good, and delete its photos."""
    if run.record():  # else it was submitted elsewhere, and there is nothing to record
        run.update(status="failed", error=error.to_json())
        delete_dataset(run, store)


@contextmanager
def unsubmitted_is_deleted(run: Run, store: S3Store) -> Iterator[None]:
    """Whatever ends the block before the submission, Ctrl-C too, leaves no photos behind."""
    try:
        yield
    except BaseException:
        if run.record().get("status") in {"prepared", "uploaded"}:
            with suppress(LoraPrepError):  # the first error is the one to tell
                delete_dataset(run, store)
        raise
