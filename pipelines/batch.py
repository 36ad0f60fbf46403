"""Many people: one run each, planned together, trained at most so many at once.

A batch is what a jobs file says. It is planned first: every job's photos are prepared, what was
trained already is told from what is new or changed, and prices are asked. Then the runs go into a
queue of the engine; one that fails stops no other.

`batches/<id>.json` in the home remembers where the jobs file lies and which run did which job, so
that the same file, run again, goes on with what is unfinished and trains only what is new or
changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from lora_prep.errors import Declined, LoraPrepError, TemporaryError
from lora_prep.settings import Settings, home_folder, load_settings
from lora_prep.trainers import check_budget, reaches
from lora_prep.wording import is_amount
from pipelines.backends import choose, open_ledger
from pipelines.cleaning import surely_unsent
from pipelines.engine import Flow
from pipelines.jobs import Job, Sections, expand, read_jobs
from pipelines.pricing import ask_price
from pipelines.runs import Run, run_by_id
from pipelines.sources import subfolders
from pipelines.submitting import archived_run
from pipelines.together import run_together
from pipelines.train import Place, Task, begin

__all__ = [
    "Batch",
    "Entry",
    "Plan",
    "Work",
    "batch_id",
    "batches",
    "jobs_of",
    "plan_batch",
    "remembered",
    "run_batch",
    "tasks_of",
]

BATCHES = "batches"


class Work(StrEnum):
    """What a batch has to do for one job."""

    TRAIN = "train"
    GO_ON = "go_on"
    NOTHING = "nothing"
    FAILED = "failed"
    OVER_BUDGET = "over_budget"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job of a batch, planned. run: of the job, None where nothing could be prepared.

    price_usd: None is not known, 0 a rehearsal or nothing to pay; error: why it cannot be trained.
    """

    name: str
    work: Work
    run: str | None
    images: int
    price_usd: float | None
    error: LoraPrepError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the plan of `batch run --json` shows it."""
        return {
            "name": self.name,
            "work": self.work.value,
            "run": self.run,
            "images": self.images,
            "price_usd": self.price_usd,
            "error": self.error.to_json() if self.error else None,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs of a batch, in their order."""

    id: str
    entries: tuple[Entry, ...]
    budget_usd: float | None

    @property
    def to_do(self) -> tuple[Entry, ...]:
        """What will be trained, or gone on with."""
        return tuple(one for one in self.entries if one.work in (Work.TRAIN, Work.GO_ON))

    @property
    def price_usd(self) -> float | None:
        """What all of it costs, USD; None where somebody's price is not known."""
        prices = [one.price_usd for one in self.to_do if one.work is Work.TRAIN]
        known = [price for price in prices if price is not None]
        return sum(known) if len(known) == len(prices) else None


@dataclass(frozen=True, slots=True)
class Batch:
    """What the home remembers of a batch.

    jobs: where its file lies; budget_usd: of its last time, None for none; runs: of each job, by
    the job's name; planned_at: the last time.
    """

    id: str
    jobs: Path
    budget_usd: float | None
    runs: Mapping[str, str]
    planned_at: datetime


def batch_id(path: Path) -> str:
    """Return what a jobs file is called in the home: the hash of its path."""
    return hashlib.sha256(str(path.expanduser().absolute()).encode()).hexdigest()[:16]


def remembered(batch: str) -> Batch | None:
    """Return what is remembered of a batch; None before its first time."""
    path = _memory(batch)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        budget_usd = kept.get("budget_usd")
        return Batch(
            id=batch,
            jobs=Path(kept["jobs"]),
            budget_usd=budget_usd if is_amount(budget_usd) else None,
            runs={str(name): str(run) for name, run in kept["runs"].items()},
            planned_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def batches() -> list[Batch]:
    """Return every batch that was ever run here, the newest first."""
    found = (remembered(path.stem) for path in (home_folder() / BATCHES).glob("*.json"))
    return sorted((one for one in found if one), key=lambda one: one.planned_at, reverse=True)


def jobs_of(path: Path, base: Sections, settings: Settings) -> tuple[Job, ...]:
    """Read a jobs file, with one job for each folder of a bucket where it says so.

    Raises:
        ConfigurationError: it cannot be used; it says why, for every job.
        StorageError, CredentialsError: the bucket cannot be listed.
    """
    return expand(read_jobs(path, base), lambda url: subfolders(url, settings))


def plan_batch(
    path: Path,
    jobs: Sequence[Job],
    place: Place,
    *,
    budget_usd: float | None = None,
    again: bool = False,
    on_entry: Callable[[Entry], None] = lambda entry: None,  # noqa: ARG005
) -> Plan:
    """Prepare every job of a file, and find out what is to be trained and what that costs.

    budget_usd: for all of it; jobs that it does not reach for are left out, in the file's order.
    again: train also what is trained. A job that cannot be used is an entry with its error.
    """
    batch = batch_id(path)
    before = remembered(batch)
    had = dict(before.runs) if before else {}
    prices: dict[str, float | None] = {}
    entries, left = [], budget_usd
    for job in jobs:
        entry = _planned(job, had.get(job.name), place, prices, again=again)
        if entry.run:
            had[job.name] = entry.run
            _remember(path, budget_usd, had)
        if entry.work is Work.TRAIN and left is not None:
            entry, left = _within(entry, left, budget_usd)
        entries.append(entry)
        on_entry(entry)
    return Plan(batch, tuple(entries), budget_usd)


def tasks_of(plan: Plan, *, again: bool = False) -> dict[str, Task]:
    """Return what the engine is to do, by the names of the jobs."""
    return {
        one.name: Task(one.run, again=again and one.work is Work.TRAIN, yes=True, patient=True)
        for one in plan.to_do
        if one.run
    }


def run_batch(
    plan: Plan,
    settings: Settings,
    place: Place,
    *,
    again: bool = False,
    at_once: int,
    on_end: Callable[[str, Flow], None],
) -> None:
    """Train what a plan says, and wait for all of it; one that fails stops no other.

    A worker of this machine does it where one runs; where it stops meanwhile, this process does.
    on_end: told of each job by its name, when its run has ended.
    """
    run_together(tasks_of(plan, again=again), settings, place, at_once=at_once, on_end=on_end)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _planned(
    job: Job,
    earlier_id: str | None,
    place: Place,
    prices: dict[str, float | None],
    *,
    again: bool,
) -> Entry:
    run = None
    try:
        settings = load_settings(job.sections)
        run = begin(job.folder, settings, name=job.name)
        place.prepare(run)
        run.update(status="planned")  # nobody has agreed to train it yet
        images = run.record()["dataset"]["images"]
        earlier = run_by_id(earlier_id) if earlier_id else None
        if (
            earlier
            and _asks_the_same(earlier, run)
            and (work := _left_of(earlier, settings, again=again))
        ):
            place.forget(run)
            price = _price(settings, place, earlier, prices) if work is Work.TRAIN else 0.0
            return Entry(job.name, work, earlier.id, images, price)
        backends = place.backends(run)
        archived = None if again else archived_run(run, backends)
        if archived:
            place.forget(run)
            return Entry(job.name, Work.NOTHING, archived, images, 0.0)
        return Entry(job.name, Work.TRAIN, run.id, images, _price(settings, place, run, prices))
    except LoraPrepError as error:
        if run:
            run.update(error=error.to_json(), status="failed")
        if earlier_id and (earlier := run_by_id(earlier_id)) and _came_to_nothing(earlier):
            place.forget(earlier)  # a job that fails every night leaves one run, not one a night
        images = int(run.record().get("inspection", {}).get("usable", 0)) if run else 0
        return Entry(job.name, Work.FAILED, run.id if run else None, images, 0.0, error)


def _came_to_nothing(run: Run) -> bool:
    """Whether a run has failed before anything was submitted for it."""
    record = run.record()
    return record.get("status") == "failed" and "training" not in record


def _asks_the_same(earlier: Run, run: Run) -> bool:
    """Whether two runs ask the same trainer for the same training of the same photos."""
    return _asked(earlier.record()) == _asked(run.record())


def _asked(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells one training from another; what it may cost and what follows it do not."""
    opened = record.get("opened", {})
    trainer = {
        name: value
        for name, value in opened.get("trainer", {}).items()
        if name not in {"max_cost_usd", "purge_remote", "webhook"}
    }
    sha256 = record.get("dataset", {}).get("sha256")
    return sha256, opened.get("trainer_url"), trainer, opened.get("store", {}).get("url")


def _left_of(earlier: Run, settings: Settings, *, again: bool) -> Work | None:
    """Return what is left to do of an earlier run; None where a new one has to do it.

    What has waited for its turn at the trainer is not paid yet.
    """
    record = earlier.record()
    match record.get("status"):
        case "archived":
            return None if again else Work.NOTHING
        case "failed":
            return None
        case "submitting" if surely_unsent(earlier, open_ledger(settings)):
            return Work.TRAIN
        case "submitted" | "completed" | "submitting":
            return Work.GO_ON
        case _:
            return Work.TRAIN


def _price(
    settings: Settings, place: Place, run: Run, prices: dict[str, float | None]
) -> float | None:
    """Return what a training costs; each kind of training is asked about once."""
    if choose(settings).rehearsal:
        return 0.0
    wanted = settings.trainer.model_dump_json(
        include={"base_url", "model", "steps", "learning_rate", "lora_rank"}
    )
    if wanted not in prices:
        prices[wanted] = ask_price(place.backends(run).trainer, settings).price_usd
    check_budget(prices[wanted], settings.trainer.max_cost_usd)
    return prices[wanted]


def _within(entry: Entry, left: float, budget_usd: float | None) -> tuple[Entry, float]:
    """Leave a job out where the budget does not reach for it; its price may not rise any more."""
    if entry.price_usd is None or not reaches(left, entry.price_usd):
        return replace(entry, work=Work.OVER_BUDGET, error=_over(entry, budget_usd)), left
    if entry.run and (run := run_by_id(entry.run)):
        _limit(run, entry.price_usd)
    return entry, left - entry.price_usd


def _limit(run: Run, price_usd: float) -> None:
    """Let a run cost no more than was planned, unless a process that has it in hand pays it now."""
    try:
        with run.alone():  # a record has one writer at a time
            trainer = {**run.record()["opened"]["trainer"], "max_cost_usd": price_usd}
            run.update(opened={"trainer": trainer})
    except TemporaryError:
        pass


def _over(entry: Entry, budget_usd: float | None) -> Declined:
    price = "nobody tells" if entry.price_usd is None else f"is {entry.price_usd:g} USD"
    return Declined(
        f"{entry.name} is not trained: the budget of {budget_usd:g} USD does not reach.",
        why=f"Its price {price}; the jobs before it come first.",
        fix="Run the same batch again with more: what is trained is not paid again.",
    )


def _memory(batch: str) -> Path:
    return home_folder() / BATCHES / f"{batch}.json"


def _remember(jobs: Path, budget_usd: float | None, runs: Mapping[str, str]) -> None:
    path = _memory(batch_id(jobs))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")  # the same batch may run twice at once
    kept = {
        "schema": 1,
        "jobs": str(jobs.expanduser().absolute()),
        "budget_usd": budget_usd,
        "runs": dict(runs),
    }
    part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    part.replace(path)
