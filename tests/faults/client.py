"""The client of one run: a command that is killed, and started again until its LoRA is archived."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.actors import Actor, cold, warm
from tests.faults.provider import Provider
from tests.faults.scenario import Kill, Scenario

__all__ = ["Client", "Told", "Wrong", "rows_of"]

ADA = Path(__file__).parents[2] / "sample_data" / "people" / "ada"
END_S = 120.0
LIFE_S = 60.0
ARCHIVED, TRAINING_FAILED, UNKNOWN, ARCHIVE_FAILED, TEMPORARY = 0, 6, 7, 8, 75
AGAIN = {ARCHIVE_FAILED, TEMPORARY}  # what says itself that the same again can help
KILLED, MISSED = -signal.SIGKILL, 255


class Wrong(AssertionError):
    """Something that the campaign must never see."""


@dataclass
class Told:
    """What a run of the campaign is told by, besides its end."""

    lives: int = 0
    kills: list[str] = field(default_factory=list)  # what run.json said when it was killed
    resolved: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass
class Client:
    """Whoever runs one run. home: its own, or its rival's too; asking: one person answers for both.

    run: "" until `lora-prep run` has made one.
    """

    run: str
    home: Path
    ledger: Path
    environment: dict[str, str]
    trainer: Provider
    scenario: Scenario
    kills: tuple[Kill, ...]
    asking: threading.Lock
    told: Told = field(default_factory=Told)
    name: str = "client"

    @property
    def folder(self) -> Path:
        """The run's folder; of a cold client that of its newest run."""
        runs = self.home / "runs"
        if self.scenario.cold:
            self.run = max((path.name for path in runs.glob("*")), default="")
        return runs / self.run

    def record(self) -> dict[str, Any]:
        """Return the run's record; {} before there is one."""
        try:
            return dict(json.loads((self.folder / "run.json").read_text()))
        except FileNotFoundError:
            return {}

    def words(self) -> list[str]:
        """Return the command that begins or goes on."""
        if self.record().get("status") in (None, "inspected"):
            return ["run", str(ADA), "--trainer-url", self.trainer.url, "--yes"]
        return ["resume", self.run, "--yes"]

    def follow_to_the_end(self) -> int:
        """Live, be killed and live again until the command ends by itself; return its status."""
        kills, deadline = list(self.kills), time.monotonic() + END_S
        while time.monotonic() < deadline:
            kill = kills.pop(0) if kills else None
            status, error = self._live(*self.words(), kill=kill)
            if kill and error.get("message", "").startswith("Another process works on the run"):
                kills.insert(0, kill)  # it is kept for a life that comes to something
            if status == KILLED:
                self.told.kills.append(self.record().get("status", "nothing"))
            elif status in (ARCHIVED, TRAINING_FAILED):
                return status
            elif error.get("code") == "needs_attention":
                if not self.scenario.may_need_its_owner:
                    raise Wrong(f"it needs attention: {error}")
                self._resolve(error)
            elif status in AGAIN or error.get("code") == "submission_unknown":
                time.sleep(0.1)
            else:
                raise Wrong(f"status {status}: {error}")
        raise Wrong(f"it has not ended after {END_S:g} s: {self.told.errors}")

    def _resolve(self, error: dict[str, Any]) -> None:
        """Do what the error asks the run's owner for, who looks at what was really accepted."""
        asked = re.search(r"lora-prep resolve (\S+)", error["fix"])
        if asked is None:
            raise Wrong(f"it does not say what to resolve: {error}")
        with self.asking:
            if (lost := self._lost(asked[1])) is None:
                return
            time.sleep(self.scenario.late_s)
            owned = {row["prediction_id"] for row in rows_of(self.ledger)}
            tasks = [task for task in self.trainer.tasks() if task not in owned]
            if len(tasks) > 1:
                raise Wrong(f"tasks that no run has: {tasks}")
            if self._lost(asked[1]) != lost:
                return
            answer = ["--prediction", *tasks] if tasks else ["--not-submitted"]
            status, _ = self._live("resolve", asked[1], *answer)
        if status == 0:
            self.told.resolved += 1
        elif status not in {2, *AGAIN}:  # 2: another process has settled it meanwhile
            raise Wrong(f"resolve: status {status}: {self.told.errors[-1]}")

    def _lost(self, run: str) -> tuple[str, float] | None:
        """Return which submission of a run is lost: what is sent anew is another question."""
        row = [row for row in rows_of(self.ledger) if row["run_id"] == run][-1]
        lost = row["state"] in {"unknown", "posting"}
        return (row["token"], row["posted_at"]) if lost else None

    def _live(self, *words: str, kill: Kill | None = None) -> tuple[int, dict[str, Any]]:
        """Run a command until it ends or is killed; return its status and its error."""
        self.told.lives += 1
        place = self.home / "talk"
        place.mkdir(exist_ok=True)
        stdout = place / f"{self.name}-{self.told.lives}.json"
        stderr = stdout.with_suffix(".log")
        line = kill.line if kill else 0
        file = kill.at if kill and line else ""
        start = cold if self.scenario.cold else warm
        process = start([*words, "--json"], self.environment, stdout, stderr, file, line)
        status = self._watch(process, kill if not line else None)
        if status == MISSED:
            told = stdout.with_suffix(".status")
            status = int(told.read_text()) if told.exists() else KILLED
        if status == KILLED:
            return status, {}
        try:
            error = json.loads(stdout.read_text()).get("error", {}) if status else {}
        except ValueError:
            raise Wrong(f"{words}: status {status}, {stderr.read_text()[-2000:]}") from None
        if error:
            self.told.errors.append(f"{error['code']}: {error['message']} {error['why']}")
        return status, error

    def _watch(self, process: Actor, kill: Kill | None) -> int:
        """Wait for the end of a process, and kill it at its moment."""
        deadline = time.monotonic() + LIFE_S
        accepted = self.trainer.stats()["accepted"] if kill and kill.at == "accepted" else 0
        while kill and process.exitcode is None:
            if self._is_the_moment(kill, accepted):
                process.join(kill.after_s)
                process.kill()
                break
            process.join(0.003)
        process.join(max(deadline - time.monotonic(), 0.1))
        if process.exitcode is None:
            process.kill()
            raise Wrong(f"a life of more than {LIFE_S} s: {self.record()}")
        return process.exitcode

    def _is_the_moment(self, kill: Kill, accepted: int) -> bool:
        match kill.at.split():
            case ["accepted"]:
                return bool(self.trainer.stats()["accepted"] > accepted)
            case ["status", status]:
                return bool(self.record().get("status") == status)
            case _:
                return True


def rows_of(ledger: Path) -> list[dict[str, Any]]:
    """Return the ledger's rows, the oldest first."""
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(ledger, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        query = "SELECT * FROM lora_prep_submissions ORDER BY created_at, attempt"
        return [dict(row) for row in database.execute(query)]
