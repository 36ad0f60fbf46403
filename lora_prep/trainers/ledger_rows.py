"""Read the submission ledger."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lora_prep.trainers.budget import Charge
from lora_prep.trainers.submissions import OVER, State, Submission, canonical

__all__ = ["LedgerRows"]

HISTORY = 9  # last trainings that the expected time is the median of
NOT_SETTLED = {State.POSTING, State.WAITING, State.UNKNOWN}
AT_PROVIDER = {State.SUBMITTED, State.COMPLETED}


class LedgerRows:
    """The rows of the ledger in one database."""

    def __init__(self, where: Path | str) -> None:
        """Open the table in a SQLite file (a path) or in any database (a URL)."""
        from lora_prep.trainers.database import Database

        self._database = Database(where)

    def get(self, key: str) -> Submission | None:
        """Return a submission by its key."""
        with self._database.transaction() as rows:
            return rows.read(key=key)

    def of_run(self, run_id: str) -> Submission | None:
        """Return the last submission of a run."""
        with self._database.transaction() as rows:
            found = rows.read_all(run_id=run_id)
        return max(found, key=lambda row: row.intent.attempt, default=None)

    def of_runs(self, run_ids: Iterable[str]) -> dict[str, Submission]:
        """Return the last submission of each of these runs, where it has one."""
        with self._database.transaction() as rows:
            found = rows.read_runs(list(run_ids))
        return {row.intent.run_id: row for row in sorted(found, key=lambda row: row.intent.attempt)}

    def of_prediction(self, origin: str, prediction_id: str) -> Submission | None:
        """Return the submission that a prediction belongs to."""
        with self._database.transaction() as rows:
            return rows.read_prediction(origin, prediction_id)

    def attempt_of(self, run_id: str) -> int:
        """Return the attempt that a run is at: the next one after one that ended."""
        last = self.of_run(run_id)
        if last is None:
            return 1
        return last.intent.attempt + (last.state in OVER)

    def lost(self, origin: str) -> list[Submission]:
        """Return what may have been sent to a trainer, without its id."""
        with self._database.transaction() as rows:
            return rows.read_all(origin=origin, states={State.POSTING, State.UNKNOWN})

    def in_flight(self, origin: str) -> list[Submission]:
        """Return what a trainer has, or may have: it counts against its limit."""
        states = {*NOT_SETTLED, State.SUBMITTED}
        with self._database.transaction() as rows:
            return rows.read_all(origin=origin, states=states)

    def owners(self, origin: str, ids: Iterable[str]) -> dict[str, str]:
        """Return which of these predictions were sent as which submission: {id: key}.

        One that was merely entered is nobody's here: it may be a submission whose answer was lost.
        """
        with self._database.transaction() as rows:
            return rows.owners(origin, list(ids))

    def expected_s(self, origin: str, model: str, parameters: Mapping[str, Any]) -> float | None:
        """Return how long such a training took here, the median of the last ones; None: never."""
        with self._database.transaction() as rows:
            seconds = rows.durations(origin, model, canonical(parameters), HISTORY)
        return statistics.median(seconds) if seconds else None

    def charges(self) -> list[Charge]:
        """Return what each submission was to cost; rehearsals and what was never sent left out."""
        with self._database.transaction() as rows:
            return rows.charges()
