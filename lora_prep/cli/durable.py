"""One run in the engine, watched by the person who asked for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.cli.approval import approval
from lora_prep.cli.flags import PaymentFlags
from lora_prep.cli.session import Session
from lora_prep.errors import error_of
from lora_prep.events import Event
from lora_prep.settings import Settings
from pipelines.backends import choose, connect_trainer
from pipelines.going_on import would_submit
from pipelines.looking import Looker
from pipelines.places import worker_is_here
from pipelines.pricing import Approve, ask_price
from pipelines.runs import Run, cancelled
from pipelines.telling import interruption_of

if TYPE_CHECKING:
    from pipelines.engine import Flow
    from pipelines.train import Task

__all__ = ["run_durably"]

LOOK_S = 0.3  # between two looks at what the worker does


def run_durably(run: Run, settings: Settings, session: Session, payment: PaymentFlags) -> None:
    """Take a run to its end and print what it gave: here, or by the worker of this home.

    Raises:
        LoraPrepError: what ended it; the run can be resumed where that says so.
    """
    from pipelines.engine import without_lora
    from pipelines.train import Task

    session.result = lambda: {"schema": 1, **run.record()}
    session.interruption = lambda: interruption_of(run)
    approve = approval(session, yes=payment.yes)
    task = Task(run.id, again=payment.again)
    if worker_is_here():
        session.say("The worker does it; Ctrl-C stops the watching only.")
        yes = payment.yes or _asked_first(run, settings, approve)
        ended = _by_the_worker(run, Task(run.id, payment.again, yes=yes), settings, session)
    else:
        ended = None
    if ended is None:
        _here(run, task, settings, session, approve)
    record = run.record()
    if error := record.get("error"):
        raise error_of(error)
    if record.get("status") != "archived":
        raise without_lora(ended) if ended else cancelled(run.id)
    loras = [("lora", lora["url"]) for lora in record["loras"]]
    session.facts([*loras, ("report", run.report)])


def _here(run: Run, task: Task, settings: Settings, session: Session, approve: Approve) -> None:
    from pipelines.engine import launched
    from pipelines.train import Place

    def on_event(run_id: str, event: Event) -> None:  # noqa: ARG001  there is one run
        session.on_event(event)

    place = Place(approve=approve, on_event=on_event)
    with launched(settings, place) as engine:
        engine.run_here(task)
    if run.id in place.failures and run.record().get("status") != "archived":
        raise place.failures[run.id]


def _asked_first(run: Run, settings: Settings, approve: Approve) -> bool:
    """Ask before the worker gets it, which asks nobody; False: nothing is to be paid, nor may be.

    Raises: as `approve`.
    """
    with closing(Looker(settings)) as looker:
        if choose(settings).rehearsal or not would_submit(looker.row(run.id)):
            return False
    with connect_trainer(settings) as trainer:
        quote = ask_price(trainer, settings)
    if quote.price_usd != 0:
        approve(quote)
    return True


def _by_the_worker(run: Run, task: Task, settings: Settings, session: Session) -> Flow | None:
    """Give a run to the worker and show what it says; None: the worker has stopped meanwhile."""
    from pipelines.engine import Client
    from pipelines.together import enqueue
    from pipelines.train import Place

    client, said, place = Client(settings), _Tail(run.path / "events.jsonl"), Place()
    try:
        workflow_id = enqueue({run.id: task}, client, place)[run.id]
        session.interruption = lambda: (
            "You stopped the watching, not the worker: it goes on.",
            f"See how far it is: lora-prep status {run.id} --watch",
        )
        while True:
            ended = client.ended([workflow_id])
            for event in said.new():
                session.on_event(event)
            if ended:
                return ended[0]
            if not worker_is_here():
                session.say("The worker has stopped; going on here.")
                session.interruption = lambda: interruption_of(run)
                return None
            time.sleep(LOOK_S)
    finally:
        place.close()
        client.close()


class _Tail:
    """What is added to a run's events."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def new(self) -> Iterator[Event]:
        """Yield what was added since the last time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                lines = file.read()
        except OSError:
            return
        whole = lines[: lines.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            fields = json.loads(line)
            yield Event(**{name: fields[name] for name in Event.__dataclass_fields__})
