"""What another machine needs to go on with a run: kept in the bucket until the run has ended.

A database that several machines share holds run ids only, no folder and no name. Where the photos
are, and how they are to be judged, lies in the bucket beside the data sets, for whoever may read
those anyway.
"""

from __future__ import annotations

import json

from lora_prep.errors import StorageError
from lora_prep.stores import S3Store
from pipelines.runs import Run

__all__ = ["receive", "share", "unshare"]

FACTS = ("name", "rehearsal", "reused", "opened", "dataset")


def share(run: Run, store: S3Store) -> None:
    """Put what a run was begun with into the bucket.

    Raises:
        StorageError, CredentialsError: the bucket did not take it.
    """
    record = run.record()
    facts = {name: record[name] for name in FACTS if name in record}
    store.put_bytes(json.dumps(facts).encode(), _key(run, store), content_type="application/json")


def receive(run: Run, store: S3Store) -> bool:
    """Begin a run of another machine here; False: it has shared nothing.

    Raises:
        StorageError, CredentialsError: the bucket cannot be read.
    """
    key = _key(run, store)
    if store.head(key) is None:
        return False
    try:
        facts = json.loads(b"".join(store.read(key)))
    except ValueError as error:
        raise StorageError(
            f"What the run {run.id} was begun with cannot be read.",
            why=f"{key} is no JSON.",
            fix="Begin the run again, where it was begun.",
        ) from error
    run.update(status="created", **facts)
    return True


def unshare(run: Run, store: S3Store) -> None:
    """Delete it: the run has ended.

    Raises:
        StorageError, CredentialsError: the bucket does not delete it.
    """
    store.delete(_key(run, store))


def _key(run: Run, store: S3Store) -> str:
    return store.key(f"datasets/begun/{run.id}.json")
