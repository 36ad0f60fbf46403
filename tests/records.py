"""Runs as the chain leaves them: their records, their submissions, and who has them in hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lora_prep.settings import load_settings
from lora_prep.trainers import Claimed, Intent, State
from pipelines.backends import open_ledger
from pipelines.runs import Run, new_run

__all__ = ["LOST", "OPENED", "in_hand", "made", "submitted"]

OPENED = {"trainer_url": "embedded", "store": {}, "trainer": {}}
LOST = {"code": "needs_attention", "message": "Lost.", "why": "W.", "fix": "Do.", "retryable": True}


def made(status: str | None, *, days_ago: float = 0, **facts: Any) -> Run:
    run = new_run()
    run.update(**{"status": status, "opened": OPENED} | facts)
    when = time.time() - days_ago * 86400
    os.utime(run.path / "run.json", (when, when))
    return run


def submitted(run: Run, state: State = State.SUBMITTED) -> str:
    """Enter a submission of a run into the ledger, as far as the state says."""
    ledger = open_ledger(load_settings())
    intent = Intent(
        run.id, 1, "https://trainer.test", "m", {}, run.id, "bucket", "key", price_usd=4
    )  # fmt: skip
    claimed = ledger.claim(intent)
    assert isinstance(claimed, Claimed)
    if state is State.UNKNOWN:
        ledger.unsure(claimed, "no answer")
    elif state is not State.POSTING:
        ledger.sending(claimed)
        ledger.submitted(claimed, f"p-{run.id}")
    ledger.let_go(claimed)
    return f"p-{run.id}"


@contextmanager
def in_hand(run: Run) -> Iterator[None]:
    """Another process has the run to itself, until the end of the block."""
    code = (
        "import sys; from pipelines.runs import run_at\n"
        "with run_at(sys.argv[1]).alone(): print('mine', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, run.id]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"mine\n"
    try:
        yield
    finally:
        process.communicate()
