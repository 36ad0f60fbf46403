"""Real processes: races for one claim, and kill -9 at every line that submits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from lora_prep.errors import LoraPrepError, NeedsAttention
from lora_prep.trainers import InFlight, Ledger, Waits, resolve_not_submitted, submit_or_follow
from tests.trainers.databases import DATABASES, new_database
from tests.trainers.provider import (
    HANG_AFTER,
    client_of,
    intent_of,
    provider,
    request_of,
)

pytestmark = pytest.mark.slow

WAITS = Waits(margin_s=0.1, look_every_s=0.02)
TRACED = (
    *(
        f"{os.sep}trainers{os.sep}{name}.py"
        for name in ("submit", "ledger", "ledger_rows", "client", "exchange", "database")
    ),
    f"{os.sep}lora_prep{os.sep}database.py",
)
KILLS = {"sqlite": 60, "postgres": 20}  # spread over all lines, which are a few hundred


def forkserver() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "sqlalchemy", "httpx", "lora_prep.trainers.database"])
    return context


def submit(where: Path | str, url: str, run_id: str, data: str = "abc") -> str:
    ledger = Ledger(where, stale_s=30)
    with client_of(url) as client:
        intent = intent_of(client.origin, run_id, data=data)
        outcome = submit_or_follow(ledger, client, intent, lambda: request_of(intent), WAITS)
    return f"{type(outcome).__name__} {outcome.submission.prediction_id}"


def racer(where: Path | str, url: str, run_id: str, at: float, answers: Any) -> None:
    try:
        time.sleep(max(at - time.time(), 0))
        answers.put(submit(where, url, run_id))
    except LoraPrepError as error:
        answers.put(str(error))


def victim(where: Path | str, url: str, line: int, lines: Any) -> None:
    """Submit, and kill this very process when so many lines of ours have run."""
    count = 0

    def local(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            lines.value = count
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return local

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return local if frame.f_code.co_filename.endswith(TRACED) else None

    sys.settrace(trace)
    submit(where, url, "run1")
    sys.settrace(None)


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("runs", [["run1"], ["run1", "run2", "run3"]])
def test_exactly_one_of_many_processes_sends_it(kind: str, runs: list[str], tmp_path: Path) -> None:
    context = forkserver()
    where = new_database(kind, tmp_path)
    with provider() as served:
        for round_ in range(3):
            answers: Any = context.Queue()
            at = time.time() + 1.0
            racers = [
                context.Process(
                    target=racer, args=(where, served.url, runs[n % len(runs)], at, answers)
                )
                for n in range(6)
            ]
            for one in racers:
                one.start()
            told = [answers.get(timeout=60) for _ in racers]
            for one in racers:
                one.join()
            assert served.posts == 1, told
            submitted = ["Submitted task0000"] if round_ == 0 else []
            assert Counter(told) == Counter(
                submitted + ["InFlight task0000"] * (6 - len(submitted))
            )


def opener(where: Path | str, at: float, answers: Any) -> None:
    try:
        time.sleep(max(at - time.time(), 0))
        answers.put(Ledger(where).get("run1-1"))
    except LoraPrepError as error:
        answers.put(str(error))


@pytest.mark.parametrize("kind", DATABASES)
def test_many_processes_may_make_the_ledger_at_once(kind: str, tmp_path: Path) -> None:
    context = forkserver()
    for _ in range(3):
        where = new_database(kind, tmp_path)
        answers: Any = context.Queue()
        at = time.time() + 1.0
        openers = [context.Process(target=opener, args=(where, at, answers)) for _ in range(6)]
        for one in openers:
            one.start()
        told = [answers.get(timeout=60) for _ in openers]
        for one in openers:
            one.join()
        assert told == [None] * 6
        with Ledger(where)._database._engine.begin() as connection:
            versions = connection.exec_driver_sql("SELECT version FROM lora_prep_ledger")
            assert versions.scalars().all() == [1]


def run_victim(where: Path | str, url: str, line: int) -> tuple[int | None, int]:
    context = forkserver()
    lines = context.Value("i", 0)
    process = context.Process(target=victim, args=(where, url, line, lines))
    process.start()
    process.join(60)
    return process.exitcode, lines.value


@pytest.mark.parametrize("kind", DATABASES)
def test_killed_at_any_line_it_is_paid_once(kind: str, tmp_path: Path) -> None:
    with provider() as served:
        code, lines = run_victim(new_database(kind, tmp_path), served.url, -1)
    assert code == 0
    assert lines > 100
    ends: Counter[str] = Counter()
    for line in range(1, lines, max(lines // KILLS[kind], 1)):
        where = new_database(kind, tmp_path)
        with provider() as served:
            code, _ = run_victim(where, served.url, line)
            assert code == -signal.SIGKILL
            sent = served.posts
            told = submit(where, served.url, "run2")  # the same request, as another run
            assert len(served.accepted) == 1, f"line {line}: {told}, {served.posts} posts"
            assert told.endswith("task0000")
            assert submit(where, served.url, "run1") == "InFlight task0000"
            assert len(served.accepted) == 1
            ends[f"{sent} sent, then {told.split()[0]}"] += 1
    assert set(ends) == {"0 sent, then Submitted", "1 sent, then InFlight"}, ends


def test_killed_before_sending_the_hosted_trainer_needs_its_owner(tmp_path: Path) -> None:
    """Its list proves nothing, so only a person frees what was surely not sent, unprovably."""
    where = new_database("sqlite", tmp_path)
    with provider(consistent=False) as served:
        low, high = 1, run_victim(new_database("sqlite", tmp_path), served.url, -1)[1]
        served.accepted.clear()
        for line in range(low, high, 12):
            code, _ = run_victim(where, served.url, line)
            assert code == -signal.SIGKILL
            try:
                submit(where, served.url, "run1")
            except NeedsAttention:
                break
            where = new_database("sqlite", tmp_path)
            served.accepted.clear()
        else:
            pytest.fail("no kill fell between the claim and the request")
        assert served.accepted == []
        ledger = Ledger(where)
        row = ledger.of_run("run1")
        assert row
        with client_of(served.url) as client:
            resolve_not_submitted(ledger, client, row, WAITS)
        assert submit(where, served.url, "run1").startswith("Submitted")
        assert len(served.accepted) == 1


def test_killed_while_the_trainer_works_on_the_request(tmp_path: Path) -> None:
    context = forkserver()
    where = new_database("sqlite", tmp_path)
    with provider(faults=[HANG_AFTER], consistent=False) as served:
        lines = context.Value("i", 0)
        process = context.Process(target=victim, args=(where, served.url, -1, lines))
        process.start()
        assert served.reached.wait(30)
        with client_of(served.url) as client:
            alive = Ledger(where).claim(intent_of(client.origin))
            assert isinstance(alive, InFlight)
            assert alive.submission.prediction_id is None
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert submit(where, served.url, "run1") == "InFlight task0000"
        assert served.posts == 1


def test_a_claimer_that_only_sleeps_keeps_its_claim(tmp_path: Path) -> None:
    context = forkserver()
    where = new_database("sqlite", tmp_path)
    with provider(faults=[HANG_AFTER]) as served:
        lines = context.Value("i", 0)
        process = context.Process(target=victim, args=(where, served.url, -1, lines))
        process.start()
        assert served.reached.wait(30)
        os.kill(process.pid or 0, signal.SIGSTOP)
        try:
            time.sleep(1)
            ledger = Ledger(where, stale_s=0.1)
            outcome = ledger.claim(intent_of(served.url))
            assert isinstance(outcome, InFlight), "alive, whatever the time"
        finally:
            os.kill(process.pid or 0, signal.SIGCONT)
        process.join(30)
        assert process.exitcode == 0
        assert served.posts == 1
