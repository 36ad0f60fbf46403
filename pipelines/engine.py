"""The durable engine: DBOS, on the same database as the ledger. The only module that imports it.

It remembers the answer of every stage, so that a run that was killed goes on after its last one,
and it sleeps between two polls. What must never happen twice does not rest on it: see `train`.

A process that launches it is an executor with an id of its own, never used again. So a launch
recovers nothing by itself, and takes up only what it is asked for:

    run, resume    one run, called in this very thread: it asks, and it can be interrupted
    batch run      its own queue, which no other process listens to
    worker         the queue of all machines, and that of its own machine

A run's workflows are called `<run>.<number>.<random>`. One whose executor has died goes on from its
journal where a queue can take it up, else a new one sees for itself what is done: so any version of
this code finishes what any other began.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions, SetWorkflowID
from dbos import Serializer as DbosSerializer
from dbos._error import DBOSAwaitedWorkflowCancelledError, DBOSWorkflowCancelledError

from lora_prep.errors import LoraPrepError, TemporaryError, Unexpected, error_of
from lora_prep.redaction import redacted
from lora_prep.settings import Settings
from pipelines.executors import Executors
from pipelines.places import database_of, machine_of
from pipelines.runs import cancelled, run_at
from pipelines.train import Answer, Place, Task, train_run, untold

__all__ = [
    "OWN",
    "QUEUE",
    "Client",
    "Engine",
    "Flow",
    "cancelled",
    "launched",
    "run_of",
    "without_lora",
]

FORMAT: Final = "1"
"""Of what the journal holds. By hand: a hash of the code would strand runs at every edit."""
NAME, QUEUE, WORKFLOW = "lora_prep", "train", "train_run"
OWN: Final = "own"  # stands for the queue that only this process listens to
TOGETHER: Final = 50  # workflows queued in one transaction, which keeps others waiting that long
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
EVENT = "progress"


class _Json(DbosSerializer):
    """Only what JSON holds goes into the journal: no object, no bytes, nothing to unpickle."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_exception)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805  as DBOS names it
        return json.loads(serialized_data)

    def name(self) -> str:
        return "lora_prep_json"


class _Leaving(BaseException):
    """This process is about to end: the workflow stays unfinished, for the next one to go on."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow of a run, as the database has it. number: the how manieth of its run."""

    id: str
    run: str
    number: int
    status: str
    executor_id: str
    queue: str
    version: str
    task: Task
    answer: Answer | None

    @property
    def finished(self) -> bool:
        """Whether it has an answer, or never will."""
        return self.status not in UNFINISHED

    @property
    def is_older(self) -> bool:
        """Whether an earlier version of this code wrote it, whose queued ones nobody takes."""
        return self.version.isdigit() and int(self.version) < int(FORMAT)

    def is_waiting_in(self, queue: str) -> bool:
        """Whether it waits in a queue for its turn."""
        return self.queue == queue != "" and self.status != "PENDING"


class Client:
    """Looks at the database and changes it, and executes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Open the database; its tables are made where they are missing.

        Raises:
            ConfigurationError, MissingDependency: it cannot be used.
            TemporaryError: it does not answer.
        """
        where = database_of(settings)
        self.executors = Executors(where, silent_s=settings.engine.reaper_s)
        with _told():
            DBOS.migrate(_url(where))
            self._engine = sa.create_engine(_url(where))
            self._dbos = DBOSClient(
                system_database_url=_url(where), serializer=_Json(), application_name=NAME
            )

    def close(self) -> None:
        """Close the connections."""
        self._dbos.destroy()
        self._engine.dispose()

    def flows(self, *runs: str, unfinished: bool = False) -> list[Flow]:
        """Return the newest workflow of each run, of all without `runs`, in order of creation."""
        with _told():
            found = self._dbos.list_workflows(
                name=WORKFLOW,
                workflow_id_prefix=[f"{run}." for run in runs] or None,
                status=UNFINISHED if unfinished else None,
            )
        newest = {flow.run: flow for flow in sorted(map(_flow, found), key=lambda one: one.number)}
        created = {run: place for place, run in enumerate(run_of(one.workflow_id) for one in found)}
        return sorted(newest.values(), key=lambda flow: created[flow.run])

    def ended(self, ids: Iterable[str]) -> list[Flow]:
        """Return which of these workflows have ended."""
        with _told():
            found = self._dbos.list_workflows(workflow_ids=list(ids), status=ENDED)
        return [_flow(one) for one in found]

    def is_held(self, flow: Flow, living: Iterable[str] | None = None) -> bool:
        """Whether a living process has a workflow in hand, or will take it from its own queue."""
        living = self.executors.living() if living is None else living
        if flow.finished:
            return False
        return (flow.executor_id if flow.status == "PENDING" else flow.queue) in living

    def enqueue(self, task: Task, queue: str = QUEUE) -> str:
        """Put a run into a queue, as a new workflow; what there was of it unfinished is ended."""
        return self._enqueued(self.next_id(task.run), task, queue)

    def enqueue_all(self, tasks: Mapping[str, Task], queue: str = QUEUE) -> dict[str, str]:
        """Put many runs into a queue, each one once; return their workflows by the same names.

        The database is asked once about all of them: a question for each would take longer than
        what most of them have to do.
        """
        with _told():
            found = self._dbos.list_workflows(name=WORKFLOW, load_input=False, load_output=False)
        numbers: dict[str, int] = {}
        begun = set()
        for one in found:
            run, number = run_of(one.workflow_id), _number_of(one.workflow_id)
            numbers[run] = max(number, numbers.get(run, 0))
            if one.status in UNFINISHED:
                begun.add(run)
        ids = {
            name: _new_id(task.run, numbers.get(task.run, 0) + 1) for name, task in tasks.items()
        }
        fresh = [name for name, task in tasks.items() if task.run not in begun]
        for some in (fresh[at : at + TOGETHER] for at in range(0, len(fresh), TOGETHER)):
            with _told(), self._engine.begin() as transaction:
                for name in some:
                    run_at(tasks[name].run).take_back()
                    self._dbos.enqueue_in_transaction(
                        transaction, _options(ids[name], queue), asdict(tasks[name])
                    )
        again = {name: task for name, task in tasks.items() if task.run in begun}
        return ids | {name: self.enqueue_once(task, queue) for name, task in again.items()}

    def _enqueued(self, workflow_id: str, task: Task, queue: str) -> str:
        with _told():
            self._dbos.enqueue(_options(workflow_id, queue), asdict(task))
        return workflow_id

    def enqueue_once(self, task: Task, queue: str = QUEUE) -> str:
        """Put a run into a queue unless it is in one, or in somebody's hands, already.

        What was begun to do something else (without `yes`, say) is ended and begun anew.
        """
        flows = self.flows(task.run, unfinished=True)
        if not any(flow.task == task or self.is_held(flow) for flow in flows):
            return self.enqueue(task, queue)
        self.take_up(flows, queue)
        return self.flows(task.run)[0].id

    def take_up(self, flows: Iterable[Flow], queue: str = QUEUE) -> list[str]:
        """Put what nobody has in hand into a queue; return the runs.

        Of this version it goes on from its journal, of another one as a new workflow.
        """
        living = self.executors.living()
        taken = []
        for flow in flows:
            if flow.finished or (flow.is_waiting_in(queue) and not flow.is_older):
                continue
            if self.is_held(flow, living) or flow not in self.flows(flow.run):
                continue  # somebody was faster, or cancelled it
            with _told():
                if flow.version == FORMAT:
                    self._dbos.resume_workflows([flow.id], queue_name=queue)
                else:
                    self.enqueue(flow.task, queue)
            taken.append(flow.run)
        return taken

    def cancel(self, run: str) -> bool:
        """Cancel a run's workflow; it ends before its next stage. False: there is none."""
        flows = self.flows(run, unfinished=True)
        with _told():
            for flow in flows:
                self._dbos.cancel_workflow(flow.id)
        return bool(flows)

    def register(self, queue: str, at_once: int, look_s: float) -> None:
        """Make a queue, of which at most so many workflows run at once on all machines."""
        with _told():
            self._dbos.register_queue(
                queue, global_concurrency=at_once, polling_interval_sec=look_s
            )

    def forget_queue(self, queue: str) -> None:
        """Remove a queue that nobody will listen to any more."""
        with _told():
            self._dbos.delete_queue(queue)

    def forget(self, runs: Iterable[str]) -> None:
        """Delete what the database has of finished runs; the ledger keeps what was paid for."""
        ids = [flow.id for run in runs for flow in self._all_of(run) if flow.finished]
        with _told():
            if ids:
                self._dbos.delete_workflows(ids)

    def progress(self, flow: Flow) -> Mapping[str, Any]:
        """Return what a workflow last said of itself: its stage."""
        with _told():
            said = self._dbos.get_event(flow.id, EVENT, timeout_seconds=0)
        return said if isinstance(said, dict) else {}

    def next_id(self, run: str) -> str:
        """Return the id of a new workflow of a run; what nobody has in hand of it is ended.

        Who gave it up before is overruled. Its end is random: two machines that begin the same run
        at once have a workflow each, and the ledger between them.
        """
        run_at(run).take_back()
        living, number = self.executors.living(), 0
        for flow in self._all_of(run):
            number = max(number, flow.number)
            if not flow.finished and not self.is_held(flow, living):
                with _told():
                    self._dbos.cancel_workflow(flow.id)
        return _new_id(run, number + 1)

    def _all_of(self, run: str) -> list[Flow]:
        with _told():
            return [_flow(one) for one in self._dbos.list_workflows(workflow_id_prefix=f"{run}.")]


@dataclass(slots=True)
class Engine:
    """The engine of this process, launched."""

    client: Client
    place: Place
    executor_id: str
    drain_s: float
    leaving: threading.Event = field(default_factory=threading.Event)
    _busy: int = 0
    _idle: threading.Condition = field(default_factory=threading.Condition)

    def run_here(self, task: Task) -> Answer:
        """Run a workflow in this thread, to its end; an interruption leaves it to be gone on with.

        Raises:
            TemporaryError: another process has the run in hand.
            Declined: it was cancelled.
        """
        with run_at(task.run).alone():
            flows = self.client.flows(task.run, unfinished=True)
            if any(self.client.is_held(flow) for flow in flows):
                raise busy(task.run)
            workflow_id = self.client.next_id(task.run)
            try:
                with SetWorkflowID(workflow_id):
                    answer: Answer = _train_run(asdict(task))
            except (DBOSAwaitedWorkflowCancelledError, DBOSWorkflowCancelledError) as error:
                if run_at(task.run).record().get("status") == "archived":
                    return {"status": "archived"}  # that came too late
                if self.client.flows(task.run)[0].id != workflow_id:  # this one was frozen
                    raise busy(task.run) from error
                raise cancelled(task.run) from error
            return answer

    def step(self, name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Run a stage, or return what it answered before a crash."""
        with self._idle:
            if self.leaving.is_set():
                raise _Leaving
            self._busy += 1
        try:
            answer: Answer = DBOS.run_step({"name": name}, function, *arguments)
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()
        return answer

    def sleep(self, seconds: float) -> None:
        """Sleep; after a crash only what is left of it."""
        DBOS.sleep(seconds)
        if self.leaving.is_set():
            raise _Leaving

    def leave(self) -> bool:
        """Begin no stage any more and wait for those that run; False: some still do.

        What is left unfinished goes on elsewhere, or with the next start.
        """
        self.leaving.set()
        self.place.leaving.set()
        until = time.monotonic() + self.drain_s
        with self._idle:
            while self._busy and (left := until - time.monotonic()) > 0:
                self._idle.wait(left)
            return not self._busy


@contextmanager
def launched(
    settings: Settings, place: Place, queues: Mapping[str, int] | None = None
) -> Iterator[Engine]:
    """Launch the engine of this process.

    queues: which ones it listens to, and how many of their workflows run at once on all machines;
    without, those that are called here are the only ones it runs. `OWN` stands for its executor id.

    Raises: as `Client`.
    """
    global _here
    client = Client(settings)
    executor_id = client.executors.enter(machine_of(settings))
    engine = Engine(client, place, executor_id, settings.engine.drain_s)
    names = [executor_id if name == OWN else name for name in queues or {}]
    stop = threading.Event()
    try:
        for name, at_once in zip(names, (queues or {}).values(), strict=True):
            client.register(name, at_once, min(1.0, settings.engine.look_s))
        with _told():
            where = _url(database_of(settings))
            DBOS(config=_config(where, executor_id, settings))
            DBOS.listen_queues(names)
            _here = engine
            DBOS.launch()
        beating = threading.Thread(
            target=_beat, args=(client, executor_id, settings.engine.heartbeat_s, stop), daemon=True
        )
        beating.start()
        yield engine
    finally:
        stop.set()
        _here = None
        DBOS.destroy()
        if executor_id in names:
            client.forget_queue(executor_id)
        client.executors.leave(executor_id)
        client.close()
        place.close()


_here: Engine | None = None  # DBOS has one instance a process


@DBOS.workflow(name=WORKFLOW)
def _train_run(task: dict[str, Any]) -> Answer:
    engine = _here
    assert engine is not None, "workflows run in a process that has launched"  # noqa: S101

    def step(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        DBOS.set_event(EVENT, {"stage": name})
        return engine.step(name, function, *arguments)

    return train_run(Task(**task), engine.place, step, engine.sleep)


def without_lora(flow: Flow) -> LoraPrepError:
    """Return why a workflow has ended, where the run's record does not say it."""
    if flow.status == "CANCELLED":
        return cancelled(flow.run)
    code = (flow.answer or {}).get("error", {}).get("code", Unexpected.code)
    return error_of(untold(run_at(flow.run), code))


def busy(run: str) -> TemporaryError:
    """Return the error of a run that another process has in hand."""
    return TemporaryError(
        f"Another process works on the run {run}.",
        why="A run is worked on by one at a time.",
        fix=f"Watch it: lora-prep status {run} --watch",
    )


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _config(where: str, executor_id: str, settings: Settings) -> DBOSConfig:
    logging.getLogger("dbos").setLevel(logging.ERROR)  # it speaks of ids nobody knows
    return DBOSConfig(
        name=NAME,
        system_database_url=where,
        application_version=FORMAT,
        executor_id=executor_id,
        serializer=_Json(),
        log_level="ERROR",
        run_migrations=False,  # the client did
        notification_listener_polling_interval_sec=min(1.0, settings.engine.look_s),
        enable_otlp=False,
    )


def _beat(client: Client, executor_id: str, every_s: float, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        try:
            client.executors.beat(executor_id)
        except TemporaryError as error:  # the next one tells
            logging.getLogger(__name__).warning("%s %s", error.what, error.why)


def _flow(found: Any) -> Flow:
    task: dict[str, Any] = found.input["args"][0]
    return Flow(
        id=found.workflow_id,
        run=run_of(found.workflow_id),
        number=_number_of(found.workflow_id),
        status=found.status,
        executor_id=found.executor_id or "",
        queue=found.queue_name or "",
        version=found.app_version or "",
        task=Task(**{name: task[name] for name in Task.__dataclass_fields__ if name in task}),
        answer=found.output if isinstance(found.output, dict) else None,
    )


def _options(workflow_id: str, queue: str) -> EnqueueOptions:
    return {
        "workflow_name": WORKFLOW,
        "queue_name": queue,
        "workflow_id": workflow_id,
        "app_version": FORMAT,
    }


def _new_id(run: str, number: int) -> str:
    return f"{run}.{number}.{secrets.token_hex(2)}"


def _number_of(workflow_id: str) -> int:
    return int(workflow_id.split(".")[1])


def run_of(workflow_id: str) -> str:
    """Return the run whose workflow it is."""
    return workflow_id.partition(".")[0]


def _exception(value: object) -> str:
    """Return what the journal keeps of what JSON cannot hold: the kind of an unexpected exception.

    Its words may name a folder or a person, and the database may be shared.
    """
    return type(value).__name__


def _url(where: Path | str) -> str:
    if isinstance(where, Path):
        return f"sqlite:///{where}"
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", where)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the database says into an error that a person can act on."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        words = str(error).partition("\n")[0]
        raise TemporaryError(
            "The database of the runs cannot be used.",
            why=f"{redacted(words)}.",
            fix="See that it is there and can be written; then try again.",
        ) from error
