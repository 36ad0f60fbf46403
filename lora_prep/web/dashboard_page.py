"""What the dashboard shows: runs, batches, schedules and months, and the page of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.errors import ConfigurationError
from lora_prep.report.text import plural, visible
from lora_prep.trainers import Charge, Month, by_month
from lora_prep.wording import span
from pipelines.batch import Batch
from pipelines.due import next_slot
from pipelines.looking import Row

if TYPE_CHECKING:
    from pipelines.schedules import Schedule

__all__ = [
    "ALL",
    "BatchLine",
    "Chosen",
    "Fact",
    "Line",
    "MonthLine",
    "Overview",
    "ScheduleLine",
    "State",
    "line_of",
    "overview_of",
    "run_facts",
]

ALL = "all"
FEW = 100  # runs that are shown without being asked for all of them
MONTHS = 6


class State(StrEnum):
    """How a run stands, in the words of its chip and its filter."""

    NEEDS_YOU = "needs you"
    WORKING = "working"
    WAITING = "waiting"
    ARCHIVED = "archived"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOOKED_AT = "looked at"

    @property
    def key(self) -> str:
        """Its name in addresses and style sheets."""
        return self.value.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Line:
    """One run in the table, in words.

    name: of the person; about: what it does, or what stopped it; elapsed, left, price: "" where
    there is none; soon: whether what is left is little.
    """

    run: str
    name: str
    state: State
    about: str
    stage: str
    provider: str
    elapsed: str
    left: str
    price: str
    soon: bool
    here: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of runs. key: "all" or that of a state."""

    key: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A batch: the name of its file and where that lies, and how its people stand."""

    id: str
    name: str
    where: str
    people: int
    counts: tuple[tuple[State, int], ...]
    removed: int
    budget: str
    planned: str

    @property
    def archived(self) -> int:
        """How many of its people have their LoRA."""
        return dict(self.counts).get(State.ARCHIVED, 0)


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    """A schedule: when it fires, what, and for how much. trouble: why it will not."""

    name: str
    cron: str
    zone: str
    next: str
    last: str
    budget: str
    jobs: str
    trouble: str


@dataclass(frozen=True, slots=True)
class MonthLine:
    """A month's spend. part: of the budget, 0 to 1, None without one."""

    name: str
    trainings: str
    spent: str
    failed: str
    unpriced: str
    budget: str
    part: float | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which runs are asked for. show: "all" or a state's key; batch: an id, "" for all runs."""

    show: str = ALL
    batch: str = ""
    whole: bool = False

    def address(self, path: str, **other: str) -> str:
        """Return an address that keeps what is chosen but for what is given."""
        asked = {"show": self.show, "batch": self.batch, "whole": "1" if self.whole else ""} | other
        query = "&".join(
            f"{name}={value}" for name, value in asked.items() if value and value != ALL
        )
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Overview:
    """All that the first page shows."""

    lines: tuple[Line, ...]
    hidden: int
    filters: tuple[Filter, ...]
    chosen: Chosen
    batch: BatchLine | None
    batches: tuple[BatchLine, ...]
    schedules: tuple[ScheduleLine, ...]
    months: tuple[MonthLine, ...]
    worker: bool
    counts: Mapping[State, int]

    @property
    def summary(self) -> str:
        """How all of it stands, in a line."""
        said = [
            f"{self.counts[state]} {words}"
            for state, words in (
                (State.NEEDS_YOU, "need you" if self.counts[State.NEEDS_YOU] != 1 else "needs you"),
                (State.WORKING, "working"),
                (State.WAITING, "waiting"),
            )
            if self.counts[state]
        ]
        return ", ".join(said) or "Nothing needs you"


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value; code: whether it is something to copy."""

    name: str
    value: str
    code: bool = False


def overview_of(
    rows: Sequence[Row],
    batches: Sequence[Batch],
    schedules: Iterable[Schedule],
    charges: Iterable[Charge],
    chosen: Chosen,
    *,
    worker: bool,
    most_month_usd: float | None,
    now: datetime,
) -> Overview:
    """Return the first page.

    rows: in their order, what needs attention first; worker: whether one runs here;
    most_month_usd: the budget of a month; now: aware.
    """
    state_of = {row.run: _state(row) for row in rows}
    counts = Counter(state_of.values())
    drawn = tuple(_batch(one, state_of) for one in batches)
    batch = next((line for line in drawn if line.id == chosen.batch), None)
    if batch:
        (of,) = [one for one in batches if one.id == batch.id]
        rows = [row for row in rows if row.run in set(of.runs.values())]
    here = Counter(state_of[row.run] for row in rows)
    shown = [row for row in rows if chosen.show in (ALL, state_of[row.run].key)]
    lines = tuple(line_of(row) for row in (shown if chosen.whole else shown[:FEW]))
    return Overview(
        lines=lines,
        hidden=len(shown) - len(lines),
        filters=(
            Filter(ALL, "All", len(rows)),
            *(
                Filter(state.key, state.value.capitalize(), here[state])
                for state in State
                if here[state] or state.key == chosen.show
            ),
        ),
        chosen=chosen,
        batch=batch,
        batches=drawn,
        schedules=tuple(_schedule(one, now, worker=worker) for one in schedules),
        months=_months(by_month(charges), most_month_usd, now),
        worker=worker,
        counts=counts,
    )


def line_of(row: Row) -> Line:
    """Return a run as the table shows it."""
    left_s = row.left_s
    return Line(
        run=row.run,
        name=visible(row.name or ("" if row.here else "a run of another machine")) or "-",
        state=_state(row),
        about=visible(_about(row)),
        stage=row.stage or "",
        provider=row.provider_state or "",
        elapsed=span(row.elapsed_s) if row.elapsed_s is not None else "",
        left="" if left_s is None else span(left_s) if left_s > 0 else "expired",
        price="" if row.price_usd is None else _usd(row.price_usd),
        soon=row.soon,
        here=row.here,
    )


def run_facts(row: Row, record: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return what is known of a run, for its own page."""
    left_s = row.left_s
    kept = "" if left_s is None else f"{span(left_s)} more at the provider"
    try:
        photos, folder, loras = _photos(record), _folder(record), _loras(record)
    except (TypeError, ValueError, AttributeError):
        photos, folder, loras = "", "", [Fact("Record", "damaged: not all of it is shown")]
    found = [
        Fact("Run", row.run, code=True),
        Fact("Stage", row.stage or ""),
        Fact("Elapsed", span(row.elapsed_s) if row.elapsed_s is not None else ""),
        Fact("Photos", photos),
        Fact("From", folder, code=True),
        Fact("Provider", "a rehearsal" if record.get("rehearsal") else row.provider_state or ""),
        Fact("Training", row.prediction_id or "", code=True),
        Fact("Price", "" if row.price_usd is None else _usd(row.price_usd)),
        Fact("Result", "gone at the provider" if left_s is not None and left_s <= 0 else kept),
        *loras,
    ]
    return tuple(Fact(one.name, visible(one.value), one.code) for one in found if one.value)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _state(row: Row) -> State:
    if row.needs_attention:
        return State.NEEDS_YOU
    if not row.ended:
        return State.WORKING if row.held else State.WAITING
    match row.status:
        case "archived" | "failed" | "cancelled":
            return State(row.status)
        case _:
            return State.LOOKED_AT


def _about(row: Row) -> str:
    if row.error and not row.held:
        return str(row.error["message"])
    if row.ended:
        return ""
    if row.now:
        return row.now
    return f"{row.stage} comes next" if row.stage else ""


def _batch(batch: Batch, state_of: Mapping[str, State]) -> BatchLine:
    runs = list(batch.runs.values())
    counts = Counter(state_of[run] for run in runs if run in state_of)
    return BatchLine(
        id=batch.id,
        name=visible(batch.jobs.name),
        where=visible(str(batch.jobs)),
        people=len(runs),
        counts=tuple((state, counts[state]) for state in State if counts[state]),
        removed=len(runs) - counts.total(),
        budget="" if batch.budget_usd is None else _usd(batch.budget_usd),
        planned=f"{batch.planned_at.astimezone():%Y-%m-%d %H:%M}",
    )


def _schedule(one: Schedule, now: datetime, *, worker: bool) -> ScheduleLine:
    trouble, following = "", ""
    try:
        zone = one.timing.zone
        following = f"{next_slot(one.timing, now).astimezone(zone):%Y-%m-%d %H:%M}"
        last = f"{one.last_slot.astimezone(zone):%Y-%m-%d %H:%M}"
    except ConfigurationError as error:
        trouble, last = error.what, ""
    jobs: Path | None = one.jobs
    if jobs and not jobs.exists():
        trouble = "Its jobs file is not there any more."
    elif jobs and not worker:
        trouble = "No worker runs here: it fires nothing. Start one with: lora-prep worker"
    return ScheduleLine(
        name=one.name,
        cron=one.cron,
        zone=one.zone,
        next="paused" if one.paused else following,
        last=last if one.last_slot > one.created_at else "never",
        budget="" if one.max_cost_usd is None else _usd(one.max_cost_usd),
        jobs=visible(str(jobs)) if jobs else "of another machine",
        trouble="" if one.paused else visible(trouble),
    )


def _months(found: Sequence[Month], most_usd: float | None, now: datetime) -> tuple[MonthLine, ...]:
    """Return the last months, this one first, also where nothing was spent in it."""
    this = now.astimezone(UTC).date().replace(day=1)
    if not found or found[0].first < this:
        found = [Month(this, 0, 0.0, 0.0, 0), *found]
    return tuple(_month(one, this, most_usd) for one in found[:MONTHS])


def _month(one: Month, this: date, most_usd: float | None) -> MonthLine:
    limited = most_usd is not None and one.first == this  # of the others it was another one, maybe
    return MonthLine(
        name=f"{one.first:%B %Y}",
        trainings=plural(one.trainings, "training"),
        spent=_usd(one.usd),
        failed=_usd(one.failed_usd) if one.failed_usd else "",
        unpriced=plural(one.unpriced, "training") if one.unpriced else "",
        budget=_usd(most_usd) if most_usd is not None and limited else "",
        part=min(1.0, one.usd / most_usd) if most_usd and limited else None,
    )


def _folder(record: Mapping[str, Any]) -> str:
    return str((record.get("opened") or {}).get("folder") or "")


def _photos(record: Mapping[str, Any]) -> str:
    inspection, dataset = record.get("inspection") or {}, record.get("dataset") or {}
    if dataset.get("images"):
        return f"{dataset['images']} trained on, {dataset.get('bytes', 0) / 1e6:.1f} MB"
    if "usable" in inspection:
        return f"{inspection['usable']} usable of {inspection.get('needed', 10)} needed"
    return ""


def _loras(record: Mapping[str, Any]) -> list[Fact]:
    found = []
    for one in record.get("loras") or ():
        found.append(Fact("LoRA", str(one.get("url", "")), code=True))
        size = f"{one['bytes'] / 1e6:.1f} MB" if one.get("bytes") else ""
        rank = f"rank {one['rank']}" if one.get("rank") else ""
        found.append(Fact("", ", ".join(filter(None, (size, rank)))))
        found.append(Fact("SHA-256", str(one.get("sha256", "")), code=True))
    return found


def _usd(usd: float) -> str:
    return f"{usd:.2f} USD" if usd % 1 else f"{usd:.0f} USD"
