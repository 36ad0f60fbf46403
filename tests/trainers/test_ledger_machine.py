"""Any order of claims, deaths, answers and decisions: never two POSTs without a release between."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from lora_prep.errors import ConfigurationError
from lora_prep.trainers import Claimed, Free, Intent, Ledger, State, Submission
from lora_prep.trainers.claimer import Claimer, Liveness, Processes
from tests.sample import examples
from tests.trainers.provider import intent_of

LIVE = {State.POSTING, State.WAITING, State.UNKNOWN, State.SUBMITTED, State.ARCHIVED}


class Machine(Processes):
    """One pid per claim, so that each can die by itself."""

    def __init__(self) -> None:
        self.pid = 0
        self.dead: set[int] = set()

    def this(self) -> Claimer:
        return Claimer("host", self.pid, "boot", "1", "space")

    def liveness(self, claimer: Claimer) -> Liveness:
        return Liveness.DEAD if claimer.pid in self.dead else Liveness.ALIVE


class LedgerMachine(RuleBasedStateMachine):
    """The test is the process that acts; it counts what a provider would have got."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.processes = Machine()
        self.ledger = Ledger(self.folder / "ledger.sqlite", processes=self.processes)
        self.open: dict[str, int] = defaultdict(int)  # POSTs not known to have been refused
        self.asked_again: set[str] = set()
        self.accepted = 0

    def teardown(self) -> None:
        rmtree(self.folder)

    @rule(
        target=claims,
        run=st.sampled_from("abc"),
        data=st.sampled_from(["1", "2"]),
        rehearsal=st.booleans(),
        again=st.booleans(),
    )
    def claim(self, run: str, data: str, rehearsal: bool, again: bool) -> Claimed | None:
        self.processes.pid += 1
        attempt = self.ledger.attempt_of(run)
        intent: Intent = intent_of("http://t", run, attempt=attempt, data=data, rehearsal=rehearsal)
        seen = self.ledger.look(intent, again=again)
        outcome = self.ledger.claim(intent, again=again)
        assert seen == (Free() if isinstance(outcome, Claimed) else outcome)
        if not isinstance(outcome, Claimed):
            return None
        if again or rehearsal:
            self.asked_again.add(intent.fingerprint)
        return outcome

    @rule(claim=claims)
    def post_and_refused(self, claim: Claimed | None) -> None:
        if claim and self.acts(claim) and self.ledger.sending(claim):
            assert self.open[claim.submission.key] == 0
            assert self.ledger.release(claim.submission, "400")

    @rule(claim=claims)
    def post_and_no_room(self, claim: Claimed | None) -> None:
        if claim and self.acts(claim) and self.ledger.sending(claim):
            assert self.open[claim.submission.key] == 0
            assert self.ledger.waiting(claim, "429")

    @rule(claim=consumes(claims), end=st.sampled_from(["kept", "lost", "died"]))
    def post_and_accepted(self, claim: Claimed | None, end: str) -> None:
        if not (claim and self.acts(claim) and self.ledger.sending(claim)):
            return
        key = claim.submission.key
        assert self.open[key] == 0, "a second POST without a release"
        self.open[key] += 1
        self.accepted += 1
        if end == "kept":
            assert self.ledger.submitted(claim, f"p{self.accepted}")
        elif end == "lost":
            assert self.ledger.unsure(claim, "reset")
        else:
            self.processes.dead.add(claim.submission.claimer.pid)

    @rule(claim=claims)
    def die(self, claim: Claimed | None) -> None:
        if claim:
            self.processes.dead.add(claim.submission.claimer.pid)

    @rule(run=st.sampled_from("abc"), action=st.sampled_from(["find", "release", "fail", "keep"]))
    def settle(self, run: str, action: str) -> None:
        row = self.ledger.of_run(run)
        if row is None:
            return
        lost = row.state is State.UNKNOWN or (
            row.state is State.POSTING and self.ledger.is_given_up(row)
        )
        match action:
            case "find" if lost and self.open[row.key]:
                assert self.ledger.adopt(row, f"found{row.token}")
            case "release" if lost and not self.open[row.key]:
                assert self.ledger.release(row, "absent")
            case "fail":
                self.ledger.failed(row.key, "failed")
                assert self.state(row) is not State.SUBMITTED
            case "keep":
                self.ledger.archived(row.key)

    @rule(run=st.sampled_from("abc"), other=st.sampled_from("abc"))
    def adopt_what_is_another_s(self, run: str, other: str) -> None:
        row, owner = self.ledger.of_run(run), self.ledger.of_run(other)
        if not (row and owner and owner.prediction_id) or row.key == owner.key:
            return
        with suppress(ConfigurationError):
            assert not self.ledger.adopt(row, owner.prediction_id)

    def acts(self, claim: Claimed) -> bool:
        return claim.submission.claimer.pid not in self.processes.dead

    def state(self, row: Submission) -> State:
        now = self.ledger.get(row.key)
        assert now
        return now.state

    @invariant()
    def one_live_row_for_a_request(self) -> None:
        with self.ledger._database.transaction() as rows:
            everything = rows.read_all()
        live = [row for row in everything if row.state in LIVE and not row.intent.rehearsal]
        prints = [row.intent.fingerprint for row in live]
        assert all(
            prints.count(one) == 1 or one in self.asked_again or self.revived(live, one)
            for one in prints
        )
        for row in everything:
            if row.state in {State.SUBMITTED, State.ARCHIVED, State.FAILED}:
                assert row.prediction_id
            if row.state is State.RELEASED:
                assert self.open[row.key] == 0

    def revived(self, live: list[Submission], fingerprint: str) -> bool:
        """A failed training may turn out to be archived: it was paid once, and so was the next."""
        return any(
            row.state is State.ARCHIVED for row in live if row.intent.fingerprint == fingerprint
        )


pytestmark = pytest.mark.slow
TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(examples(30), stateful_step_count=40)
