"""Schedules are kept, paused and claimed: on every database, by several workers at once."""

from __future__ import annotations

import json
import multiprocessing
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import ConfigurationError, TemporaryError
from lora_prep.settings import home_folder, load_settings
from pipelines import worker
from pipelines.due import Policy, due, parse_cron
from pipelines.schedule_files import jobs_file, jobs_sha256
from pipelines.schedules import Schedule, Schedules
from tests.trainers.databases import DATABASES, new_database

NIGHTLY = parse_cron("30 2 * * *", "Europe/Berlin")
START = datetime(2026, 1, 5, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=DATABASES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return new_database(request.param, tmp_path)


@pytest.fixture
def schedules(where: Path | str, clock: Clock) -> Schedules:
    return Schedules(where, clock=clock)


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "people-of-ada" / "jobs.toml"
    path.parent.mkdir()
    path.write_text("folder = 'ada'")
    return path


def add(schedules: Schedules, jobs: Path, name: str = "nightly", **how: Any) -> Schedule:
    how = {"policy": Policy.LATEST, "machine": "m1", **how}
    return schedules.add(name, how.pop("timing", NIGHTLY), jobs, **how)


def test_what_was_added_is_kept(where: Path | str, schedules: Schedules, jobs: Path) -> None:
    added = add(schedules, jobs, policy=Policy.ALL, max_cost_usd=2.5)
    assert added == Schedule(
        name="nightly",
        cron="30 2 * * *",
        zone="Europe/Berlin",
        policy=Policy.ALL,
        max_cost_usd=2.5,
        paused=False,
        created_at=START,
        last_slot=START.replace(microsecond=0),
        machine="m1",
        jobs_sha256=jobs_sha256(jobs),
    )
    assert added.timing == NIGHTLY
    again = Schedules(where)
    assert again.get("nightly") == added
    assert again.get("other") is None
    second = add(schedules, jobs, "a_2")
    assert again.list() == (second, added)


def test_a_name_is_given_once(schedules: Schedules, jobs: Path, tmp_path: Path) -> None:
    first = add(schedules, jobs)
    other = tmp_path / "other.toml"
    other.write_text("other")
    with pytest.raises(ConfigurationError, match="There is a schedule 'nightly' already"):
        add(schedules, other)
    assert schedules.list() == (first,)
    assert first.jobs == jobs  # the other file has not taken its place


@pytest.mark.parametrize("name", ["", "a" * 65, "Nightly", "a b", "a/b", "../a", "ä", "a\n", "a."])
def test_a_name_that_is_none(tmp_path: Path, jobs: Path, name: str) -> None:
    schedules = Schedules(tmp_path / "s.sqlite")
    with pytest.raises(ConfigurationError, match="A schedule cannot be called"):
        add(schedules, jobs, name)
    assert schedules.list() == ()


@pytest.mark.parametrize(
    "how",
    [
        {"policy": Policy.ALL},
        {"max_cost_usd": -1.0},
        {"max_cost_usd": float("nan")},
        {"max_cost_usd": float("inf")},
    ],
)
def test_all_needs_a_limit_and_a_limit_is_an_amount(
    tmp_path: Path, jobs: Path, how: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="limit of cost"):
        add(Schedules(tmp_path / "s.sqlite"), jobs, **how)


def test_jobs_that_cannot_be_read_add_nothing(tmp_path: Path) -> None:
    schedules = Schedules(tmp_path / "s.sqlite")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        add(schedules, tmp_path / "missing.toml")
    assert schedules.list() == ()


def test_no_row_without_the_place_of_its_jobs(schedules: Schedules, jobs: Path) -> None:
    (home_folder() / "schedules").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written down"):
        add(schedules, jobs)
    assert schedules.list() == ()


def test_the_path_stays_on_this_machine(
    schedules: Schedules, jobs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(jobs.parent)
    add(schedules, Path(jobs.name))
    note = home_folder() / "schedules" / "nightly.json"
    assert json.loads(note.read_text())["jobs"] == str(jobs)
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert stat.S_IMODE(note.parent.stat().st_mode) == 0o700
    assert [path.name for path in note.parent.iterdir()] == [note.name]
    with schedules._engine.begin() as connection:
        (row,) = connection.exec_driver_sql("SELECT * FROM lora_prep_schedules").all()
    assert not [value for value in row if "ada" in str(value) or "/jobs" in str(value)]

    seen = schedules.get("nightly")
    assert seen
    assert seen.jobs == jobs
    monkeypatch.setenv("LORA_PREP_HOME", str(tmp_path / "another machine"))
    assert seen.jobs is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"jobs": "/x", "jobs_sha256": "other"}'])
def test_a_note_of_something_else_is_not_believed(text: str) -> None:
    folder = home_folder() / "schedules"
    folder.mkdir()
    (folder / "nightly.json").write_text(text)
    assert jobs_file("nightly", "abc") is None


def test_what_is_removed_is_gone_and_its_name_is_free(schedules: Schedules, jobs: Path) -> None:
    add(schedules, jobs)
    schedules.remove("nightly")
    assert schedules.list() == ()
    assert list((home_folder() / "schedules").iterdir()) == []
    assert jobs.exists()
    add(schedules, jobs)


@pytest.mark.parametrize("action", ["pause", "resume", "remove"])
def test_an_unknown_name_is_told_with_those_there_are(
    schedules: Schedules, jobs: Path, action: str
) -> None:
    with pytest.raises(ConfigurationError, match="Add one first"):
        getattr(schedules, action)("nightli")
    add(schedules, jobs)
    with pytest.raises(ConfigurationError, match="one of these: nightly"):
        getattr(schedules, action)("nightli")


def test_a_slot_is_claimed_once_and_the_time_only_goes_on(schedules: Schedules, jobs: Path) -> None:
    seen = add(schedules, jobs)
    slot = seen.last_slot + DAY
    assert not schedules.claim("other", seen.last_slot, slot)
    assert schedules.claim("nightly", seen.last_slot, slot)
    assert not schedules.claim("nightly", seen.last_slot, slot)
    assert not schedules.claim("nightly", seen.last_slot, slot + DAY)  # it saw what is over
    assert not schedules.claim("nightly", slot, slot)
    assert not schedules.claim("nightly", slot, slot - DAY)
    now = schedules.get("nightly")
    assert now
    assert now.last_slot == slot


def test_every_slot_that_was_missed_is_claimed_in_order(
    schedules: Schedules, jobs: Path, clock: Clock
) -> None:
    seen = add(schedules, jobs, policy=Policy.ALL, max_cost_usd=1)
    clock.now += 3 * DAY
    slots = due(seen.timing, last=seen.last_slot, now=clock.now, policy=seen.policy)
    assert len(slots) == 3
    last = seen.last_slot
    for slot in slots:
        assert schedules.claim("nightly", last, slot)
        last = slot
    now = schedules.get("nightly")
    assert now
    assert due(now.timing, last=now.last_slot, now=clock.now, policy=now.policy) == ()


@pytest.mark.parametrize("policy", Policy)
def test_a_pause_counts_as_missed_for_all_alone(
    schedules: Schedules, jobs: Path, clock: Clock, policy: Policy
) -> None:
    seen = add(schedules, jobs, policy=policy, max_cost_usd=1)
    schedules.pause("nightly")
    schedules.pause("nightly")
    clock.now += 3 * DAY
    paused = schedules.get("nightly")
    assert paused
    assert paused.paused
    assert not schedules.claim("nightly", seen.last_slot, seen.last_slot + DAY)
    schedules.resume("nightly")
    now = schedules.get("nightly")
    assert now
    assert not now.paused
    expected = seen.last_slot if policy is Policy.ALL else clock.now.replace(microsecond=0)
    assert now.last_slot == expected


def test_resuming_what_is_not_paused_or_with_a_clock_put_back_changes_no_slot(
    schedules: Schedules, jobs: Path, clock: Clock
) -> None:
    seen = add(schedules, jobs)
    clock.now += 3 * DAY
    schedules.resume("nightly")
    assert schedules.get("nightly") == seen
    schedules.pause("nightly")
    clock.now = START - DAY
    schedules.resume("nightly")
    assert schedules.get("nightly") == seen


def test_of_many_threads_one_claims_a_slot(where: Path | str, jobs: Path) -> None:
    seen = add(Schedules(where), jobs)
    slot = seen.last_slot + DAY
    ready = threading.Barrier(6)
    won: list[bool] = []

    def race() -> None:
        own = Schedules(where)
        ready.wait(30)
        won.append(own.claim("nightly", seen.last_slot, slot))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]


def racer(where: Path | str, seen_last: datetime, at: float, answers: Any) -> None:
    try:
        own = Schedules(where)
        time.sleep(max(at - time.time(), 0))
        slots = [seen_last + n * DAY for n in range(21)]
        for seen, slot in pairwise(slots):
            answers.put((slot, own.claim("nightly", seen, slot)))
        answers.put(None)
    except Exception as error:  # noqa: BLE001
        answers.put(repr(error))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATABASES)
def test_of_two_processes_one_claims_each_slot(kind: str, tmp_path: Path, jobs: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pipelines.schedules"])
    where = new_database(kind, tmp_path)
    seen = add(Schedules(where), jobs)
    answers: Any = context.Queue()
    at = time.time() + 2
    racers = [
        context.Process(target=racer, args=(where, seen.last_slot, at, answers)) for _ in range(2)
    ]
    for one in racers:
        one.start()
    told = [answers.get(timeout=60) for _ in range(2 * 21)]
    for one in racers:
        one.join()
    assert told.count(None) == 2, told
    won = sorted(slot for slot, first in filter(None, told) if first)
    assert won == [seen.last_slot + n * DAY for n in range(1, 21)]


def test_the_ledger_and_the_schedules_share_a_database(where: Path | str, jobs: Path) -> None:
    from lora_prep.trainers import Ledger

    add(Schedules(where), jobs)
    assert Ledger(where).get("run1-1") is None
    assert len(Schedules(where).list()) == 1


def test_schedules_of_a_newer_lora_prep_are_left_alone(schedules: Schedules) -> None:
    where = schedules._engine.url.render_as_string()
    with schedules._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lora_prep_schedules_version SET version = 2")
    with pytest.raises(ConfigurationError, match="made by a newer lora_prep"):
        Schedules(where)


def test_a_row_of_a_zone_that_is_unknown_here_hides_no_other(
    schedules: Schedules, jobs: Path
) -> None:
    add(schedules, jobs)
    add(schedules, jobs, "other")
    with schedules._engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE lora_prep_schedules SET zone = 'Mars/Olympus' WHERE name = 'nightly'"
        )
    broken, other = schedules.list()
    assert other.timing == NIGHTLY
    with pytest.raises(ConfigurationError, match="no time zone"):
        _ = broken.timing


def test_a_database_that_is_none_is_our_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(TemporaryError, match="list of schedules cannot be used"):
        Schedules(broken)
    with pytest.raises(ConfigurationError, match="database of the list of schedules"):
        Schedules("mysql://h/d")


@pytest.mark.slow  # two slots, a second apart
def test_what_is_wrong_with_one_schedule_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = tmp_path / "jobs.toml"
    jobs.write_text('[[job]]\nfolder = "x"\n')
    home_folder().mkdir(parents=True, exist_ok=True)
    schedules = Schedules(tmp_path / "schedules.sqlite")
    for name in ("a_full_disk", "b_no_such_zone", "c_sound"):
        schedules.add(
            name, parse_cron("* * * * * *", "UTC"), jobs, policy=Policy.LATEST, machine="m"
        )
    stop, fired, said, due = threading.Event(), list[str](), list[str](), worker._due

    def fire(schedule: Schedule, *arguments: object) -> None:
        if schedule.name == "a_full_disk":
            raise OSError(28, "No space left on device")
        fired.append(schedule.name)
        if len(fired) == 2:
            stop.set()
        raise ConfigurationError("Enough.", why="It is a test.", fix="None.")

    def slots(schedule: Schedule) -> tuple[datetime, ...]:
        if schedule.name == "b_no_such_zone":
            raise ConfigurationError("No such zone.", why="It is not here.", fix="None.")
        return due(schedule)

    monkeypatch.setattr(worker, "fire", fire)
    monkeypatch.setattr(worker, "_due", slots)
    settings = load_settings({"engine": {"look_s": 0.2}})
    too_late = threading.Timer(20, stop.set)
    too_late.start()
    worker._fire_what_is_due(settings, {}, None, schedules, stop, said.append)  # type: ignore[arg-type]
    too_late.cancel()  # or the process would not end before it
    assert fired == ["c_sound", "c_sound"]
    assert any("a_full_disk" in line and "No space left" in line for line in said)
    assert [line for line in said if "b_no_such_zone" in line] == [
        "schedule b_no_such_zone: No such zone. It is not here."
    ]
