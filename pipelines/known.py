"""What the one database knows of runs, asked for without launching anything.

Each part is opened when it has something to tell: SQLAlchemy takes 0.15 s to load, the engine
0.45 s, and most looks at the runs of one machine need neither.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.settings import Settings
from pipelines.places import database_of, is_shared, machine_of

if TYPE_CHECKING:
    from lora_prep.trainers import Charge, Submission
    from lora_prep.trainers.ledger_rows import LedgerRows
    from pipelines.engine import Client, Flow
    from pipelines.executors import Executors
    from pipelines.schedules import Schedule, Schedules

__all__ = ["Known"]

LEDGER, EXECUTORS, WORKFLOWS = "lora_prep_submissions", "lora_prep_executors", "workflow_status"
SCHEDULES = "lora_prep_schedules"


class Known:
    """The database, as far as it is there; nothing is made in a file for being looked at."""

    def __init__(self, settings: Settings) -> None:
        """Take it from the settings; nothing is opened yet.

        Raises:
            ConfigurationError: it would lie on a network share.
        """
        self._settings = settings
        self._where = database_of(settings)
        self.shared = is_shared(settings)
        self._ledger: LedgerRows | None = None
        self._executors: Executors | None = None
        self._schedules: Schedules | None = None
        self._client: Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._client:
            self._client.close()

    def submissions(self, run_ids: Iterable[str]) -> dict[str, Submission]:
        """Return the last submission of each run that has one.

        Raises:
            ConfigurationError, MissingDependency, TemporaryError: the database cannot be used.
        """
        wanted = list(run_ids)
        ledger = self._open_ledger() if wanted else None
        return ledger.of_runs(wanted) if ledger else {}

    def charges(self) -> list[Charge]:
        """Return what every submission was to cost.

        Raises: as `submissions`.
        """
        ledger = self._open_ledger()
        return ledger.charges() if ledger else []

    def schedules(self) -> tuple[Schedule, ...]:
        """Return every schedule, by name.

        Raises: as `submissions`.
        """
        if not self._has(SCHEDULES):
            return ()
        if self._schedules is None:
            from pipelines.schedules import Schedules

            self._schedules = Schedules(self._where)
        return self._schedules.list()

    def flows(self, *run_ids: str, unfinished: bool = False) -> list[Flow]:
        """Return the newest workflow of each run, of all without `run_ids`.

        Raises: as `submissions`.
        """
        client = self.client()
        return client.flows(*run_ids, unfinished=unfinished) if client else []

    def held(self) -> frozenset[str]:
        """Return the runs whose workflow a living process has in hand, or will take.

        Raises: as `submissions`.
        """
        if not self._has(EXECUTORS):
            return frozenset()
        living = self._open_executors().living()
        client = self.client() if living else None
        if client is None:
            return frozenset()
        flows = client.flows(unfinished=True)
        return frozenset(flow.run for flow in flows if client.is_held(flow, living))

    def is_elsewhere(self, flow: Flow) -> bool:
        """Whether another machine has executed a workflow."""
        machine = f"{machine_of(self._settings)}-"
        return bool(flow.executor_id) and not flow.executor_id.startswith(machine)

    def stage_of(self, flow: Flow) -> str | None:
        """Return the stage that a workflow last said it was at.

        Raises: as `submissions`.
        """
        client = self.client()
        said: Mapping[str, Any] = client.progress(flow) if client else {}
        stage = said.get("stage")
        return stage if isinstance(stage, str) else None

    def client(self) -> Client | None:
        """Return the engine's client; None where the engine was never launched.

        Raises: as `submissions`.
        """
        if self._client is None and self._has(WORKFLOWS):
            from pipelines.engine import Client

            self._client = Client(self._settings)
        return self._client

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    def _open_ledger(self) -> LedgerRows | None:
        if self._ledger is None and self._has(LEDGER):
            from lora_prep.trainers.ledger_rows import LedgerRows

            self._ledger = LedgerRows(self._where)
        return self._ledger

    def _open_executors(self) -> Executors:
        if self._executors is None:
            from pipelines.executors import Executors

            self._executors = Executors(self._where, silent_s=self._settings.engine.reaper_s)
        return self._executors

    def _has(self, table: str) -> bool:
        """Whether a table is there; of our own on a server it is made where it is missing."""
        if isinstance(self._where, Path):
            return table in _tables(self._where)
        return table != WORKFLOWS or self._open_executors().knows_workflows()


def _tables(path: Path) -> frozenset[str]:
    """Return the names of the tables of a SQLite file; of one that is not there, none."""
    if not path.exists():
        return frozenset()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return frozenset(name for (name,) in found)
    except sqlite3.Error:  # whoever opens it next says what is wrong
        return frozenset({LEDGER, EXECUTORS, WORKFLOWS, SCHEDULES})
