"""A batch of many people on one machine, without the work on their photos.

Promise: 1,000 people are archived, each paid for once; at least 5 people a second; memory flat; at
most 10 ms of the engine for each step on SQLite. Everything is real but the training: the embedded
S3 server, the trainer service over HTTP, LoRAs of 0.25 MB (rank 1, 5 blocks), 64 in flight. Each
person has a zip of ten small pictures that is ready; looking at photos is measured elsewhere.

Beside it, in the same run: the same chain without an engine, for some of the people; and steps that
do nothing, with the engine's journal and into a plain SQLite file.

    python benchmarks/batch.py [PEOPLE]
"""

from __future__ import annotations

import io
import os
import resource
import sqlite3
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PEOPLE = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
AT_ONCE = 64
NO_ENGINE = 40
STEPS = 300
SETTINGS = {
    "EMBEDDED__REHEARSAL_RANK": "1",
    "EMBEDDED__REHEARSAL_BLOCKS": "5",
    "EMBEDDED__REHEARSAL_S": "0",
    "TRAINER__POLL_MIN_S": "0.1",
    "TRAINER__IN_FLIGHT": str(AT_ONCE),
    "ENGINE__LOOK_S": "0.2",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["LORA_PREP_HOME"] = place
        os.environ.update({f"LORA_PREP_{name}": value for name, value in SETTINGS.items()})
        measure(Path(place))


def measure(home: Path) -> None:
    from dbos import DBOS

    from lora_prep.embedded import stop_services
    from lora_prep.settings import load_settings
    from pipelines.batch import Entry, Plan, Work, run_batch
    from pipelines.engine import Flow, launched
    from pipelines.runs import run_at
    from pipelines.train import Place, Task, without_engine

    @DBOS.workflow(name="nothing")
    def nothing(steps: int) -> None:
        for number in range(steps):
            DBOS.run_step({"name": "nothing"}, lambda value: {"value": value}, number)

    settings = load_settings()
    runs = [ready(number, settings) for number in range(PEOPLE + NO_ENGINE)]
    try:
        place = Place()
        began = time.perf_counter()
        for run in runs[PEOPLE:]:
            assert without_engine(Task(run, yes=True), place)["status"] == "archived"
        alone_s = (time.perf_counter() - began) / NO_ENGINE
        place.close()

        with launched(settings, Place()):
            began = time.perf_counter()
            nothing(STEPS)
            step_ms = (time.perf_counter() - began) / STEPS * 1e3

        plan = Plan("b", tuple(Entry(run, Work.TRAIN, run, 10, 0.0) for run in runs[:PEOPLE]), None)
        memory_mb: list[float] = []
        ended: list[Flow] = []

        def on_end(name: str, flow: Flow) -> None:  # noqa: ARG001
            ended.append(flow)
            if len(ended) % max(1, PEOPLE // 10) == 0:
                memory_mb.append(resident_mb())
                print(f"  {len(ended):5} archived, {memory_mb[-1]:.0f} MB", flush=True)

        began, cpu = time.perf_counter(), time.process_time()
        run_batch(plan, settings, Place(), at_once=AT_ONCE, on_end=on_end)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        archived = sum(run_at(run).record()["status"] == "archived" for run in runs[:PEOPLE])
        tasks, steps = counted(home, runs[:PEOPLE])
    finally:
        stop_services(home)
    growth = memory_mb[-1] - memory_mb[len(memory_mb) // 2 - 1]
    rate = PEOPLE / seconds
    step = f"{step_ms:.1f} ms (a row in SQLite: {plain_ms():.1f} ms)"
    rows = [
        ("archived", f"{archived} of {PEOPLE}", archived == PEOPLE),
        ("trainings paid for", f"{tasks}", tasks == PEOPLE),
        ("people a second", f"{rate:.1f} (one after the other: {1 / alone_s:.1f})", rate >= 5),
        ("CPU a person, this process", f"{cpu_s / PEOPLE * 1e3:.0f} ms", True),
        ("steps a person", f"{steps / PEOPLE:.1f}", True),
        ("the engine's part of a step", step, step_ms <= 10),
        ("memory, last half", f"{growth:+.0f} MB of {memory_mb[-1]:.0f}", growth <= 20),
    ]  # fmt: skip
    print(f"{PEOPLE} people, {AT_ONCE} in flight, {seconds:.0f} s")
    for what, value, ok in rows:
        print(f"{what:<30}{value:<36}{'ok' if ok else 'MISSED'}")


def ready(number: int, settings: object) -> str:
    """Make a run whose zip is ready: ten tiny pictures that are like no other run's."""
    from PIL import Image

    from pipelines import steps
    from pipelines.runs import new_run

    run = new_run()
    run.make()
    with zipfile.ZipFile(run.path / "dataset.zip", "w") as bundle:
        for picture in range(10):
            data = io.BytesIO()
            colour = (number % 256, number // 256, picture)
            Image.new("RGB", (64, 64), colour).save(data, "JPEG")
            bundle.writestr(f"{picture:03}.jpg", data.getvalue())
    run.update(
        name=f"person {number}",
        status="prepared",
        rehearsal=True,
        reused=False,
        opened=steps.opened(settings),  # type: ignore[arg-type]
        dataset={"images": 10},
    )
    return run.id


def counted(home: Path, runs: list[str]) -> tuple[int, int]:
    """Return how many trainings were accepted for these runs, and how many steps were journaled."""
    with sqlite3.connect(home / "lora_prep.sqlite") as database:
        rows = database.execute(
            "SELECT run_id FROM lora_prep_submissions WHERE prediction_id IS NOT NULL"
        )
        tasks = sum(1 for (run,) in rows if run in set(runs))
        (steps,) = database.execute(
            "SELECT count(*) FROM operation_outputs o JOIN workflow_status w "
            "ON o.workflow_uuid = w.workflow_uuid WHERE w.name = 'train_run'"
        ).fetchone()
    return tasks, steps


def plain_ms() -> float:
    """Return what one committed row costs in a SQLite file of its own: the limit of any journal."""
    with tempfile.TemporaryDirectory() as place:
        database = sqlite3.connect(Path(place) / "x", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE rows (number, value)")
        began = time.perf_counter()
        for number in range(STEPS):
            database.execute("INSERT INTO rows VALUES (?, ?)", (number, '{"value": 1}'))
        seconds = time.perf_counter() - began
        database.close()
    return seconds / STEPS * 1e3


def resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
