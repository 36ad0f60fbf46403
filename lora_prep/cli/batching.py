"""batch run, batch status: many people, planned together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.chain import REHEARSAL_FIRST
from lora_prep.cli.exit_status import INTERRUPTED, exit_status
from lora_prep.cli.flags import (
    ArchiveFlags,
    StoreFlags,
    TrainerFlags,
    TrainingFlags,
    settings_flags,
)
from lora_prep.cli.session import Session, SessionParameter, shown
from lora_prep.errors import ConfigurationError, Declined, error_of
from lora_prep.events import Event
from lora_prep.settings import Settings, load_settings
from pipelines.backends import choose

if TYPE_CHECKING:
    from pipelines.batch import Entry, Plan
    from pipelines.engine import Flow

__all__ = ["batch_run", "batch_status", "plan_and_train", "train_plan"]

NAME_WIDTH = 40
FEW = 10  # people whose every note is shown; of more only the ends
Jobs = Annotated[
    Path, Parameter(name="JOBS", help="A jobs file: TOML with [[job]] entries, or CSV.")
]


def batch_run(
    jobs: Jobs,
    /,
    *,
    at_once: Annotated[
        int | None, Parameter(help="Trainings at a time; trainer.in_flight without.")
    ] = None,
    max_cost: Annotated[
        float | None, Parameter(help="Budget of the whole batch, USD; what exceeds it is left.")
    ] = None,
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Do not ask before paying.", show_default=False)
    ] = False,
    again: Annotated[
        bool, Parameter(help="Train also what is trained already.", show_default=False)
    ] = False,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    training: TrainingFlags = TrainingFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Everything for many people: prepare all, show what it costs, ask, train, archive.

    One failure never stops the others; the exit status is that of the worst. Run again, the same
    file trains only what is new or changed, and goes on with what was broken off.
    """
    _check(at_once, max_cost)
    base = settings_flags(store, trainer, training, archive)
    plan_and_train(
        jobs, base, session, budget_usd=max_cost, again=again, agreed=yes, at_once=at_once
    )


def plan_and_train(
    jobs: Path,
    base: dict[str, dict[str, Any]],
    session: Session,
    *,
    budget_usd: float | None,
    again: bool = False,
    agreed: bool,
    at_once: int | None = None,
) -> None:
    """Prepare the jobs of a file, show what they cost, ask unless that is agreed, and train them.

    Raises:
        ConfigurationError: the file or the settings cannot be used.
        Declined: nobody agreed to pay.
    """
    from pipelines.batch import jobs_of, plan_batch
    from pipelines.train import Place

    settings = load_settings(base)
    if choose(settings).rehearsal:
        session.say(REHEARSAL_FIRST)
    found = jobs_of(jobs, base, settings)
    session.interruption = lambda: (
        "Trainings that were submitted go on at the trainer.",
        f"Go on with: lora-prep batch run {jobs}",
    )
    place = Place()
    try:
        plan = plan_batch(
            jobs,
            found,
            place,
            budget_usd=budget_usd,
            again=again,
            on_entry=lambda entry: session.answer(_planned(entry)),
        )
    finally:
        place.close()
    session.answer(_total(plan))
    _ask(plan, session, yes=agreed)
    at_once = at_once or settings.trainer.in_flight
    train_plan(plan, settings, session, again=again, at_once=at_once)


def train_plan(
    plan: Plan, settings: Settings, session: Session, *, again: bool = False, at_once: int
) -> None:
    """Train what a plan says, tell of each end, and show what came of every job."""
    from pipelines.batch import run_batch
    from pipelines.train import Place

    names = {one.run: one.name for one in plan.to_do}
    ended: dict[str, Flow] = {}
    session.result = lambda: _result(plan, ended)

    def on_event(run_id: str, event: Event) -> None:
        if event.kind != "progress" and run_id in names and len(names) <= FEW:
            session.say(f"{shown(names[run_id])}: {event.stage}: {event.message}")

    def on_end(name: str, flow: Flow) -> None:
        ended[name] = flow
        session.say(f"{shown(name)}: {_outcome(flow)}, {len(plan.to_do) - len(ended)} to go")

    place = Place(on_event=on_event)
    run_batch(plan, settings, place, again=again, at_once=at_once, on_end=on_end)
    rows = _rows(plan, ended)
    session.answer(_table(rows))
    session.status = max((row["exit"] for row in rows), default=0)


def batch_status(jobs: Jobs, /, *, session: SessionParameter) -> None:
    """Show how far each job of a batch is; it starts nothing."""
    from pipelines.batch import batch_id, remembered
    from pipelines.runs import run_by_id

    rows = []
    batch = remembered(batch_id(jobs))
    for name, run_id in batch.runs.items() if batch else ():
        run = run_by_id(run_id)
        record = run.record() if run else {}
        status = record.get("status") or "removed"
        rows.append(_row(name, run_id, status, record.get("error"), record))
    session.result = lambda: {"schema": 1, "jobs": rows}
    session.answer(_table(rows) if rows else "This batch was never run here.")


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _check(at_once: int | None, max_cost: float | None) -> None:
    if at_once is not None and at_once < 1:
        raise ConfigurationError(
            f"--at-once {at_once} lets nothing be trained.",
            why="It is how many trainings go on at a time.",
            fix="Give 1 or more.",
        )
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise ConfigurationError(
            f"--max-cost {max_cost:g} is no budget.",
            why="It is an amount in USD, 0 or more.",
            fix="Give such an amount, such as 50.",
        )


def _ask(plan: Plan, session: Session, *, yes: bool) -> None:
    if plan.price_usd == 0 or yes or not plan.to_do:
        return
    price = "nobody tells what" if plan.price_usd is None else f"{plan.price_usd:g} USD"
    if not session.can_ask:
        raise Declined(
            "The batch was not submitted: nobody agreed to pay for it.",
            why=f"It costs {price}. There is no terminal to ask at.",
            fix="Add --yes, perhaps with --max-cost USD.",
        )
    if not session.agrees(f"Train {len(plan.to_do)} people, {price}?"):
        raise Declined("The batch was not submitted.", why="You said no.", fix="Nothing was paid.")


def _planned(entry: Entry) -> str:
    words = {
        "train": "to train",
        "go_on": "goes on",
        "nothing": "archived already",
        "failed": entry.error.what if entry.error else "",
        "over_budget": "beyond the budget",
    }[entry.work.value]
    price = "price unknown" if entry.price_usd is None else f"{entry.price_usd:g} USD"
    paid = f"  {price}" if entry.work.value in ("train", "over_budget") and entry.price_usd else ""
    return f"{shown(entry.name):<20}  {entry.images:>3} photos  {shown(words)}{paid}"


def _total(plan: Plan) -> str:
    price = "not known" if plan.price_usd is None else f"{plan.price_usd:g} USD"
    budget = "" if plan.budget_usd is None else f", budget {plan.budget_usd:g} USD"
    return f"{len(plan.to_do)} of {len(plan.entries)} to do, price {price}{budget}"


def _outcome(flow: Flow) -> str:
    answer = flow.answer or {}
    if flow.status == "CANCELLED":
        return "cancelled"
    code = answer.get("error", {}).get("code")
    return str(code or answer.get("status") or "failed")


def _rows(plan: Plan, ended: dict[str, Flow]) -> list[dict[str, Any]]:
    from pipelines.engine import without_lora
    from pipelines.runs import run_by_id

    rows = []
    for entry in plan.entries:
        run = run_by_id(entry.run) if entry.run else None
        record = run.record() if run else {}
        error = entry.error.to_json() if entry.error else None
        status = {"nothing": "archived"}.get(entry.work.value, entry.work.value)
        if flow := ended.get(entry.name):
            status = _outcome(flow)
            error = None if status == "archived" else record.get("error")
            error = error or (None if status == "archived" else without_lora(flow).to_json())
        row = _row(entry.name, entry.run, status, error, record)
        rows.append(row | {"price_usd": entry.price_usd, "work": entry.work.value})
    return rows


def _row(
    name: str,
    run: str | None,
    status: str,
    error: dict[str, Any] | None,
    record: dict[str, Any],
) -> dict[str, Any]:
    exit_code = exit_status(error_of(error)) if error else 0
    if status in ("train", "go_on"):  # it was broken off before its end
        exit_code = INTERRUPTED
    loras = record.get("loras", []) if status == "archived" else []
    return {
        "name": name,
        "run": run,
        "status": status,
        "exit": exit_code,
        "loras": loras,
        "error": error,
    }


def _result(plan: Plan, ended: dict[str, Flow]) -> dict[str, Any]:
    return {
        "schema": 1,
        "batch": plan.id,
        "price_usd": plan.price_usd,
        "budget_usd": plan.budget_usd,
        "jobs": _rows(plan, ended),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    width = min(NAME_WIDTH, max((len(shown(row["name"])) for row in rows), default=0))
    lines = []
    for row in rows:
        where = row["loras"][0]["url"] if row["loras"] else ""
        if row["error"]:
            where = row["error"]["message"]
        lines.append(
            f"{shown(row['name']):<{width}}  {row['status']:<12}  {row['run'] or '-':<22}  "
            f"{shown(where)}".rstrip()
        )
    return "\n".join(lines)
