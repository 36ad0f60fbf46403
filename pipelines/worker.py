"""The worker: takes up what nobody has in hand, and begins what is due, until it is stopped."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from lora_prep.errors import ConfigurationError, TemporaryError, unforeseen
from lora_prep.settings import Settings, home_folder
from pipelines.batch import Plan, Work, jobs_of, plan_batch, tasks_of
from pipelines.due import due
from pipelines.engine import QUEUE, Engine, launched
from pipelines.jobs import Sections
from pipelines.notifying import notice_of, notify
from pipelines.places import database_of, worker_lock
from pipelines.runs import all_runs, run_at
from pipelines.schedules import Schedule, Schedules
from pipelines.together import enqueue
from pipelines.train import Place

__all__ = ["Fired", "fire", "serve", "tell_of_expiring"]

logger = logging.getLogger(__name__)

EXPIRING_EVERY_S = 600.0
FIRING = "firing"  # folder of the slots that were begun and whose runs are not queued yet


@dataclass(frozen=True, slots=True)
class Fired:
    """A slot of a schedule that was begun, and what came of its jobs."""

    schedule: str
    slot: datetime
    plan: Plan


Told = Callable[[str], None]


def serve(
    settings: Settings, base: Sections, place: Place, stop: threading.Event, say: Told
) -> None:
    """Serve the queues and the schedules of this machine until `stop` is set, then drain.

    base: settings of all jobs, on top of which a jobs file says what it wants.

    Raises:
        TemporaryError: another worker runs here already.
        ConfigurationError: the database cannot be used.
    """
    lock = worker_lock()
    if lock is None:
        raise TemporaryError(
            "A worker runs on this machine already.",
            why="One is enough: it works on many runs at once.",
            fix="Leave it, or stop it first.",
        )
    with lock, launched(settings, place, {QUEUE: settings.trainer.in_flight}) as engine:
        say("working; stop with Ctrl-C")
        schedules = Schedules(database_of(settings))
        firing = threading.Thread(
            target=_fire_what_is_due,
            args=(settings, base, engine, schedules, stop, say),
            daemon=True,
        )
        firing.start()
        told_at = 0.0
        try:
            while not _stopped(stop, settings.engine.look_s):
                try:
                    if time.monotonic() - told_at > EXPIRING_EVERY_S:
                        told_at = time.monotonic()
                        tell_of_expiring(settings)
                    for run in engine.client.take_up(engine.client.flows(unfinished=True)):
                        say(f"{run}: taken up")
                except Exception as error:  # noqa: BLE001  it has runs in hand: it stays
                    told = unforeseen(error)
                    logger.error("%s %s", told.what, told.why)
        except KeyboardInterrupt:  # it came while it looked for work: that is no less a stop
            pass
        stop.set()
        say("stopping: what runs is brought to the end of its stage")
        if not engine.leave():
            say("some stages take longer; they go on with the next start")


def fire(
    schedule: Schedule, slot: datetime, settings: Settings, base: Sections, engine: Engine
) -> Fired:
    """Prepare the jobs of a schedule and put what is new or changed into the queue.

    Raises:
        ConfigurationError: its jobs file cannot be used.
    """
    path = schedule.jobs
    if path is None:
        raise ConfigurationError(
            f"The jobs file of the schedule {schedule.name} is not on this machine.",
            why="It was added on another one, or moved.",
            fix="Add the schedule again, here.",
        )
    jobs = jobs_of(path, base, settings)
    plan = plan_batch(path, jobs, engine.place, budget_usd=schedule.max_cost_usd)
    enqueue(tasks_of(plan), engine.client, engine.place)
    for entry in plan.entries:
        if entry.work is Work.FAILED and entry.run:  # nobody is there to read it at night
            notify(notice_of(run_at(entry.run), "failed"), settings)
    return Fired(schedule.name, slot, plan)


def _stopped(stop: threading.Event, pause_s: float) -> bool:
    """Wait a moment; Ctrl-C and SIGTERM ask for the end, too."""
    try:
        return stop.wait(pause_s)
    except KeyboardInterrupt:
        return True


def tell_of_expiring(settings: Settings) -> None:
    """Tell the user's command, once, of each result that the provider will soon forget."""
    soon = timedelta(hours=settings.archive.soon_h)
    for run in all_runs():
        record = run.record()
        expires_at = record.get("expires_at")
        if not expires_at or record.get("status") == "archived" or record.get("told_expiring"):
            continue
        if datetime.fromisoformat(expires_at) - datetime.now(UTC) < soon:
            try:
                with run.alone():  # a record has one writer at a time
                    run.update(told_expiring=True)
            except TemporaryError:  # somebody goes on with it; the next time tells
                continue
            notify(notice_of(run, "expiring"), settings)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _fire_what_is_due(
    settings: Settings,
    base: Sections,
    engine: Engine,
    schedules: Schedules,
    stop: threading.Event,
    say: Told,
) -> None:
    said: dict[str, str] = {}  # what is wrong with each schedule: once is enough to hear

    def trying(name: str, act: Callable[[], None]) -> None:
        """What is wrong with one schedule, or for a moment, ends neither the others nor this."""
        try:
            act()
            said.pop(name, None)
        except Exception as error:  # noqa: BLE001  this thread is all that fires
            told = unforeseen(error)
            words = f"{told.what} {told.why}"
            if said.get(name) != words:
                say(f"{name}: {words}")
            said[name] = words

    def fire_due(schedule: Schedule) -> None:
        for slot in _due(schedule):
            if stop.is_set() or not _claimed(schedules, schedule, slot):
                break
            _fire(schedule, slot, settings, base, engine, say)

    def fire_begun() -> None:  # a worker was killed; what it had claimed is not due any more
        for name, slot in _begun():
            schedule = schedules.get(name)
            if schedule and schedule.last_slot >= slot:
                _fire(schedule, slot, settings, base, engine, say)
            _mark(name, slot).unlink(missing_ok=True)

    def fire_all() -> None:
        # Where a jobs file is on several machines, the claim lets one of them begin the slot.
        for schedule in schedules.list():
            if schedule.jobs and not schedule.paused:
                trying(f"schedule {schedule.name}", partial(fire_due, schedule))

    trying("schedules", fire_begun)
    while not stop.is_set():
        trying("schedules", fire_all)
        stop.wait(settings.engine.look_s)


def _due(schedule: Schedule) -> tuple[datetime, ...]:
    now = datetime.now(UTC)
    return due(schedule.timing, last=schedule.last_slot, now=now, policy=schedule.policy)


def _claimed(schedules: Schedules, schedule: Schedule, slot: datetime) -> bool:
    """Claim a slot for this worker; what it has claimed outlives it."""
    mark = _mark(schedule.name, slot)
    mark.parent.mkdir(mode=0o700, exist_ok=True)
    mark.write_text(json.dumps({"schedule": schedule.name, "slot": slot.isoformat()}))
    seen = schedules.get(schedule.name)
    if seen and seen.last_slot < slot and schedules.claim(schedule.name, seen.last_slot, slot):
        return True
    mark.unlink()
    return False


def _fire(
    schedule: Schedule,
    slot: datetime,
    settings: Settings,
    base: Sections,
    engine: Engine,
    say: Told,
) -> None:
    what = f"schedule {schedule.name}, {slot:%Y-%m-%dT%H.%M.%SZ}"
    try:
        plan = fire(schedule, slot, settings, base, engine).plan
        say(f"{what}: {len(plan.to_do)} of {len(plan.entries)} jobs to do")
    except Exception as error:  # noqa: BLE001  it was claimed: nobody tries this slot again
        told = unforeseen(error)
        say(f"{what}: {told.what} {told.why}")
    _mark(schedule.name, slot).unlink(missing_ok=True)


def _begun() -> list[tuple[str, datetime]]:
    found = []
    for path in sorted((home_folder() / FIRING).glob("*.json")):
        try:
            kept = json.loads(path.read_text())
            found.append((kept["schedule"], datetime.fromisoformat(kept["slot"])))
        except (
            ValueError,
            KeyError,
            TypeError,
        ):  # cut off while it was written: nothing was claimed yet
            path.unlink()
    return found


def _mark(name: str, slot: datetime) -> Path:
    return home_folder() / FIRING / f"{name}-{int(slot.timestamp())}.json"
