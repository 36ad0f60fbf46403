"""One run in the engine, watched by the person who asked for it."""

from __future__ import annotations

from lora_prep.cli.approval import approval
from lora_prep.cli.flags import PaymentFlags
from lora_prep.cli.session import Session
from lora_prep.events import Event
from lora_prep.settings import Settings
from pipelines.runs import Run
from pipelines.telling import interruption_of

__all__ = ["run_durably"]


def run_durably(run: Run, settings: Settings, session: Session, payment: PaymentFlags) -> None:
    """Take a run to its end in this process, and print what it gave.

    Raises:
        LoraPrepError: what ended it; the run can be resumed where that says so.
    """
    from pipelines.engine import launched
    from pipelines.train import Place, Task

    session.result = lambda: {"schema": 1, **run.record()}
    session.interruption = lambda: interruption_of(run)

    def on_event(run_id: str, event: Event) -> None:  # noqa: ARG001  there is one run
        session.on_event(event)

    place = Place(approve=approval(session, yes=payment.yes), on_event=on_event)
    with launched(settings, place) as engine:
        answer = engine.run_here(Task(run.id, again=payment.again))
    if "error" in answer:
        raise place.failures[run.id]
    for lora in run.record()["loras"]:
        session.answer(f"lora    {lora['url']}")
    session.answer(f"report  {run.report}")
