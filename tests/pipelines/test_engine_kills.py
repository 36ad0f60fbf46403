"""Killed at every stage boundary and inside every stage: paid once, archived once, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

import pytest

from pipelines.runs import Run
from tests.pipelines.machines import KILLED, Machine, World, a_world
from tests.trainers.databases import KINDS

BOUNDARIES = [
    "kept prepare", "after upload", "kept upload", "after submit", "kept submit", "kept poll",
    "after archive_stage", "kept archive", "after clean",
]  # fmt: skip
INSIDE = [
    "before prepare", "before preparing", "after prepare",
    "before uploading", "after uploading",
    "before claiming", "before posting", "after posting",
    "after asking", "after poll",
    "before downloading", "after downloading", "after putting", "after listing", "after noting",
    "after deleting",
    "before clean", "kept clean",
]  # fmt: skip
STAGES = ["prepare", "upload", "submit", "poll", "archive", "clean"]

# Each point on each database, by the command or by a worker; on a database of each kind by both.
RESUMED = [("sqlite", INSIDE), ("postgres", ["kept upload", "after submit", "kept poll"])]
SERVED = [("sqlite", BOUNDARIES), ("postgres", [*BOUNDARIES, *INSIDE])]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with a_world(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="module")
def machine(world: World) -> Machine:
    return world.machine()


def stages_of(machine: Machine, run: Run) -> list[str]:
    """Return the stages of a run in their order; only what was killed may have begun twice."""
    began = machine.stages(run)
    for (before, stage), (after, same) in pairwise(began):
        assert stage != same or before != after or stage == "poll", began
    return [stage for stage, _ in groupby(stage for _, stage in began)]


@pytest.mark.parametrize(
    ("world", "point"),
    [(kind, point) for kind, points in RESUMED if kind in KINDS for point in points],
    indirect=["world"],
)
def test_it_is_killed_and_resumed(world: World, machine: Machine, point: str) -> None:
    before, run = world.accepted, machine.begin()
    assert machine.resume(run, point=point) == KILLED, machine.said()
    assert machine.resume(run) == 0, machine.said()
    world.check(run, accepted=before + 1)


@pytest.mark.parametrize(
    ("world", "points"), [one for one in SERVED if one[0] in KINDS], indirect=["world"]
)
def test_workers_are_killed_and_the_next_one_goes_on_from_the_journal(
    world: World, points: list[str]
) -> None:
    """Each worker is killed with a run of its own in hand, while it goes on with the last one's."""
    before, machine, runs = world.accepted, world.machine("workers"), []
    for point in points:
        runs.append(machine.begin())
        world.enqueue(runs[-1])
        assert machine.run(point=point, of=runs[-1].id) == KILLED, machine.said()
    machine.serve(*runs)
    world.check(*runs, accepted=before + len(runs))
    for run, point in zip(runs, points, strict=True):
        assert stages_of(machine, run) == STAGES, point
        assert world.flow(run).number == 1, point  # the workflow that was enqueued
        assert world.flow(run).answer == {"status": "archived"}
