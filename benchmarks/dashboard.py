"""How fast the dashboard answers in a home of many runs, over HTTP and behind its guard.

Promise: with 1,000 runs, 200 of them unfinished, and 10 batches, a fragment in <= 100 ms: an open
page asks for one every two seconds. What has ended costs no more than a look at its file's date:
beside it stands a home with the same unfinished runs and none that has ended.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import Ask, compare, served
from lora_prep.settings import load_settings
from lora_prep.trainers import Claimed, Intent
from lora_prep.web.dashboard_app import Board, dashboard_app
from pipelines.backends import open_ledger
from pipelines.batch import _remember
from pipelines.engine import QUEUE, Client
from pipelines.places import database_of, machine_of
from pipelines.runs import Run, run_at
from pipelines.train import Task

LIMIT_MS = 100
UNFINISHED, BATCHES, EVENTS, PHOTOS = 200, 10, 40, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    wanted = parser.parse_args()
    for count in (UNFINISHED, wanted.count):
        with tempfile.TemporaryDirectory() as place:
            os.environ["LORA_PREP_HOME"] = place
            run_id = fill(count)
            print(f"{count} runs, {UNFINISHED} of them unfinished; each asked {wanted.runs} times")
            measure(run_id, wanted.runs)


def measure(run_id: str, runs: int) -> None:
    with (
        closing(Board(load_settings())) as board,
        served(lambda tokens: dashboard_app(board, tokens)) as client,
    ):
        questions: dict[str, Ask] = {
            "all runs": lambda _: client.get("/now"),
            "all runs, none hidden": lambda _: client.get("/now?whole=1"),
            "one run": lambda _: client.get(f"/runs/{run_id}/now"),
        }
        client.get("/").raise_for_status()  # it reads every record, and loads the database's driver
        compare(questions, runs, LIMIT_MS)


def fill(count: int) -> str:
    """Make up a home as batches and a worker leave it; return an unfinished run."""
    settings = load_settings()
    begun_at = datetime.now(UTC) - timedelta(days=30)
    ids = [
        f"{begun_at + timedelta(minutes=number):%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"
        for number in range(count)
    ]
    ledger = open_ledger(settings)
    unfinished = ids[-UNFINISHED:]
    for number, run_id in enumerate(ids):
        run, left = run_at(run_id), UNFINISHED - (count - number)
        ended = run_id not in unfinished
        status = "archived" if ended else "submitted" if left < UNFINISHED // 4 else "prepared"
        describe(run, number, status)
        if status != "prepared":
            intent = Intent(
                run_id, 1, "https://trainer.test", "m", {}, run_id, "b", "key", price_usd=4
            )
            claim = ledger.claim(intent)
            assert isinstance(claim, Claimed)
            ledger.submitted(claim, f"p-{run_id}")
            ledger.let_go(claim)
            if ended:
                ledger.archived(intent.key)
    for number in range(BATCHES):
        some = ids[number::BATCHES]
        _remember(
            Path(f"/people/{number}.toml"), 40.0, {f"p{at}": one for at, one in enumerate(some)}
        )
    queue(ids, unfinished)
    return unfinished[0]


def describe(run: Run, number: int, status: str) -> None:
    """Write a record and a log, as long as those of a run of 30 photos."""
    photo = {"verdict": "kept", "reasons": [], "face": {"box": [1, 2, 3, 4], "score": 0.9}}
    record: dict[str, Any] = {
        "schema": 1, "run": run.id, "name": f"person {number}", "status": status,
        "opened": {"trainer_url": "https://trainer.test", "store": {}, "trainer": {}},
        "inspection": {"photos": [{"file": f"{at}.jpg", **photo} for at in range(PHOTOS)]},
    }  # fmt: skip
    if status != "prepared":
        record["training"] = {"prediction_id": f"p-{run.id}", "price_usd": 4.0}
    run.make()
    (run.path / "run.json").write_text(json.dumps(record, indent=2))
    (run.path / "lock").touch()
    said = {"time": datetime.now(UTC).isoformat(), "stage": "train", "message": "processing"}
    lines = [json.dumps({**said, "done": at, "total": EVENTS}) for at in range(EVENTS)]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")


def queue(ids: list[str], unfinished: list[str]) -> None:
    """Give every run a workflow, and the unfinished ones to a worker that lives."""
    settings = load_settings()
    with closing(Client(settings)) as client:
        client.register(QUEUE, 3, 1)
        client.enqueue_all({run_id: Task(run_id, yes=True) for run_id in ids})
        executor = client.executors.enter(machine_of(settings))
    with closing(sqlite3.connect(database_of(settings))) as database:
        database.execute("UPDATE workflow_status SET status = 'SUCCESS', output = '{}'")
        database.executemany(
            "UPDATE workflow_status SET status = 'PENDING', executor_id = ? "
            "WHERE workflow_uuid LIKE ? || '.%'",
            [(executor, run_id) for run_id in unfinished],
        )
        database.commit()


if __name__ == "__main__":
    main()
