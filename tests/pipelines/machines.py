"""A bucket, a paid trainer and a database, all real, and the machines that use them."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from lora_prep.embedded import EmbeddedOptions, start_services, stop_services
from lora_prep.settings import Settings, load_settings
from lora_prep.stores import S3Store, StoreAccess
from pipelines import steps
from pipelines.engine import Client, Flow
from pipelines.places import is_shared
from pipelines.runs import Run
from pipelines.sharing import share
from pipelines.train import Task
from tests.pipelines.actors import Part, start
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, Api, jpeg
from tests.trainers.databases import new_database

__all__ = ["KILLED", "Machine", "World", "a_world", "until"]

END_S = 60.0
KILLED = -9
NOW = {
    "poll_min_s": 0.02, "poll_max_s": 0.05, "fresh_s": 0.3, "margin_s": 0.3, "look_every_s": 0.02,
    "submit_timeout_s": 1, "too_many_s": 0.05, "too_many_total_s": 10, "requests_per_minute": 60000,
}  # fmt: skip
ENGINE = {"heartbeat_s": 0.2, "reaper_s": 1.5, "look_s": 0.05, "drain_s": 10}
numbers = itertools.count(1)


@contextmanager
def a_world(kind: str, folder: Path) -> Iterator[World]:
    """Start everything on an empty database of a kind; whatever still runs is ended with it."""
    with _a_bucket(folder / "store") as store, running_service(folder / "service") as service:
        world = World(store, service.api, new_database(kind, folder), folder)
        yield world
        for machine in world.machines:
            machine.stop()


@contextmanager
def _a_bucket(home: Path) -> Iterator[S3Store]:
    services = start_services(home, EmbeddedOptions(rehearsal_rank=1, rehearsal_blocks=1))
    try:
        yield S3Store(
            StoreAccess(
                bucket=services.store_bucket,
                endpoint_url=services.store_endpoint_url,
                region=services.store_region,
                access_key=services.store_access_key,
                secret_key=services.store_secret_key,
            )
        )
    finally:
        stop_services(home)


@dataclass
class World:
    """What all machines of a test share: bucket, trainer, database and a disk with photos."""

    store: S3Store
    api: Api
    where: Path | str
    folder: Path
    machines: list[Machine] = field(default_factory=list)

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.where}" if isinstance(self.where, Path) else self.where
        access = self.store.access
        self.sections: dict[str, dict[str, Any]] = {
            "store": {
                "url": f"s3://{access.bucket}",
                "endpoint_url": access.endpoint_url,
                "region": access.region,
            },
            "trainer": {"base_url": self.api.base_url, "api_key": KEY, **NOW},
            "archive": {"retry_min_s": 0.02, "retry_max_s": 0.05},
            "engine": {"database_url": url, **ENGINE},
        }
        self.client = Client(self.settings)

    @property
    def settings(self) -> Settings:
        """The settings of every machine."""
        return load_settings(self.sections)

    def machine(self, name: str = "one", *, host: str = "", at_once: int = 3) -> Machine:
        """Return a machine with a home of its own.

        host: what it takes itself for, "" for the one it is; at_once: how many runs in its hands.
        """
        machine = Machine(self, self.folder / name, host, at_once)
        machine.home.mkdir(parents=True, exist_ok=True)
        self.machines.append(machine)
        return machine

    def photos(self) -> Path:
        """Return a folder of photos that no other run has."""
        number = next(numbers)
        folder = self.folder / "people" / f"person{number}"
        folder.mkdir(parents=True)
        for shade in range(10):
            (folder / f"{shade:02}.jpg").write_bytes(jpeg(shade + number, side=24 + number))
        return folder

    @property
    def accepted(self) -> int:
        """How many tasks the trainer has accepted so far."""
        return int(self.api.stats()["accepted"])

    def flow(self, run: Run) -> Flow:
        """Return the newest workflow of a run."""
        return self.client.flows(run.id)[0]

    def unfinished(self, *runs: Run) -> list[str]:
        """Return the runs of which the database has an unfinished workflow, of whatever number."""
        found = [flow for run in runs for flow in self.client._all_of(run.id)]
        return [flow.run for flow in found if not flow.finished]

    def enqueue(self, *runs: Run) -> None:
        """Leave runs to the workers, as a batch does."""
        for run in runs:
            if is_shared(self.settings):
                share(run, self.store)
            self.client.enqueue(Task(run.id, yes=True, patient=True))

    def until_finished(self, *runs: Run) -> None:
        """Wait until no run has an unfinished workflow."""
        __tracebackhide__ = True
        until(
            lambda: not self.unfinished(*runs),
            lambda: "\n".join(one.said() for one in self.machines),
        )

    def check(self, *runs: Run, accepted: int) -> None:
        """Assert that each run is archived, with one task for each, and that nothing is left."""
        __tracebackhide__ = True
        assert (self.accepted, self.unfinished(*runs)) == (accepted, []), self.told(*runs)
        for run in runs:
            loras = [key for key in self.keys("loras/") if f"/{run.id}/" in f"/{key}"]
            assert len([key for key in loras if key.endswith(".safetensors")]) == 1, self.told(run)
            assert len(loras) == 3, loras  # with its card and its sidecar
            assert [key for key in self.keys("datasets/") if run.id in key] == []
            (lora,) = [key for key in loras if key.endswith(".safetensors")]
            homes = [one.record(run) for one in self.machines if one.record(run)]
            ended = [record for record in homes if record.get("status") == "archived"]
            assert ended, homes
            for record in ended:
                assert [one["url"] for one in record["loras"]] == [
                    f"s3://{self.store.access.bucket}/{lora}"
                ]
                sha256, size_bytes = self.store.sha256(lora)
                assert [one["sha256"] for one in record["loras"]] == [sha256]
                assert size_bytes > 0

    def told(self, *runs: Run) -> str:
        """Return what is known of runs, for whoever has to find out what went wrong."""
        lines = [f"accepted {self.accepted}"]
        for run in runs:
            lines += [str(flow) for flow in self.client._all_of(run.id)]
            for one in self.machines:
                if record := one.record(run):
                    where, error = one.home.name, record.get("error")
                    lines.append(f"{where}: {record.get('status')} {error} {one.stages(run)}")
        return "\n".join(lines)

    def keys(self, prefix: str) -> list[str]:
        """Return what lies in the bucket below a prefix."""
        pages = self.store.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.store.access.bucket, Prefix=prefix)
        return [entry["Key"] for page in found for entry in page.get("Contents", [])]


@dataclass
class Machine:
    """One home, and the processes that run in it."""

    world: World
    home: Path
    host: str
    at_once: int
    processes: list[BaseProcess] = field(default_factory=list)
    lives: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def begin(self, folder: Path | None = None) -> Run:
        """Make a run of photos, as the command does before its first stage."""
        folder = folder or self.world.photos()
        number = next(numbers)
        run = Run(
            f"20260101t000000-{number:06x}", self.home / "runs" / f"20260101t000000-{number:06x}"
        )
        run.path.parent.mkdir(exist_ok=True)
        opened = {**steps.opened(self.world.settings, folder), "name": None}
        run.update(status="created", rehearsal=False, reused=False, opened=opened)
        return run

    def record(self, run: Run) -> dict[str, Any]:
        """Return what this machine knows of a run."""
        return Run(run.id, self.home / "runs" / run.id).record()

    def start(self, *words: str, **how: Any) -> BaseProcess:
        """Start a command, or a worker without words; how: as in `Part`."""
        name = f"{self.home.name}-{next(self.lives)}"
        part = Part(words, self._environment(), self.home, name, host=self.host, **how)
        process = start(part)
        self.processes.append(process)
        return process

    def run(self, *words: str, **how: Any) -> int:
        """Start it and wait for its end; return its status."""
        process = self.start(*words, **how)
        process.join(END_S)
        assert process.exitcode is not None, f"it has not ended: {self.said()}"
        return process.exitcode

    def resume(self, run: Run, **how: Any) -> int:
        """Run `lora-prep resume` to its end; return its status."""
        return self.run("resume", run.id, "--yes", "--json", **how)

    def said(self) -> str:
        """Return what its processes printed last."""
        newest = sorted(self.home.glob("*.out"), key=lambda path: path.stat().st_mtime)[-1]
        return newest.read_text()[-3000:] + newest.with_suffix(".err").read_text()[-3000:]

    def answer(self) -> dict[str, Any]:
        """Return what its last command answered."""
        newest = sorted(self.home.glob("*.out"), key=lambda path: path.stat().st_mtime)[-1]
        return dict(json.loads(newest.read_text()))

    def stages(self, run: Run) -> list[tuple[str, str]]:
        """Return the stages of a run that began here: the process and the stage."""
        log = self.home / "stages.log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [(process, stage) for process, of, stage in lines if of == run.id]

    def serve(self, *runs: Run, **how: Any) -> None:
        """Let a worker run until these runs are finished, then stop it."""
        worker = self.start(**how)
        self.world.until_finished(*runs)
        self.retire(worker)

    def retire(self, worker: BaseProcess) -> None:
        """Stop a worker as a service manager does."""
        worker.terminate()
        worker.join(END_S)
        assert worker.exitcode == 0, self.said()

    def stop(self) -> None:
        """End whatever still runs here."""
        for process in self.processes:
            if process.exitcode is None:
                process.kill()
                process.join()

    def _environment(self) -> dict[str, str]:
        ours = ("LORA_PREP_", "WAVESPEED_", "AWS_")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        access = self.world.store.access
        settings = {
            f"LORA_PREP_{section.upper()}__{name.upper()}": str(value)
            for section, values in self.world.sections.items()
            for name, value in values.items()
        }
        return {
            **plain,
            **settings,
            "LORA_PREP_HOME": str(self.home),
            "LORA_PREP_TRAINER__IN_FLIGHT": str(self.at_once),
            "AWS_ACCESS_KEY_ID": access.access_key or "",
            "AWS_SECRET_ACCESS_KEY": access.secret_key or "",
        }


def until(condition: Callable[[], bool], what: Callable[[], str] = str) -> None:
    """Wait until something is seen from outside."""
    __tracebackhide__ = True
    deadline = time.monotonic() + END_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)
