"""schedule add, list, pause, resume, run-now, remove; worker."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from lora_prep.cli.flags import ArchiveFlags, StoreFlags, TrainerFlags, settings_flags
from lora_prep.cli.session import SessionParameter, shown
from lora_prep.errors import ConfigurationError
from lora_prep.events import Event
from lora_prep.settings import Settings, load_settings

if TYPE_CHECKING:
    from pipelines.schedules import Schedule, Schedules

__all__ = [
    "schedule_add",
    "schedule_list",
    "schedule_pause",
    "schedule_remove",
    "schedule_resume",
    "schedule_run_now",
    "worker",
]

Name = Annotated[str, Parameter(name="NAME", help="What you call the schedule.")]


def schedule_add(
    name: Name,
    jobs: Annotated[Path, Parameter(name="JOBS", help="The jobs file it runs.")],
    /,
    *,
    cron: Annotated[str, Parameter(help='When: "0 2 * * *" is every night at 2.')],
    tz: Annotated[str, Parameter(help="The time zone of that clock, as Europe/Berlin.")] = "UTC",
    missed: Annotated[
        Literal["latest", "none", "all"],
        Parameter(
            help="What becomes of slots that nobody served: the latest, none or all are run."
        ),
    ] = "latest",
    max_cost: Annotated[
        float | None, Parameter(help="Budget of one slot, USD; what exceeds it is left.")
    ] = None,
    session: SessionParameter,
) -> None:
    """Run a jobs file again and again: each time what is new or changed is trained.

    A worker of this machine serves it: lora-prep worker. It never asks, so give it a budget.
    """
    from pipelines.batch import jobs_of
    from pipelines.due import Policy, next_slot, parse_cron
    from pipelines.places import machine_of

    settings = load_settings()
    timing = parse_cron(cron, tz)
    jobs_of(jobs, {}, settings)  # what is wrong with it is said now, not at night
    schedules = _schedules(settings)
    added = schedules.add(
        name,
        timing,
        jobs.expanduser().absolute(),
        policy=Policy(missed),
        machine=machine_of(settings),
        max_cost_usd=max_cost,
    )
    first = next_slot(timing, datetime.now(UTC))
    session.result = lambda: {"schema": 1, "schedule": _json(added)}
    session.answer(f"{name}  next on {_spoken(first, added)}")
    session.say("Serve it with: lora-prep worker")


def schedule_list(*, session: SessionParameter) -> None:
    """List the schedules, and when each is next."""
    found = _schedules(load_settings()).list()
    session.result = lambda: {"schema": 1, "schedules": [_json(one) for one in found]}
    for one in found:
        session.answer(_line(one))
    if not found:
        session.say('There is none. Add one: lora-prep schedule add NAME JOBS --cron "0 2 * * *"')


def schedule_pause(name: Name, /, *, session: SessionParameter) -> None:
    """Let a schedule rest."""
    schedules = _schedules(load_settings())
    schedules.pause(name)
    _show(name, schedules, session)


def schedule_resume(name: Name, /, *, session: SessionParameter) -> None:
    """Let a schedule go on, from now on."""
    schedules = _schedules(load_settings())
    schedules.resume(name)
    _show(name, schedules, session)


def schedule_remove(name: Name, /, *, session: SessionParameter) -> None:
    """Remove a schedule; what it has begun goes on."""
    _schedules(load_settings()).remove(name)
    session.result = lambda: {"schema": 1, "removed": name}
    session.answer(f"{name}  removed")


def schedule_run_now(
    name: Name,
    /,
    *,
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Do not ask before paying.", show_default=False)
    ] = False,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Train what a schedule would train now: here, or by the worker.

    Where the schedule has no budget it asks before it pays.
    """
    from lora_prep.cli.batching import plan_and_train

    base = settings_flags(store, trainer, archive)
    schedule = _schedules(load_settings(base)).get(name)
    if schedule is None or schedule.jobs is None:
        raise ConfigurationError(
            f"There is no schedule {name} on this machine.",
            why="It was never added here, or its jobs file is gone.",
            fix="lora-prep schedule list",
        )
    budget_usd = schedule.max_cost_usd
    agreed = yes or budget_usd is not None
    plan_and_train(schedule.jobs, base, session, budget_usd=budget_usd, agreed=agreed)


def worker(
    *,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Serve the queue and the schedules until it is stopped; then finish the stages that run.

    It takes up what killed commands and dead machines have left, and retries what may pass. One is
    enough for a machine; with a shared database (engine.database_url) several machines have one
    each. It never asks: what it trains was agreed to, or has a budget.
    """
    from pipelines.runs import run_at
    from pipelines.train import Place
    from pipelines.worker import serve

    base = settings_flags(store, trainer, archive)
    settings = load_settings(base)

    names: dict[str, str] = {}

    def on_event(run_id: str, event: Event) -> None:
        if event.kind != "progress":
            who = names.get(run_id) or run_at(run_id).record().get("name", "")
            names[run_id] = who
            session.say(f"{run_id}  {shown(who)}: {event.stage}: {event.message}")

    stop = threading.Event()
    try:
        serve(settings, base, Place(on_event=on_event), stop, session.say)
    except KeyboardInterrupt:  # it came before the loop, or a second time
        stop.set()


def _schedules(settings: Settings) -> Schedules:
    from pipelines.places import database_of
    from pipelines.schedules import Schedules

    return Schedules(database_of(settings))


def _show(name: str, schedules: Schedules, session: SessionParameter) -> None:
    schedule = schedules.get(name)
    assert schedule is not None, "it was there a moment ago"  # noqa: S101
    session.result = lambda: {"schema": 1, "schedule": _json(schedule)}
    session.answer(_line(schedule))


def _line(one: Schedule) -> str:
    when = "paused" if one.paused else f"next on {_next(one)}"
    jobs = shown(str(one.jobs)) if one.jobs else "(of another machine)"
    budget = "" if one.max_cost_usd is None else f"  at most {one.max_cost_usd:g} USD"
    return f"{one.name}  {one.cron}  {one.zone}  {when}{budget}  {jobs}"


def _next(one: Schedule) -> str:
    from pipelines.due import next_slot

    try:
        return _spoken(next_slot(one.timing, datetime.now(UTC)), one)
    except ConfigurationError:
        return "no day that this machine knows"


def _spoken(slot: datetime, schedule: Schedule) -> str:
    return f"{slot.astimezone(schedule.timing.zone):%Y-%m-%d %H:%M:%S} {schedule.zone}"


def _json(one: Schedule) -> dict[str, Any]:
    from pipelines.due import next_slot

    try:
        following = next_slot(one.timing, datetime.now(UTC)).isoformat()
    except ConfigurationError:
        following = None
    return {
        "name": one.name,
        "cron": one.cron,
        "zone": one.zone,
        "missed": one.policy.value,
        "max_cost_usd": one.max_cost_usd,
        "paused": one.paused,
        "last": one.last_slot.isoformat(),
        "next": None if one.paused else following,
        "jobs": str(one.jobs) if one.jobs else None,
    }
