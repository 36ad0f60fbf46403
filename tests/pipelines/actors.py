"""The processes of the kill tests: a command or a worker, which ends itself at a given point.

They are forked from one warm process that has imported all they need, as in `tests.faults.actors`:
what starts in a moment can be killed a hundred times. What they run is the command line's own
`main` or the worker's own `serve`; only the photo work is replaced by a zip of what is there.
"""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import boto3.s3.transfer  # noqa: F401
import httpx  # noqa: F401

import lora_prep.cli.chain
import lora_prep.cli.resuming
import lora_prep.trainers.claimer
import lora_prep.trainers.database
import pipelines.engine
import pipelines.train
from lora_prep.bundle.pack import ZIP_EPOCH
from lora_prep.cli.dispatch import dispatch
from lora_prep.settings import load_settings
from pipelines.engine import Engine
from pipelines.runs import Run
from pipelines.train import Place, Task
from pipelines.worker import serve

__all__ = ["PLACES", "Part", "start"]

PLACES = {
    **{
        stage: f"pipelines.train:{stage}"
        for stage in ("prepare", "upload", "submit", "poll", "archive_stage", "clean")
    },
    "preparing": "pipelines.train:Place.prepare",
    "uploading": "lora_prep.stores.s3:S3Store.put_file",
    "claiming": "lora_prep.trainers.ledger:Ledger.claim",
    "posting": "lora_prep.trainers.client:TrainerClient.submit",
    "keeping the id": "lora_prep.trainers.ledger:Ledger.submitted",
    "asking": "lora_prep.trainers.client:TrainerClient.result",
    "downloading": "lora_prep.archive.keep:download",
    "putting": "lora_prep.stores.s3:S3Store.put_new",
    "listing": "lora_prep.archive.keep:put_sidecar",
    "noting": "lora_prep.trainers.ledger:Ledger.archived",
    "deleting": "lora_prep.stores.s3:S3Store.delete",
}
"""What a process can be ended before or after: the stages, and what they do, by their names."""

WARM = "tests.pipelines.actors"


class _Here(threading.local):
    """The run that this thread works on."""

    run = ""


HERE = _Here()


@dataclass(frozen=True)
class Part:
    """What one process does, and how it ends.

    words: of the command line; () for a worker. point: "before PLACE", "after PLACE" or
    "kept STAGE" (its answer is in the journal), "" to go on to the end; of: only while it works on
    this run. end: the signal that it gives itself there. host: what it takes its machine for.
    older: its workflow is that of an earlier version.
    """

    words: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    name: str
    point: str = ""
    of: str = ""
    end: signal.Signals = signal.SIGKILL
    host: str = ""
    older: bool = False

    @property
    def output(self) -> Path:
        """What it printed on stdout."""
        return self.folder / f"{self.name}.out"

    @property
    def log(self) -> Path:
        """The stages that began, a line each: the process, the run and the stage."""
        return self.folder / "stages.log"


def start(part: Part) -> BaseProcess:
    """Start a process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WARM])
    process = context.Process(target=_act, args=(part,), daemon=True)
    process.start()
    return process


# ── in the process ────────────────────────────────────────────────────────────────────────────


def _act(part: Part) -> None:
    _settle(part)
    _write_down_stages(part)
    pipelines.train.Place.prepare = _zipped  # type: ignore[method-assign]
    if part.host:
        lora_prep.trainers.claimer._host = lambda: part.host
    if part.older:
        _grow_older()
    if part.point:
        _arrange(part)
    sys.exit(dispatch(part.words) if part.words else _serve())


def _serve() -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve(load_settings(), {}, Place(), stop, _say)
    return 0


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def _settle(part: Part) -> None:
    os.environ.clear()
    os.environ.update(part.environment)
    os.chdir(part.folder)
    for path, descriptor in ((part.output, 1), (part.output.with_suffix(".err"), 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


def _zipped(place: Place, run: Run) -> None:
    """Prepare photos that need no preparation: the same photos give the same zip."""
    opened = run.record()["opened"]
    photos = sorted(Path(opened["folder"]).glob("*.jpg"))
    part = run.path / "dataset.zip.part"
    with zipfile.ZipFile(part, "w") as archive:
        for photo in photos:
            archive.writestr(zipfile.ZipInfo(photo.name, ZIP_EPOCH), photo.read_bytes())
    sha256 = hashlib.sha256(part.read_bytes()).hexdigest()
    facts = {"images": len(photos), "bytes": part.stat().st_size, "sha256": sha256}
    part.replace(run.path / "dataset.zip")
    run.update(status="prepared", name=Path(opened["folder"]).name, dataset=facts)


def _write_down_stages(part: Part) -> None:
    step = Engine.step

    def told(engine: Engine, name: str, function: Any, *arguments: Any) -> Any:
        run = next(one.run for one in arguments if isinstance(one, Task))

        def stage(*these: Any) -> Any:
            HERE.run = run
            with part.log.open("a") as file:  # one write a line: several processes append
                file.write(f"{part.name} {run} {name}\n")
            return function(*these)

        return step(engine, name, stage, *arguments)

    Engine.step = told  # type: ignore[method-assign]


def _arrange(part: Part) -> None:
    """Put the end where it was asked for."""
    when, _, name = part.point.partition(" ")

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if when == "before" and part.of in ("", HERE.run):
                _end(part.end)
            answer = function(*arguments, **more)
            here = part.of in ("", HERE.run) and (when != "kept" or arguments[1] == name)
            if when != "before" and here:
                _end(part.end)
            return answer

        return call

    place = "pipelines.engine:Engine.step" if when == "kept" else PLACES[name]
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, last = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, last, watched(getattr(owner, last)))


def _end(how: signal.Signals) -> None:
    """End this process on this very line.

    A signal to the process goes to its main thread, and this one runs on until that one is woken:
    on a busy machine it was frozen "before posting" when it had posted.
    """
    signal.pthread_kill(threading.get_ident(), how)


def _grow_older() -> None:
    """Be an earlier version: another format, and other stages in another order."""
    pipelines.engine.FORMAT = "0"  # type: ignore[misc]

    def train_run(task: Task, place: Place, step: Any, sleep: Any) -> Any:
        def look(task: Task, place: Place) -> dict[str, Any]:
            return {"seen": True}

        def all_of_it(task: Task, place: Place) -> dict[str, Any]:
            pipelines.train.prepare(task, place)
            found = pipelines.train.upload(task, place)
            return {"key": found["key"] or pipelines.train.submit(task, place, None)["key"]}

        step("look", look, task, place)
        sleep(0.01)
        key = step("submit", all_of_it, task, place)["key"]
        step("look", look, task, place)
        return step("archive", pipelines.train.archive_stage, task, place, key)

    pipelines.engine.train_run = train_run
