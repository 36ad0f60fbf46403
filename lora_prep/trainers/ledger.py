"""The submission ledger: who may send a paid request, and what became of it.

One row per submission, committed before the request is sent. Two things make two payments for one
request impossible: the key is unique, and so is the guard, the fingerprint of (trainer, data set,
model, parameters) that a row holds until it surely came to nothing. Every change compares state
and token with what its caller saw, and sets only if they still are so.

What a crash at each line leaves behind, and what the next command makes of it:

    before the claim's commit     no row: free
    after it, before the POST     posting, claimer dead: unknown. It was not sent, but nobody can
                                  know; reconcile finds nothing
    during the POST, or before    posting, claimer dead: unknown; reconcile finds the prediction by
    its id is committed           its data URL, or does not
    a 429 came; while waiting     waiting: surely not sent; a dead claimer's row is taken over, and
                                  a claimer that only slept loses it before it sends again
    the answer was lost           unknown: the POST is over, whoever lives; reconcile
    after the id's commit         submitted: followed by its id
    after the end, before the     submitted or completed: the provider is asked again, and archiving
    LoRA's commit                 again changes nothing
    while a row is reconciled     as before: looking changes nothing, and settling is one statement

A claimer that stands still between its claim and its POST (a closed laptop) is alive, so its row is
not released. Where nobody can tell (another machine), the row is looked for after `stale_s`, and
what is not found stays for its owner to decide.

Rows hold run ids and hashes; no name, no folder, no URL, no key.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.errors import ConfigurationError, TemporaryError
from lora_prep.redaction import redacted
from lora_prep.trainers.budget import check_month
from lora_prep.trainers.claimer import SENDING, Liveness, Processes
from lora_prep.trainers.ledger_rows import AT_PROVIDER, NOT_SETTLED, LedgerRows
from lora_prep.trainers.submissions import (
    OVER,
    Archived,
    Claimed,
    Conflict,
    Ended,
    Free,
    InFlight,
    Intent,
    Outcome,
    State,
    Submission,
    Taken,
    Unknown,
    canonical,
)

if TYPE_CHECKING:
    from lora_prep.trainers.database import Transaction

__all__ = ["Ledger"]

TRIES = 50  # each lost race means that another process got on
STALE_S = 180.0


class Ledger(LedgerRows):
    """The ledger in one database. It holds no connection, and threads may share it."""

    def __init__(
        self,
        where: Path | str,
        *,
        stale_s: float = STALE_S,
        most_month_usd: float | None = None,
        processes: Processes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the ledger in a SQLite file (a path) or in any database (a URL).

        stale_s: after how long a claim of another machine counts as given up; more than the
        submission's time-out. most_month_usd: what all claims of a calendar month may cost; None is
        no limit.

        Raises:
            ConfigurationError, MissingDependency: the database cannot be used.
            TemporaryError: it does not answer.
        """
        super().__init__(where)
        self._stale_s = stale_s
        self._most_month_usd = most_month_usd
        self._processes = processes or Processes()
        self._clock = clock

    # ── claiming ──────────────────────────────────────────────────────────────────────────────

    def claim(self, intent: Intent, *, again: bool = False) -> Outcome:
        """Claim a submission; on `Claimed` the row is committed and the caller may send it.

        again: send it even though the same request is in flight or archived.

        Raises:
            Declined: this month's budget does not reach for it.
            TemporaryError: the database does not answer; nothing may be sent.
        """
        for _ in range(TRIES):
            try:
                outcome = self._try_claim(intent, again=again)
            except Conflict:
                continue  # somebody inserted first: read again what they did
            if outcome is not None:
                return outcome
        raise TemporaryError(
            "The ledger of submissions is busy.",
            why=f"Other processes changed the same row {TRIES} times in a row.",
            fix="Try again.",
        )

    def look(self, intent: Intent, *, again: bool = False) -> Taken | Free:
        """Return what a claim would come to now, without claiming: before an upload, in a plan."""
        with self._database.transaction() as rows:
            own, other = _rows_of(rows, intent)
        return self._in_the_way(own, other, again=again) or Free()

    def check_month(self, price_usd: float | None) -> None:
        """Refuse a price that this month's budget does not reach for: before an upload, in a plan.

        What waits to be sent may be this very training, so that only its claim counts that.

        Raises:
            Declined: it does not.
            TemporaryError: the database does not answer.
        """
        if self._most_month_usd is not None:
            with self._database.transaction() as rows:
                charges = rows.charges(waiting=False)
            check_month(price_usd, self._most_month_usd, charges, self._now())

    def _try_claim(self, intent: Intent, *, again: bool) -> Outcome | None:
        token = secrets.token_hex(8)
        SENDING.begin(token)
        claimed = False
        try:
            with self._database.transaction() as rows:
                if self._limits(intent):
                    rows.spend_alone()
                row, other = _rows_of(rows, intent)
                if taken := self._in_the_way(row, other, again=again):
                    return taken
                if other and other.key != intent.key and not again:
                    # Not from any other state: its claimer may have woken up since it was read.
                    if not self._free(rows, other, "never sent", before={State.WAITING}):
                        return None
                elif other:
                    rows.drop_guard(intent.fingerprint)
                if self._limits(intent):
                    self._check_spent(rows, intent)
                values = self._claim_values(intent, token)
                if row is None:
                    rows.insert(values | {"created_at": values["updated_at"]})
                elif not rows.change(row.key, {row.state}, values, token=row.token):
                    return None
                submission = rows.read(key=intent.key)
            claimed = submission is not None
            return Claimed(submission) if submission else None
        finally:
            if not claimed:
                SENDING.end(token)

    def _claim_values(self, intent: Intent, token: str) -> dict[str, Any]:
        now = self._clock()
        return {
            **_columns(intent),
            **asdict(self._processes.this()),
            "state": State.POSTING.value,
            "token": token,
            "guard": None if intent.rehearsal else intent.fingerprint,
            "prediction_id": None,
            "loras": "[]",
            "reason": "",
            "updated_at": now,
            "posted_at": now,
            "submitted_at": None,
            "completed_at": None,
        }

    def _in_the_way(
        self, own: Submission | None, other: Submission | None, *, again: bool
    ) -> Taken | None:
        """Return what keeps a submission from being sent: its own row, or who holds its guard."""
        if own and own.state is not State.RELEASED and not self._may_take_over(own):
            return self._outcome(own)
        if other and not again and not self._may_take_over(other):
            return self._outcome(other)
        return None

    def _outcome(self, row: Submission) -> Taken:
        match row.state:
            case State.POSTING if self.is_given_up(row):
                return Unknown(row)
            case State.UNKNOWN:
                return Unknown(row)
            case State.ARCHIVED:
                return Archived(row)
            case State.FAILED | State.REFUSED | State.CANCELLED | State.RELEASED:
                return Ended(row)
            case _:
                return InFlight(row)

    def is_given_up(self, row: Submission) -> bool:
        """Whether nobody sends this submission any more, as far as this machine can tell."""
        match self._processes.liveness(row.claimer):
            case Liveness.DEAD:
                return True
            case Liveness.UNTOLD:
                return self._clock() - row.updated_at.timestamp() > self._stale_s
            case Liveness.ALIVE:
                return row.claimer == self._processes.this() and row.token not in SENDING

    def is_over(self, row: Submission) -> bool:
        """Whether its POST surely is over: its answer was lost, or its claimer is surely dead."""
        if row.state is State.UNKNOWN:
            return True
        if row.claimer == self._processes.this():
            return row.token not in SENDING
        return self._processes.liveness(row.claimer) is Liveness.DEAD

    def _may_take_over(self, row: Submission) -> bool:
        return row.state is State.WAITING and self.is_given_up(row)

    # ── sending ───────────────────────────────────────────────────────────────────────────────

    def sending(self, claim: Claimed) -> bool:
        """Say that the POST comes now; False: the claim was lost, and nothing may be sent.

        Raises:
            Declined: another month has begun since the claim, and its budget does not reach.
            TemporaryError: the database does not answer; nothing may be sent.
        """
        row = claim.submission
        values = self._values(state=State.POSTING, posted_at=self._clock())
        with self._database.transaction() as rows:
            if self._limits(row.intent):
                rows.spend_alone()
                self._check_spent(rows, row.intent)
            return rows.change(row.key, {State.POSTING, State.WAITING}, values, token=row.token)

    def waiting(self, claim: Claimed, reason: str) -> bool:
        """Say that the trainer surely did not take it and that it will be sent again."""
        return self._change(
            claim.submission, {State.POSTING}, {"state": State.WAITING, "reason": reason}
        )

    def submitted(self, claim: Claimed, prediction_id: str) -> bool:
        """Keep the id that the trainer gave; False: the claim was lost meanwhile."""
        now = self._clock()
        values = {"state": State.SUBMITTED, "prediction_id": prediction_id, "submitted_at": now}
        try:
            if self._change(claim.submission, {State.POSTING, State.UNKNOWN}, values):
                return True
        except Conflict:
            return False
        row = self.get(claim.submission.key)
        return row is not None and row.prediction_id == prediction_id

    def unsure(self, claim: Claimed, reason: str) -> bool:
        """Say that it was sent and that the answer is lost."""
        return self._change(
            claim.submission, {State.POSTING}, {"state": State.UNKNOWN, "reason": reason}
        )

    def let_go(self, claim: Claimed) -> None:
        """Say that this process is done with the claim, whatever became of it."""
        SENDING.end(claim.submission.token)

    # ── settling ──────────────────────────────────────────────────────────────────────────────

    def release(self, submission: Submission, reason: str) -> bool:
        """Free a submission that surely was never accepted; False: it has changed meanwhile."""
        with self._database.transaction() as rows:
            return self._free(rows, submission, reason, before=NOT_SETTLED)

    def adopt(self, submission: Submission, prediction_id: str) -> bool:
        """Give a lost submission the prediction that was found; False: it has changed meanwhile.

        A row that was merely entered yields it: who took it over did not know whose it is.

        Raises:
            ConfigurationError: the prediction belongs to another submission.
        """
        values = {
            "state": State.SUBMITTED,
            "prediction_id": prediction_id,
            "submitted_at": submission.posted_at.timestamp(),
        }
        try:
            with self._database.transaction() as rows:
                holder = rows.read_prediction(submission.intent.origin, prediction_id)
                if holder and holder.intent.entered:
                    self._yield(rows, holder, submission)
                before = {State.POSTING, State.UNKNOWN}
                if rows.change(
                    submission.key, before, self._values(**values), token=submission.token
                ):
                    return True
                raise Conflict("the submission has changed")  # and nothing was yielded
        except Conflict as error:
            row = self.get(submission.key)
            if row is not None and row.prediction_id == prediction_id:
                return True
            holder = self.of_prediction(submission.intent.origin, prediction_id)
            if holder is None or holder.intent.entered:
                return False
            raise _owned_by_another(prediction_id) from error

    def enter(self, intent: Intent, prediction_id: str) -> Submission:
        """Enter a prediction that was submitted elsewhere, or return the row that has it.

        It holds no guard: what was really asked for is not known.

        Raises:
            ConfigurationError: the submission's key is used already.
        """
        values = self._claim_values(intent, secrets.token_hex(8)) | {
            "state": State.SUBMITTED.value,
            "guard": None,
            "prediction_id": prediction_id,
        }
        try:
            with self._database.transaction() as rows:
                rows.insert(values | {"created_at": values["updated_at"]})
        except Conflict as error:
            if row := self.of_prediction(intent.origin, prediction_id):
                return row
            raise ConfigurationError(
                f"The submission {intent.key} exists already.",
                why="A run is one training.",
                fix="Adopt the prediction into a new run.",
            ) from error
        row = self.get(intent.key)
        assert row is not None, "rows are never deleted"  # noqa: S101
        return row

    def completed(self, key: str) -> bool:
        """Note when the trainer was done, the first time: the history of how long trainings take.

        Return whether this was the first time.
        """
        return self._set(key, {State.SUBMITTED}, state=State.COMPLETED, completed_at=self._clock())

    def archived(self, key: str, loras: Sequence[Mapping[str, Any]] = ()) -> None:
        """Note that the LoRA is in the bucket; `loras` as in the JSON contract.

        What was taken for lost stands for its request again, unless another one does by now.
        """
        before = {*AT_PROVIDER, *OVER, State.ARCHIVED}
        values = self._values(state=State.ARCHIVED, loras=json.dumps(list(loras)))
        with self._database.transaction() as rows:
            row = rows.read(key=key)
            if row and row.state is State.FAILED and _may_stand_again(rows, row.intent):
                values["guard"] = row.intent.fingerprint
            rows.change(key, before, values)

    def failed(self, key: str, reason: str, *, refused: bool = False) -> None:
        """Note that the trainer ended it without a LoRA, or no longer has it: it is free.

        refused: because its data URL could not be fetched.
        """
        state = State.REFUSED if refused else State.FAILED
        self._set(key, AT_PROVIDER, state=state, guard=None, reason=reason)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    def _limits(self, intent: Intent) -> bool:
        return self._most_month_usd is not None and not intent.rehearsal

    def _check_spent(self, rows: Transaction, intent: Intent) -> None:
        charges = rows.charges(but_for=intent.key)
        check_month(intent.price_usd, self._most_month_usd, charges, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _yield(self, rows: Transaction, entered: Submission, to: Submission) -> None:
        """Take its prediction from a row that was entered; what it archived stays archived."""
        values = self._values(
            state=State.ARCHIVED if entered.state is State.ARCHIVED else State.CANCELLED,
            prediction_id=None,
            reason=f"It is the training of the run {to.intent.run_id}.",
        )
        rows.change(entered.key, {entered.state}, values, token=entered.token)

    def _free(self, rows: Transaction, row: Submission, reason: str, *, before: set[State]) -> bool:
        values = self._values(state=State.RELEASED, guard=None, reason=reason)
        return rows.change(row.key, before, values, token=row.token)

    def _change(self, row: Submission, before: set[State], values: Mapping[str, Any]) -> bool:
        with self._database.transaction() as rows:
            return rows.change(row.key, before, self._values(**values), token=row.token)

    def _set(self, key: str, before: set[State], **values: Any) -> bool:
        with self._database.transaction() as rows:
            return rows.change(key, before, self._values(**values))

    def _values(self, **values: Any) -> dict[str, Any]:
        if isinstance(values.get("state"), State):
            values["state"] = values["state"].value
        if "reason" in values:
            values["reason"] = redacted(values["reason"])
        return {**values, "updated_at": self._clock()}


def _rows_of(rows: Transaction, intent: Intent) -> tuple[Submission | None, Submission | None]:
    """Return a submission's own row and the one that holds its guard; a rehearsal has none."""
    own = rows.read(key=intent.key)
    return own, None if intent.rehearsal else rows.read_guard(intent.fingerprint)


def _may_stand_again(rows: Transaction, intent: Intent) -> bool:
    if intent.rehearsal or intent.entered:
        return False  # it never had a guard
    return rows.read_guard(intent.fingerprint) is None


def _owned_by_another(prediction_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"The prediction {prediction_id} belongs to another submission.",
        why="Each training belongs to one run.",
        fix="Choose another of the candidates, or none with --not-submitted.",
    )


def _columns(intent: Intent) -> dict[str, Any]:
    return {
        "key": intent.key,
        "run_id": intent.run_id,
        "attempt": intent.attempt,
        "origin": intent.origin,
        "model": intent.model,
        "parameters": canonical(intent.parameters),
        "dataset_sha256": intent.dataset_sha256,
        "bucket": intent.bucket,
        "object_key": intent.object_key,
        "account": intent.account,
        "rehearsal": int(intent.rehearsal),
        "price_usd": intent.price_usd,
    }
