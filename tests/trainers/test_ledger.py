"""One request, one payment: what a claim comes to in every state, on every database."""

from __future__ import annotations

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lora_prep.errors import ConfigurationError, TemporaryError
from lora_prep.trainers import (
    Archived,
    Claimed,
    Ended,
    Free,
    InFlight,
    Intent,
    Ledger,
    State,
    Submission,
    Unknown,
)
from lora_prep.trainers.claimer import Claimer, Liveness, Processes
from tests.trainers.databases import DATABASES, KINDS, new_database
from tests.trainers.provider import PARAMETERS, intent_of

pytestmark = pytest.mark.slow  # many databases

ORIGIN = "https://trainer.test"


class FakeProcesses(Processes):
    """Processes of other machines and of the past; whether they live is what the test says."""

    def __init__(self, pid: int = 1) -> None:
        self.me = Claimer("host", pid, "boot", "1", "space")
        self.others: dict[int, Liveness] = {}

    def this(self) -> Claimer:
        return self.me

    def liveness(self, claimer: Claimer) -> Liveness:
        return self.others.get(claimer.pid, Liveness.ALIVE)


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return new_database(request.param, tmp_path)


@pytest.fixture
def ledger(where: Path | str) -> Ledger:
    return Ledger(where)


def intent(run_id: str = "run1", **how: object) -> Intent:
    return intent_of(ORIGIN, run_id, **how)  # type: ignore[arg-type]


def claimed(ledger: Ledger, wanted: Intent, **how: bool) -> Claimed:
    outcome = ledger.claim(wanted, **how)
    assert isinstance(outcome, Claimed)
    return outcome


def test_a_claim_is_committed_with_all_that_recognises_it(where: Path | str) -> None:
    wanted = intent(price_usd=2.5)
    claim = claimed(Ledger(where), wanted)
    row = Ledger(where).get(wanted.key)
    assert row == claim.submission
    assert row.intent == wanted
    assert row.state is State.POSTING
    assert row.claimer == Processes().this()
    assert row.posted_at.tzinfo is not None


def test_the_one_who_claimed_sends_it_and_everybody_else_follows(ledger: Ledger) -> None:
    wanted = intent()
    claim = claimed(ledger, wanted)
    assert isinstance(ledger.claim(wanted), InFlight)  # this process is just sending it
    assert ledger.sending(claim)
    assert ledger.submitted(claim, "p1")
    ledger.let_go(claim)
    for outcome in (ledger.claim(wanted), ledger.claim(intent("run2")), ledger.look(wanted)):
        assert isinstance(outcome, InFlight)
        assert outcome.submission.prediction_id == "p1"
    ledger.completed(wanted.key)
    assert isinstance(ledger.claim(wanted), InFlight)
    ledger.archived(wanted.key, [{"url": "s3://b/k"}])
    outcome = ledger.claim(intent("run2"))
    assert isinstance(outcome, Archived)
    assert outcome.submission.loras == ({"url": "s3://b/k"},)


@pytest.mark.parametrize(
    "other",
    [
        intent("run2", data="def"),
        intent("run2", parameters={**PARAMETERS, "steps": 1500}),
        intent("run2", model="wavespeed-ai/another"),
        replace(intent("run2"), origin="https://other.test"),
    ],
)
def test_another_request_is_not_the_same(ledger: Ledger, other: Intent) -> None:
    claimed(ledger, intent())
    claimed(ledger, other)


def test_again_pays_again_and_is_what_the_next_one_follows(ledger: Ledger) -> None:
    first = claimed(ledger, intent())
    ledger.submitted(first, "p1")
    second = claimed(ledger, intent("run2"), again=True)
    ledger.submitted(second, "p2")
    assert isinstance(ledger.claim(intent("run2"), again=True), InFlight)  # its own key is taken
    outcome = ledger.claim(intent("run3"))
    assert isinstance(outcome, InFlight)
    assert outcome.submission.key == "run2-1"


def test_rehearsals_may_repeat_but_one_of_them_is_sent_once(ledger: Ledger) -> None:
    for run_id in ("run1", "run2"):
        claim = claimed(ledger, intent(run_id, rehearsal=True))
        ledger.submitted(claim, f"of {run_id}")
        assert isinstance(ledger.claim(intent(run_id, rehearsal=True)), InFlight)


def test_what_ended_without_a_lora_is_free_for_the_next_attempt(ledger: Ledger) -> None:
    assert ledger.attempt_of("run1") == 1
    claim = claimed(ledger, intent())
    ledger.submitted(claim, "p1")
    assert ledger.attempt_of("run1") == 1
    ledger.failed("run1-1", "no X-Amz-Signature=secret")
    assert isinstance(ledger.claim(intent()), Ended)
    assert ledger.attempt_of("run1") == 2
    claimed(ledger, intent(attempt=2))
    last = ledger.of_run("run1")
    assert last
    assert last.intent.attempt == 2
    assert "secret" not in (ledger.get("run1-1") or last).reason


def test_a_released_submission_can_be_claimed_again_by_anyone(ledger: Ledger) -> None:
    first = claimed(ledger, intent())
    assert ledger.release(first.submission, "refused")
    assert not ledger.release(first.submission, "twice")
    assert not ledger.sending(first)
    assert isinstance(ledger.look(intent()), Free)
    second = claimed(ledger, intent("run2"))
    assert isinstance(ledger.claim(intent()), InFlight)
    assert ledger.release(second.submission, "refused")
    third = claimed(ledger, intent())
    assert third.submission.token != first.submission.token
    assert not ledger.submitted(first, "p1"), "a claim that was lost settles nothing"


def test_a_lost_answer_is_unknown_until_it_is_settled(ledger: Ledger) -> None:
    claim = claimed(ledger, intent())
    assert ledger.unsure(claim, "ReadTimeout")
    for wanted in (intent(), intent("run2")):
        outcome = ledger.claim(wanted)
        assert isinstance(outcome, Unknown)
        assert isinstance(ledger.look(wanted), Unknown)
    assert ledger.adopt(outcome.submission, "p1")
    assert ledger.adopt(outcome.submission, "p1"), "twice the same is the same"
    assert not ledger.adopt(outcome.submission, "p2")
    assert not ledger.release(outcome.submission, "too late")
    other = claimed(ledger, intent("run3", data="other"))
    ledger.unsure(other, "reset")
    lost = ledger.claim(intent("run3", data="other"))
    assert isinstance(lost, Unknown)
    with pytest.raises(ConfigurationError, match="belongs to another"):
        ledger.adopt(lost.submission, "p1")


def test_the_claim_of_a_dead_process_is_unknown_and_of_a_live_one_in_flight(
    where: Path | str,
) -> None:
    first = FakeProcesses(pid=7)
    claimed(Ledger(where, processes=first), intent())
    other = FakeProcesses(pid=8)
    now = [1e9]
    ledger = Ledger(where, processes=other, stale_s=100, clock=lambda: now[0])
    assert isinstance(ledger.claim(intent()), InFlight)
    other.others[7] = Liveness.DEAD
    lost = ledger.claim(intent())
    assert isinstance(lost, Unknown)
    assert ledger.is_over(lost.submission)
    other.others[7] = Liveness.UNTOLD
    now[0] = lost.submission.updated_at.timestamp() + 99
    assert isinstance(ledger.claim(intent()), InFlight)
    now[0] += 2
    assert isinstance(ledger.claim(intent()), Unknown)
    assert not ledger.is_over(lost.submission), "nobody can tell: never released by itself"


def test_what_this_process_gave_up_is_unknown_though_it_lives(ledger: Ledger) -> None:
    claim = claimed(ledger, intent())
    ledger.let_go(claim)
    assert isinstance(ledger.claim(intent()), Unknown)


def test_a_claim_that_waits_for_room_is_taken_over_from_the_dead(where: Path | str) -> None:
    first = FakeProcesses(pid=7)
    sleeper = Ledger(where, processes=first)
    claim = claimed(sleeper, intent())
    assert sleeper.waiting(claim, "429")
    other = FakeProcesses(pid=8)
    ledger = Ledger(where, processes=other)
    assert isinstance(ledger.claim(intent()), InFlight)
    assert isinstance(ledger.claim(intent("run2")), InFlight)
    other.others[7] = Liveness.DEAD
    assert isinstance(ledger.look(intent("run2")), Free)
    claimed(ledger, intent("run2"))
    assert not sleeper.sending(claim), "it wakes up after all, and must not send"
    assert isinstance(ledger.claim(intent()), InFlight)


@pytest.mark.parametrize("where", [kind for kind in KINDS if kind != "sqlite"], indirect=True)
def test_a_claimer_that_wakes_up_while_it_is_taken_over_keeps_its_claim(
    where: Path | str,
) -> None:
    """SQLite lets nobody in between; on Postgres the row may change after it was read."""
    other = FakeProcesses(pid=8)
    sleeper = Ledger(where, processes=FakeProcesses(pid=7))
    claim = claimed(sleeper, intent())
    assert sleeper.waiting(claim, "429")
    woken: list[bool] = []

    class Slow(Ledger):
        def _may_take_over(self, row: Submission) -> bool:
            may = super()._may_take_over(row)
            if not woken:
                woken.append(sleeper.sending(claim))
            return may

    other.others[7] = Liveness.UNTOLD
    outcome = Slow(where, processes=other, stale_s=-1).claim(intent("run2"))
    assert woken == [True]
    assert isinstance(outcome, Unknown)
    assert outcome.submission.key == "run1-1"


def test_what_is_at_the_trainer_is_counted_and_owned(ledger: Ledger) -> None:
    for number, run_id in enumerate(("run1", "run2", "run3")):
        claim = claimed(ledger, intent(run_id, data=run_id))
        ledger.submitted(claim, f"p{number}")
    ledger.archived("run1-1")
    assert [row.key for row in ledger.in_flight(ORIGIN)] == ["run2-1", "run3-1"]
    assert ledger.owners(ORIGIN, ["p0", "p2", "x"]) == {"p0": "run1-1", "p2": "run3-1"}
    assert ledger.owners("https://other.test", ["p0"]) == {}
    claim = claimed(ledger, intent("run4", data="4"))
    assert not ledger.submitted(claim, "p0"), "an id belongs to one submission"


def test_expected_time_is_the_median_of_this_installation(where: Path | str) -> None:
    now = [1e9]
    ledger = Ledger(where, clock=lambda: now[0])
    assert ledger.expected_s(ORIGIN, intent().model, PARAMETERS) is None
    for number, seconds in enumerate((100, 300, 900)):
        wanted = intent(f"run{number}", data=str(number))
        ledger.submitted(claimed(ledger, wanted), f"p{number}")
        now[0] += seconds
        ledger.completed(wanted.key)
    assert ledger.expected_s(ORIGIN, intent().model, PARAMETERS) == 300
    assert ledger.expected_s(ORIGIN, intent().model, {"steps": 1}) is None


def test_a_training_from_elsewhere_is_entered_once(ledger: Ledger) -> None:
    row = ledger.enter(intent("run9"), "p9")
    assert (row.state, row.prediction_id) == (State.SUBMITTED, "p9")
    assert ledger.enter(intent("run10"), "p9").key == "run9-1"
    with pytest.raises(ConfigurationError, match="exists already"):
        ledger.enter(intent("run9"), "p10")
    claimed(ledger, intent("run11"))


@pytest.mark.parametrize("other", [False, True])
def test_what_was_taken_for_lost_and_is_archived_stands_for_its_request_again(
    ledger: Ledger, other: bool
) -> None:
    ledger.submitted(claimed(ledger, intent()), "p1")
    ledger.failed("run1-1", "it was not found for a while")
    if other:
        claimed(ledger, intent("run2"))
    ledger.archived("run1-1")
    ledger.failed("run1-1", "too late")
    taken = ledger.claim(intent("run3"))
    assert isinstance(taken, InFlight if other else Archived)
    assert taken.submission.key == ("run2-1" if other else "run1-1")


def test_the_file_is_private_and_survives_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    Ledger(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ledger = Ledger(f"sqlite:///{path}")
    with ledger._database.transaction() as rows:
        level = rows._connection.exec_driver_sql("PRAGMA synchronous").scalar()
    assert level == 2  # FULL


def test_no_name_no_folder_and_no_url_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    claimed(Ledger(path), intent())
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute("SELECT * FROM lora_prep_submissions").fetchone())
    import socket

    assert socket.gethostname() not in [str(value) for value in row.values()]
    assert not [name for name, value in row.items() if "?" in str(value)]


def versions(ledger: Ledger) -> list[int]:
    with ledger._database._engine.begin() as connection:
        return list(connection.exec_driver_sql("SELECT version FROM lora_prep_ledger").scalars())


def change(ledger: Ledger, statement: str) -> None:
    with ledger._database._engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_a_ledger_says_which_version_it_is(where: Path | str) -> None:
    for _ in range(2):
        assert versions(Ledger(where)) == [1]


def test_a_ledger_from_before_versions_is_the_first(where: Path | str) -> None:
    ledger = Ledger(where)
    claimed(ledger, intent())
    change(ledger, "DROP TABLE lora_prep_ledger")
    again = Ledger(where)
    assert versions(again) == [1]
    assert again.get("run1-1")


def test_a_ledger_of_a_newer_lora_prep_is_left_alone(where: Path | str) -> None:
    ledger = Ledger(where)
    change(ledger, "UPDATE lora_prep_ledger SET version = 2")
    change(ledger, "DROP TABLE lora_prep_submissions")
    with pytest.raises(ConfigurationError, match="made by a newer lora_prep"):
        Ledger(where)
    assert versions(ledger) == [2]
    with pytest.raises(TemporaryError, match="cannot be used"):  # the table was not made again
        ledger.get("run1-1")


@pytest.mark.parametrize(
    "where", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "nonsense", "sqlite:////proc/x/y"]
)
def test_a_database_that_cannot_hold_it_is_a_configuration_error(where: str) -> None:
    with pytest.raises(ConfigurationError):
        Ledger(where)


def test_a_damaged_or_missing_database_is_our_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(TemporaryError):
        Ledger(broken)
    if "postgres" in KINDS:
        with pytest.raises(TemporaryError) as raised:
            Ledger(f"postgresql://user:hunter2@/x?host={tmp_path}")
        assert "hunter2" not in str(raised.value)
