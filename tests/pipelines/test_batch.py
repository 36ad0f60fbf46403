"""What a batch writes down, while the same batch may run in another process."""

from __future__ import annotations

import threading
from pathlib import Path

from lora_prep.settings import load_settings
from lora_prep.trainers import Claimed, Intent
from pipelines import steps
from pipelines.backends import open_ledger
from pipelines.batch import (
    Entry,
    Work,
    _left_of,
    _remember,
    _within,
    batch_id,
    batches,
    remembered,
)
from pipelines.runs import Run, new_run


def test_the_record_of_a_run_that_another_process_has_in_hand_is_left_to_it() -> None:
    runs = [new_run(), new_run()]
    for run in runs:
        run.update(status="planned", opened=steps.opened(load_settings()))
    held, done = threading.Event(), threading.Event()

    def work(run: Run) -> None:
        with run.alone():
            held.set()
            done.wait(10)

    other = threading.Thread(target=work, args=(runs[0],))
    other.start()
    assert held.wait(10)
    entries = [Entry(run.id, Work.TRAIN, run.id, 10, 4.0) for run in runs]
    planned = [_within(entry, 8.0, 8.0) for entry in entries]
    done.set()
    other.join()
    assert planned == [(entry, 4.0) for entry in entries]
    limits = [run.record()["opened"]["trainer"].get("max_cost_usd") for run in runs]
    assert limits == [None, 4.0]


def test_two_processes_may_remember_the_runs_of_the_same_batch_at_once() -> None:
    jobs = Path("/jobs.toml")
    _remember(jobs, None, {"ada": "run-1"})
    (folder,) = {path.parent for path in new_run().path.parents[1].glob("batches/*.json")}
    part = folder / f"{batch_id(jobs)}.part"
    part.write_text("of another process")
    _remember(jobs, 8.0, {"ada": "run-2"})
    (kept,) = batches()
    assert kept == remembered(batch_id(jobs))
    assert (kept.runs, kept.jobs, kept.budget_usd) == ({"ada": "run-2"}, jobs, 8.0)
    assert part.read_text() == "of another process"


def test_what_cannot_be_read_hides_no_other_batch() -> None:
    _remember(Path("/jobs.toml"), None, {"ada": "run-1"})
    (path,) = new_run().path.parents[1].glob("batches/*.json")
    path.with_name("damaged.json").write_text('{"runs": [')
    path.with_name("other.json").write_text('{"schema": 1, "runs": {"ben": "run-2"}}')
    assert [one.jobs for one in batches()] == [Path("/jobs.toml")]


def test_what_waited_for_its_turn_is_planned_as_unpaid_and_what_may_be_sent_is_not() -> None:
    """Else it would be paid for without a price, a budget or a question."""
    settings, run = load_settings(), new_run()
    run.update(status="submitting")
    assert _left_of(run, settings, again=False) is Work.TRAIN
    ledger = open_ledger(settings)
    intent = Intent(run.id, 1, "http://127.0.0.1", "model", {}, "0" * 64, "bucket", "key")
    claim = ledger.claim(intent)
    assert isinstance(claim, Claimed)
    assert ledger.sending(claim)
    assert _left_of(run, settings, again=False) is Work.GO_ON
