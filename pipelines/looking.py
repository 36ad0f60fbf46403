"""What each run is at, who has it in hand and what it needs. Looking changes and starts nothing.

Of a run of this machine its record, its last event and its lock tell; whether a process works on
it, and the submission's state, come from the database. Where that is shared, it also tells of runs
that other machines have begun, by their ids alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lora_prep.errors import ConfigurationError
from lora_prep.settings import Settings
from lora_prep.wording import amount, is_amount
from pipelines.known import Known
from pipelines.runs import Run, Stamp, begun_at, every_run, run_by_id

if TYPE_CHECKING:
    from lora_prep.trainers import Submission
    from pipelines.engine import Flow

__all__ = ["Looker", "Row", "is_unfinished", "unknown_run"]

PLANNED: Final = "planned"
ENDED: Final = frozenset({"archived", "failed", "cancelled"})
ONLY_LOOKED_AT: Final = frozenset({"inspected", "prepared", PLANNED, None})
"""Where `inspect`, `plan` and `prepare` leave a run: it is unfinished only if it was begun to be
trained, which its record says by `opened`. What a batch has planned is begun when somebody has
agreed to it: then the engine has a workflow of it."""
STAGES: Final = {
    "created": "prepare",
    "inspected": "prepare",
    "prepared": "upload",
    PLANNED: "upload",
    "uploaded": "submit",
    "submitting": "submit",
    "submitted": "train",
    "completed": "archive",
}
ENGINE_STAGES: Final = {"poll": "train", "tell": "clean"}  # what the engine calls differently
FLOWS: Final = {"PENDING": "running", "ENQUEUED": "queued", "DELAYED": "queued",
                "CANCELLED": "cancelled"}  # fmt: skip
LOST: Final = frozenset({"posting", "unknown"})
LOST_CODES: Final = frozenset({"needs_attention", "submission_unknown"})


@dataclass(frozen=True, slots=True)
class Row:
    """One run, as it is now.

    run: its id; name: of the person, None of a run of another machine; status: how far it is, as
    its record says; stage: what is done or has to be done next, None at its end; elapsed_s: since
    it was begun, to its end or to what stopped it; provider_state: of its submission, as the ledger
    has it; price_usd: None is not known, or nothing; held: whether a living process has it in hand;
    here: whether its folder is on this machine; expires_at: until when the provider keeps a result
    that is not archived, soon: within archive.soon_h; error: what stopped it; last_event: what was
    last said of it; ended: whether nothing of it is left to do; changed_at: the last change of its
    record.
    """

    run: str
    name: str | None
    status: str | None
    stage: str | None
    elapsed_s: float | None
    provider_state: str | None
    prediction_id: str | None
    price_usd: float | None
    held: bool
    here: bool
    ended: bool
    expires_at: datetime | None = None
    soon: bool = False
    error: Mapping[str, Any] | None = None
    last_event: Mapping[str, Any] | None = None
    changed_at: datetime | None = None

    @property
    def needs_attention(self) -> bool:
        """Whether it stands still until somebody does something."""
        if self.ended or self.held:
            return False
        return self.error is not None or self.soon or self.provider_state in LOST

    @property
    def is_lost(self) -> bool:
        """Whether its request was sent, perhaps, and its answer is not known."""
        code = self.error["code"] if self.error else None
        return not (self.ended or self.held) and (self.provider_state in LOST or code in LOST_CODES)

    @property
    def left_s(self) -> float | None:
        """How long the provider keeps a result that is not archived; None: there is none."""
        if self.ended or self.expires_at is None:
            return None
        return (self.expires_at - datetime.now(UTC)).total_seconds()

    @property
    def now(self) -> str:
        """What was last said of it, with how far that is; "" where nothing was."""
        said = self.last_event
        if not said:
            return ""
        far = amount(said.get("done"), said.get("total"), said.get("unit", ""))
        return f"{said['stage']}: {said['message']}{f', {far}' if far else ''}"

    @property
    def advice(self) -> str:
        """What its owner does next; "" where nothing is left to do."""
        if self.held:
            return f"Nothing. Watch it: lora-prep status {self.run} --watch"
        if self.is_lost:
            return f"lora-prep resume {self.run} looks for it; else lora-prep resolve {self.run}"
        if self.error:
            return str(self.error["fix"])
        if self.status == "archived":
            return f"Use it with: lora-prep lora use {self.run}"
        if not self.ended or self.status == "cancelled":
            where = "Go on with" if self.here else "Go on, on the machine that began it, with"
            return f"{where}: lora-prep resume {self.run}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as `runs --json` and `status --json` print it."""
        return {
            "run": self.run,
            "name": self.name,
            "status": self.status,
            "stage": self.stage,
            "elapsed_s": None if self.elapsed_s is None else round(self.elapsed_s, 1),
            "provider_state": self.provider_state,
            "prediction_id": self.prediction_id,
            "price_usd": self.price_usd,
            "needs_attention": self.needs_attention,
            "held": self.held,
            "here": self.here,
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "soon": self.soon,
            "error": self.error and dict(self.error),
            "last_event": self.last_event and dict(self.last_event),
        }


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a row needs of a record, kept while its file does not change."""

    name: str | None
    status: str | None
    begun: bool
    training: Mapping[str, Any]
    expires_at: datetime | None
    error: Mapping[str, Any] | None
    stamp: Stamp

    @classmethod
    def of(cls, record: Mapping[str, Any], stamp: Stamp) -> _Facts:
        """Take them from a record.

        Raises:
            ValueError, TypeError, AttributeError: it is damaged.
        """
        expires_at, training = record.get("expires_at"), record.get("training") or {}
        found = cls(
            name=record.get("name") or (record.get("opened") or {}).get("name"),
            status=record.get("status"),
            begun="opened" in record,
            training=training,
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            error=record.get("error"),
            stamp=stamp,
        )
        texts = [found.name, found.status, training.get("prediction_id")]
        if found.error is not None:
            texts += [found.error.get(name, 0) for name in ("code", "message", "why", "fix")]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise TypeError("a text is none")
        if not is_amount(training.get("price_usd")):
            raise TypeError("a price is none")
        if found.expires_at and found.expires_at.tzinfo is None:
            raise ValueError("a time of no zone")
        return found

    @property
    def at_provider(self) -> bool:
        """Whether only the ledger knows what became of its submission."""
        return bool(self.training) and self.status not in {"archived", "failed"}

    @property
    def unfinished(self) -> bool:
        return is_unfinished(self.status, begun=self.begun)


class Looker:
    """Looks at runs, as often as it is asked; records that did not change are not read again."""

    def __init__(self, settings: Settings) -> None:
        """Take what is to be looked at from the settings; nothing is opened yet.

        Raises:
            ConfigurationError: the database would lie on a network share.
        """
        self.known = Known(settings)
        self._soon = timedelta(hours=settings.archive.soon_h)
        self._facts: dict[str, _Facts] = {}

    def close(self) -> None:
        """Close the connections."""
        self.known.close()

    def rows(self, *, ended: bool = True, events: bool = False) -> list[Row]:
        """Return all runs, those that need attention first; ended: also those that have ended.

        events: with what was last said of each that has not ended.

        Raises:
            TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
        """
        facts = [(run, found) for run in every_run() if (found := self._facts_of(run))]
        facts = self._agreed(facts)
        if not ended:
            facts = [one for one in facts if one[1].unfinished and not one[0].is_cancelled]
        rows = self._rows_of(facts, events=events)
        if self.known.shared:
            rows = [row for row in rows if ended or not row.ended]
            here = {run.id for run in every_run()}
            rows += self._rows_elsewhere(here, ended=ended, events=events)
        return sorted(rows, key=_urgency)

    def row(self, run_id: str) -> Row:
        """Return one run, with what was last said of it.

        Raises:
            ConfigurationError: nobody knows it.
            TemporaryError, MissingDependency: the database cannot be used.
        """
        run = run_by_id(run_id)
        facts = self._facts_of(run) if run else None
        if run and facts:
            (row,) = self._rows_of(self._agreed([(run, facts)]), events=True)
            return row
        if self.known.shared:
            for row in self._of_flows(self.known.flows(run_id), events=True):
                return row
        raise unknown_run(run_id)

    def held(self, runs: Iterable[Run]) -> frozenset[str]:
        """Return which of these runs a living process has in hand.

        Raises: as `rows`.
        """
        asked = list(runs)
        held = {run.id for run in asked if run.is_held}
        if len(held) < len(asked):
            held |= self.known.held()
        return frozenset(run.id for run in asked if run.id in held)

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    def _facts_of(self, run: Run) -> _Facts | None:
        stamp, had = run.stamp, self._facts.get(run.id)
        if had and had.stamp == stamp:
            return had
        try:
            found = _Facts.of(run.record(), stamp) if stamp else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None  # one damaged record must not hide the others
        if found:
            self._facts[run.id] = found
        return found

    def _agreed(self, found: list[tuple[Run, _Facts]]) -> list[tuple[Run, _Facts]]:
        """Take what was planned for begun only where the engine is to train it."""
        if all(facts.status != PLANNED for _, facts in found):
            return found
        begun = {flow.run for flow in self.known.flows(unfinished=True)}
        return [
            (run, replace(facts, begun=run.id in begun) if facts.status == PLANNED else facts)
            for run, facts in found
        ]

    def _rows_of(self, found: list[tuple[Run, _Facts]], *, events: bool) -> list[Row]:
        going = [run for run, facts in found if facts.unfinished and not run.is_cancelled]
        held = self.held(going)
        submissions = self.known.submissions(run.id for run, facts in found if facts.at_provider)
        now, rows = datetime.now(UTC), []
        for run, facts in found:
            row = self._row(run, facts, submissions.get(run.id), now, held=run.id in held)
            if events and not row.ended:
                row = replace(row, last_event=run.last_said())
            rows.append(row)
        return self._corrected(rows) if self.known.shared else rows

    def _corrected(self, rows: list[Row]) -> list[Row]:
        """Correct what the records here say of runs that another machine has gone on with."""
        open_ = [row.run for row in rows if not row.ended]
        flows = {flow.run: flow for flow in (self.known.flows(*open_) if open_ else ())}
        return [
            self._told_by(flows[row.run], row) if row.run in flows and not row.ended else row
            for row in rows
        ]

    def _told_by(self, flow: Flow, row: Row) -> Row:
        if flow.status == "CANCELLED":
            return replace(row, status="cancelled", stage=None, ended=True)
        if not self.known.is_elsewhere(flow):
            return row
        if (flow.answer or {}).get("status") == "archived":
            return replace(row, status="archived", stage=None, ended=True, soon=False)
        if not flow.finished and (stage := self.known.stage_of(flow)):
            return replace(row, stage=ENGINE_STAGES.get(stage, stage), last_event=None)
        return row

    def _row(
        self,
        run: Run,
        facts: _Facts,
        submission: Submission | None,
        now: datetime,
        *,
        held: bool,
    ) -> Row:
        status = facts.status
        if status != "archived" and run.is_cancelled:
            status = "cancelled"
        ended = not is_unfinished(status, begun=facts.begun)
        stopped = ended or (facts.error is not None and not held)
        until = facts.stamp.changed_at if stopped else now
        left = facts.expires_at - now if facts.expires_at else None
        began = begun_at(run.id)
        return Row(
            run=run.id,
            name=facts.name,
            status=status,
            stage=None if ended else STAGES.get(status or ""),
            elapsed_s=(until - began).total_seconds() if began else None,
            provider_state=submission.state.value if submission else _provider_state(facts),
            prediction_id=facts.training.get("prediction_id"),
            price_usd=facts.training.get("price_usd"),
            held=held,
            here=True,
            ended=ended,
            expires_at=facts.expires_at,
            soon=status not in ENDED and left is not None and left <= self._soon,
            error=facts.error,
            changed_at=facts.stamp.changed_at,
        )

    def _rows_elsewhere(self, here: set[str], *, ended: bool, events: bool) -> list[Row]:
        flows = self.known.flows(unfinished=not ended)
        return self._of_flows([flow for flow in flows if flow.run not in here], events=events)

    def _of_flows(self, flows: list[Flow], *, events: bool) -> list[Row]:
        submissions = self.known.submissions(flow.run for flow in flows)
        held = self.known.held() if flows else frozenset()
        rows = []
        for flow in flows:
            row = _elsewhere(flow, submissions.get(flow.run), held=flow.run in held)
            if events and not row.ended and (stage := self.known.stage_of(flow)):
                row = replace(row, stage=ENGINE_STAGES.get(stage, stage))
            rows.append(row)
        return rows


def is_unfinished(status: str | None, *, begun: bool) -> bool:
    """Whether something of a run is left to do; begun: to be trained, not only to be looked at."""
    return begun if status in ONLY_LOOKED_AT else status not in ENDED


def unknown_run(run_id: str) -> ConfigurationError:
    """Return the error of a run that is not on this machine."""
    return ConfigurationError(
        f"There is no run {run_id} on this machine.",
        why="Its folder is not in LORA_PREP_HOME/runs.",
        fix="lora-prep runs lists all there are.",
    )


def _urgency(row: Row) -> tuple[bool, bool, str, float]:
    expires = row.expires_at.isoformat() if row.expires_at and not row.ended else "9"
    began = begun_at(row.run)
    return not row.needs_attention, row.ended, expires, -began.timestamp() if began else 0.0


def _provider_state(facts: _Facts) -> str | None:
    """Return what the record alone tells of the training at the provider, if it ever got there."""
    there = facts.training.get("prediction_id")
    told = there and facts.status in {"submitted", "completed", "archived", "failed"}
    return facts.status if told else None


def _elsewhere(flow: Flow, submission: Submission | None, *, held: bool) -> Row:
    answer = flow.answer or {}
    began = begun_at(flow.run)
    code = (answer.get("error") or {}).get("code")
    passed = datetime.now(UTC) - began if began and not flow.finished else None
    return Row(
        run=flow.run,
        name=None,
        status=answer.get("status") or FLOWS.get(flow.status, "failed"),
        stage=None,
        elapsed_s=passed.total_seconds() if passed else None,
        provider_state=submission.state.value if submission else None,
        prediction_id=submission.prediction_id if submission else None,
        price_usd=submission.intent.price_usd if submission else None,
        held=held,
        here=False,
        ended=flow.finished,
        error=_stopped_elsewhere(flow.run, code) if code else None,
    )


def _stopped_elsewhere(run_id: str, code: str) -> dict[str, Any]:
    """Return an error of which the shared database holds the code only."""
    return {
        "code": code,
        "message": f"The run {run_id} has stopped: {code}.",
        "why": "The machine it was begun on knows more.",
        "fix": f"There: lora-prep resume {run_id}",
        "retryable": False,
    }
