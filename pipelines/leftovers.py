"""Data sets that a crash left in the bucket: which of them nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lora_prep.events import Event, Listener, ignore
from lora_prep.stores import PROBES, S3Store, submission_of
from lora_prep.trainers import OVER, Ledger, State

__all__ = ["Leftover", "collect", "leftovers"]

MOMENTS_AGO = timedelta(hours=1)
"""A zip this young may belong to a run that is about to submit it."""
ENDED = {State.ARCHIVED, State.RELEASED, *OVER}


@dataclass(frozen=True, slots=True)
class Leftover:
    """A data set zip in the bucket. why: it is kept or not, in words."""

    key: str
    size_bytes: int
    needed: bool
    why: str


def leftovers(store: S3Store, ledger: Ledger, *, links_live: timedelta) -> Iterator[Leftover]:
    """Yield every data set zip below the store's prefix.

    links_live: how long a link to a zip may be in somebody's hands before it is submitted.

    Raises:
        StorageError, CredentialsError: the bucket cannot be listed.
        TemporaryError: the ledger does not answer.
    """
    for stored, changed_at in store.listed("datasets/"):
        age = datetime.now(UTC) - changed_at
        submission = ledger.get(submission_of(stored.key))
        if submission is None:
            needed = age < links_live + MOMENTS_AGO
            why = "its link may still be used" if needed else "it was never submitted"
        elif submission.state in ENDED:
            needed = age < MOMENTS_AGO
            why = "it was just uploaded" if needed else f"its training is {submission.state.value}"
        else:
            needed, why = True, f"its training is {submission.state.value}"
        yield Leftover(stored.key, stored.size_bytes, needed, why)


def collect(
    store: S3Store,
    ledger: Ledger,
    *,
    links_live: timedelta,
    dry_run: bool = False,
    on_event: Listener = ignore,
) -> tuple[list[Leftover], int]:
    """Delete what nobody needs, probes too, and abort uploads that were cut a day ago.

    Returns every data set zip that was there, and how many uploads were aborted.
    """
    found = list(leftovers(store, ledger, links_live=links_live))
    for one in found:
        on_event(Event("clean", f"{one.key}: {one.why}"))
        if not (one.needed or dry_run):
            store.delete(one.key)
    for stored, put_at in list(store.listed(PROBES)):
        if datetime.now(UTC) - put_at > MOMENTS_AGO and not dry_run:
            on_event(Event("clean", f"{stored.key}: a probe that was cut"))
            store.delete(stored.key)
    aborted = 0 if dry_run else store.abort_uploads(older_than=timedelta(days=1))
    return found, aborted
