"""Several processes and machines on one database: nobody pays twice, nobody's run is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import engine
from pipelines.runs import Run
from tests.pipelines.machines import END_S, KILLED, World, a_world, until
from tests.trainers.databases import KINDS

pytestmark = pytest.mark.slow

BUSY = 75
POSTGRES = [kind for kind in KINDS if kind == "postgres"]


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with a_world(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


each_database = pytest.mark.parametrize("world", KINDS, indirect=True, scope="module")
postgres = pytest.mark.parametrize("world", POSTGRES, indirect=True, scope="module")


def is_frozen(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


# ── two at once ───────────────────────────────────────────────────────────────────────────────


@each_database
def test_a_run_that_somebody_works_on_is_left_to_them(world: World) -> None:
    before, machine = world.accepted, world.machine("busy")
    run = machine.begin()
    first = machine.start("resume", run.id, "--yes", point="before posting", end=signal.SIGSTOP)
    until(lambda: is_frozen(first.pid or 0), machine.said)
    assert machine.resume(run) == BUSY, machine.said()
    os.kill(first.pid or 0, signal.SIGCONT)
    first.join(END_S)
    assert first.exitcode == 0, machine.said()
    world.check(run, accepted=before + 1)
    assert world.flow(run).number == 1


@each_database
def test_two_that_begin_the_same_run_at_once_pay_once(world: World) -> None:
    before, machine = world.accepted, world.machine("race")
    run = machine.begin()
    both = [machine.start("resume", run.id, "--yes", "--json") for _ in range(2)]
    for one in both:
        one.join(END_S)
    assert {one.exitcode for one in both} <= {0, BUSY}, machine.said()
    assert 0 in {one.exitcode for one in both}
    world.check(run, accepted=before + 1)


@each_database
def test_two_runs_at_once_both_end(world: World) -> None:
    before, machine = world.accepted, world.machine("two")
    runs = [machine.begin(), machine.begin()]
    both = [machine.start("resume", run.id, "--yes", "--json") for run in runs]
    for one in both:
        one.join(END_S)
    assert [one.exitcode for one in both] == [0, 0], machine.said()
    world.check(*runs, accepted=before + 2)
    for run, process in zip(runs, both, strict=True):
        assert len({by for by, _ in machine.stages(run)}) == 1, process


@each_database
def test_a_command_goes_on_with_nothing_that_it_was_not_asked_for(world: World) -> None:
    before, machine = world.accepted, world.machine("asked")
    ada = machine.begin()
    assert machine.resume(ada, point="kept upload") == KILLED
    flow, stages = world.flow(ada), machine.stages(ada)
    assert machine.run("run", str(world.photos()), "--yes", "--json") == 0, machine.said()
    assert world.accepted == before + 1
    assert world.flow(ada) == flow
    assert not flow.finished
    assert machine.stages(ada) == stages
    ben = machine.answer()["run"]
    assert ben != ada.id
    assert machine.resume(ada) == 0, machine.said()
    world.check(ada, Run(ben, machine.home / "runs" / ben), accepted=before + 2)


# ── a machine dies ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("point", "host"),
    [
        ("kept prepare", "elsewhere"),
        ("kept upload", ""),
        ("after posting", "elsewhere"),
        ("kept archive", ""),
    ],
)
@postgres
def test_another_machine_finishes_what_a_dead_one_had_in_hand(
    world: World, point: str, host: str
) -> None:
    """Of this machine the kernel tells that it is dead, of another one only its silence.

    That one has one run in hand: what it was about to send is for its owner to look at, see below.
    """
    name = f"{point.replace(' ', '-')}{host}"
    dead = world.machine(f"dead-{name}", host=host, at_once=1 if host else 3)
    living = world.machine(f"living-{name}", at_once=dead.at_once)
    before, runs = world.accepted, [dead.begin() for _ in range(3)]
    world.enqueue(*runs)
    assert dead.run(point=point, of=runs[1].id) == KILLED, dead.said()
    died = time.monotonic()
    living.serve(*runs)
    if host:
        assert time.monotonic() - died > world.settings.engine.reaper_s / 2
    world.check(*runs, accepted=before + 3)
    assert living.record(runs[1])["opened"] == dead.record(runs[1])["opened"]
    assert world.keys("datasets/") == []


# ── a machine is frozen ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("point", ["kept upload", "after posting", "kept poll"])
@postgres
def test_a_frozen_machine_that_wakes_up_does_not_pay_again(world: World, point: str) -> None:
    name = point.replace(" ", "-")
    frozen = world.machine(f"frozen-{name}", host="elsewhere")
    living = world.machine(f"awake-{name}")
    before, run = world.accepted, frozen.begin()
    world.enqueue(run)
    worker = frozen.start(point=point, end=signal.SIGSTOP)
    until(lambda: is_frozen(worker.pid or 0), frozen.said)
    living.serve(run)
    world.check(run, accepted=before + 1)
    os.kill(worker.pid or 0, signal.SIGCONT)
    time.sleep(1)
    frozen.retire(worker)
    world.check(run, accepted=before + 1)
    assert world.flow(run).answer == {"status": "archived"}


@postgres
def test_what_a_frozen_machine_may_still_send_is_sent_by_nobody_else(world: World) -> None:
    """Its claim is all that is known. Its owner is asked, and what it sends at last is kept."""
    frozen, living = world.machine("sending", host="elsewhere"), world.machine("asking")
    before, run = world.accepted, frozen.begin()
    world.enqueue(run)
    worker = frozen.start(point="before posting", end=signal.SIGSTOP)
    until(lambda: is_frozen(worker.pid or 0), frozen.said)
    living.serve(run)
    assert world.flow(run).answer == {"status": "failed", "error": {"code": "needs_attention"}}
    assert world.accepted == before
    os.kill(worker.pid or 0, signal.SIGCONT)
    until(lambda: world.accepted == before + 1, frozen.said)
    frozen.retire(worker)
    assert living.resume(run) == 0, living.said()
    world.check(run, accepted=before + 1)


# ── an earlier version ────────────────────────────────────────────────────────────────────────

OLDER = [
    ("sqlite", "kept look"),
    ("sqlite", "after posting"),
    ("sqlite", "after archive_stage"),
    ("postgres", "kept submit"),
]


@pytest.mark.parametrize(
    ("world", "point"), [one for one in OLDER if one[0] in KINDS], indirect=["world"]
)
def test_what_an_earlier_version_began_is_finished_by_this_one(world: World, point: str) -> None:
    before, machine = world.accepted, world.machine("older")
    run = machine.begin()
    assert machine.resume(run, older=True, point=point) == KILLED, machine.said()
    assert world.flow(run).version == "0"
    assert machine.resume(run) == 0, machine.said()
    world.check(run, accepted=before + 1)


@each_database
def test_a_worker_finishes_what_an_earlier_version_began_or_left_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, machine = world.accepted, world.machine("olders")
    begun, waiting = machine.begin(), machine.begin()
    with monkeypatch.context() as patch:
        patch.setattr(engine, "FORMAT", "0")
        world.enqueue(begun)
        assert machine.run(older=True, point="after posting") == KILLED, machine.said()
        world.enqueue(waiting)
    assert {world.flow(run).version for run in (begun, waiting)} == {"0"}
    machine.serve(begun, waiting)
    world.check(begun, waiting, accepted=before + 2)
    assert {world.flow(run).version for run in (begun, waiting)} == {engine.FORMAT}
