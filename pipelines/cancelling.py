"""Giving a run up: nothing of it is begun any more, and nobody is told that money came back.

No API of the trainer takes a submission back. So the ledger's row stays as it is: `resume` later
follows the same training, and nothing is paid twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lora_prep.errors import ConfigurationError, LoraPrepError, TemporaryError
from lora_prep.events import Event, Listener, ignore
from lora_prep.settings import Settings
from pipelines.looking import Looker, Row
from pipelines.runs import Run, run_by_id

if TYPE_CHECKING:
    from lora_prep.trainers import Submission

__all__ = ["Cancelled", "Remote", "cancel"]

TRY_S = 0.2  # between two tries to have the run alone
NOT_SENT = frozenset({"waiting", "released", "failed", "refused", "cancelled"})


class Remote(StrEnum):
    """What became of the training: none was submitted, it may have been, or it was.

    rehearsal: it was, where nothing is paid.
    """

    NONE = "none"
    MAY_BE_SUBMITTED = "may_be_submitted"
    SUBMITTED = "submitted"
    REHEARSAL = "rehearsal"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A run that was given up.

    stopped: whether there was a workflow to stop; zip_deleted: from the bucket, None where none of
    this run is in it or the training may need it; here: whether its folder is on this machine.
    """

    run: str
    stopped: bool
    remote: Remote
    prediction_id: str | None
    zip_deleted: bool | None
    here: bool

    def to_json(self) -> dict[str, Any]:
        """Return what `cancel --json` prints."""
        return {
            "schema": 1,
            "run": self.run,
            "status": "cancelled",
            "stopped": self.stopped,
            "training": self.remote.value,
            "prediction_id": self.prediction_id,
            "zip_deleted": self.zip_deleted,
        }


def cancel(
    run_id: str, settings: Settings, looker: Looker, on_event: Listener = ignore
) -> Cancelled:
    """Stop a run before its next stage and mark it; delete a zip that was surely never submitted.

    It can be repeated. What surely was not submitted is not submitted from here on, also by a
    process that just waits for room at the trainer.

    Raises:
        ConfigurationError: nobody knows the run, or it has ended.
        TemporaryError, MissingDependency: the database cannot be used.
    """
    row = looker.row(run_id)
    if row.ended and row.status != "cancelled":
        raise ConfigurationError(
            f"There is nothing to cancel: the run {run_id} is {row.status}.",
            why="Nothing of it is left to do.",
            fix=f"See what it gave: lora-prep status {run_id}",
        )
    run = run_by_id(run_id)
    if run:  # first: a stage that is about to send looks for it
        run.mark_cancelled()
    client = looker.known.client()
    stopped = client.cancel(run_id) if client else False
    if run:  # again: a workflow may just have begun, which takes back what was said before
        run.mark_cancelled()
    deleted = None
    if run and (run.record().get("dataset") or {}).get("object"):
        deleted = _delete_unsent(run, settings, on_event)
    submission = looker.known.submissions([run_id]).get(run_id)
    return Cancelled(
        run_id,
        stopped,
        _remote(row, submission, run),
        (submission and submission.prediction_id) or row.prediction_id,
        deleted,
        run is not None,
    )


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _remote(row: Row, submission: Submission | None, run: Run | None) -> Remote:
    state = submission.state.value if submission else None
    if state in NOT_SENT or (state is None and not row.prediction_id):
        return Remote.NONE
    rehearsal = submission.intent.rehearsal if submission else run and run.record().get("rehearsal")
    if rehearsal:
        return Remote.REHEARSAL
    return Remote.MAY_BE_SUBMITTED if state in {"posting", "unknown"} else Remote.SUBMITTED


def _delete_unsent(run: Run, settings: Settings, on_event: Listener) -> bool | None:
    """Delete the zip once nobody works on the run any more; None: it may be needed.

    A process that just has it in hand comes to the end of its stage first, and whatever that is,
    it deletes the zip itself where it finds that nothing may be sent.
    """
    from pipelines.backends import connect_store, open_ledger
    from pipelines.cleaning import delete_datasets, surely_unsent
    from pipelines.train import settings_of

    until = time.monotonic() + settings.engine.drain_s
    while True:
        try:
            with run.alone():
                if not surely_unsent(run, open_ledger(settings)):
                    return None
                with connect_store(settings_of(run), on_event) as store:
                    return delete_datasets(run, store, on_event)
        except TemporaryError:
            if time.monotonic() > until or not run.is_held:
                on_event(Event("clean", LEFT, kind="warning"))
                return False
            time.sleep(TRY_S)
        except LoraPrepError as error:
            on_event(Event("clean", f"{LEFT} {error.what}", kind="warning"))
            return False


LEFT = "the photos may still be in the bucket; say it again, or: lora-prep store gc."
