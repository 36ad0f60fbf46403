"""resume, resolve, adopt: going on with a run, and saying what became of a lost submission."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lora_prep.cli.durable import run_durably
from lora_prep.cli.exit_status import DONE, exit_status
from lora_prep.cli.flags import (
    ArchiveFlags,
    PaymentFlags,
    StoreFlags,
    TrainerFlags,
    settings_flags,
)
from lora_prep.cli.session import Session, SessionParameter, shown
from lora_prep.errors import ConfigurationError
from lora_prep.events import Event
from lora_prep.settings import load_settings
from lora_prep.trainers import (
    Submission,
    adopt_prediction,
    resolve_not_submitted,
    resolve_with,
)
from pipelines import steps
from pipelines.backends import Backends
from pipelines.going_on import Left, go_back, left_runs, reopen, resume_all
from pipelines.looking import Looker
from pipelines.runs import Run, new_run, run_by_id
from pipelines.train import Place

__all__ = ["adopt", "resolve", "resume"]

RunId = Annotated[str, Parameter(name="RUN", help="The run's id; `lora-prep runs` lists them.")]


def resume(
    run: Annotated[
        str | None, Parameter(name="RUN", help="The run's id; `lora-prep runs` lists them.")
    ] = None,
    /,
    *,
    all_: Annotated[
        bool,
        Parameter(name="--all", help="Every unfinished run of this machine.", show_default=False),
    ] = False,
    from_: Annotated[
        Literal["prepare", "upload", "submit", "archive"] | None,
        Parameter(name="--from", help="The stage to do anew; what was submitted needs --again."),
    ] = None,
    payment: PaymentFlags = PaymentFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Go on with a run that was interrupted, killed or left, with the trainer and store it had.

    What was submitted is followed and archived. What surely was not is submitted now. Where the
    answer was lost the training is looked for; it is never sent a second time on a guess.

    With --all that is done for every run that nobody has in hand, side by side; what has submitted
    nothing yet is submitted with --yes only. The exit status is the worst.
    """
    if (run is None) is not all_:
        raise ConfigurationError(
            "It takes a RUN or --all.",
            why="Both were given." if all_ else "Neither was given.",
            fix="See which there are: lora-prep status",
        )
    if all_ and (from_ or payment.again):
        raise ConfigurationError(
            "--all goes together with neither --from nor --again.",
            why="Doing a stage anew, or paying again, is for one run at a time.",
            fix="See which there are: lora-prep status",
        )
    sections = settings_flags(payment, archive)
    if run is None:
        _resume_all(sections, session, yes=payment.yes)
        return
    this = _run_of(run)
    settings = reopen(this, sections)
    if from_ is not None:
        again = go_back(this, from_, settings, again=payment.again, on_event=session.on_event)
        if again != this:
            session.say(f"That is a training of its own; its run is {again.id}")
        this = again
    run_durably(this, settings, session, payment)


def resolve(
    run: RunId,
    /,
    *,
    prediction: Annotated[
        str | None, Parameter(help="The training that the lost submission became.")
    ] = None,
    not_submitted: Annotated[
        bool, Parameter(help="It surely was never accepted; it may be sent.", show_default=False)
    ] = False,
    session: SessionParameter,
) -> None:
    """Say what became of a submission whose answer was lost, where the trainer's list does not.

    Look at the trainings of your account first. What the trainer shows to be otherwise is refused.
    """
    if (prediction is None) is not not_submitted:
        raise ConfigurationError(
            "It takes --prediction ID or --not-submitted, one of the two.",
            why="Nobody but you can say what became of it.",
            fix=f"lora-prep resolve {run} --prediction ID",
        )
    this = _run_of(run)
    settings = load_settings(steps.as_opened(this, {}))
    with this.alone(), steps.connect(settings, session.on_event) as backends:
        submission = backends.ledger.of_run(this.id)
        if submission is None:
            raise ConfigurationError(
                f"The run {run} has submitted nothing.",
                why="The ledger of submissions does not hold it.",
                fix=f"lora-prep resume {run}",
            )
        if prediction:
            settled = resolve_with(backends.ledger, backends.trainer, submission, prediction)
            this.update(status="submitted", training={"prediction_id": prediction}, error=None)
        else:
            settled = resolve_not_submitted(
                backends.ledger, backends.trainer, submission, backends.waits
            )
            this.update(error=None)
    session.result = lambda: _settled(this, settled)
    session.answer(f"{settled.state.value}  {settled.prediction_id or ''}".rstrip())
    session.say(f"Go on with: lora-prep resume {this.id}")


def adopt(
    prediction: Annotated[str, Parameter(name="PREDICTION", help="The id that the trainer gave.")],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    session: SessionParameter,
) -> None:
    """Take over a training that was submitted elsewhere: it gets a run, and nothing is paid.

    `resume` then waits for its end and archives its LoRA.
    """
    settings = load_settings(settings_flags(store, trainer))
    with steps.connect(settings, session.on_event) as backends:
        this, submission = _adopted(prediction, backends)
        this.update(
            status="submitted",
            opened=steps.opened(settings),
            training={
                "provider": steps.PROVIDER,
                "base_url": backends.trainer.base_url,
                "model": submission.intent.model,
                "prediction_id": prediction,
            },
        )
    session.result = lambda: _settled(this, submission)
    session.answer(this.id)
    session.say(f"Keep its LoRA: lora-prep resume {this.id}")


def _resume_all(sections: steps.Sections, session: Session, *, yes: bool) -> None:
    settings = load_settings()
    with closing(Looker(settings)) as looker:
        rows = left_runs(looker)
    ended: dict[str, Left] = {}
    names = {row.run: shown(row.name or row.run) for row in rows}
    session.result = lambda: {"schema": 1, "runs": [_left(one) for one in ended.values()]}
    session.interruption = lambda: (
        "Trainings that were submitted go on at the trainer.",
        "Go on with: lora-prep resume --all",
    )
    if not rows:
        session.say("No run is left unfinished here.")
        return

    def on_event(run_id: str, event: Event) -> None:
        if event.kind != "progress":
            session.say(f"{names.get(run_id, run_id)}: {event.stage}: {event.message}")

    def on_end(left: Left) -> None:
        ended[left.run] = left
        word = left.error.what if left.error else "archived"
        session.say(f"{names[left.run]}: {shown(word)} {len(rows) - len(ended)} to go")

    place = Place(on_event=on_event)
    resume_all(rows, sections, settings, place, yes=yes, on_end=on_end)
    for one in ended.values():
        where = one.error.what if one.error else one.loras[0]["url"]
        session.answer(f"{one.run}  {one.status or '-':<10}  {shown(where)}")
    session.status = max(_left(one)["exit"] for one in ended.values())


def _left(one: Left) -> dict[str, Any]:
    return {**one.to_json(), "exit": exit_status(one.error) if one.error else DONE}


def _adopted(prediction_id: str, backends: Backends) -> tuple[Run, Submission]:
    fresh = new_run()
    submission = adopt_prediction(backends.ledger, backends.trainer, prediction_id, run_id=fresh.id)
    owner = submission.intent.run_id
    if owner != fresh.id:
        raise ConfigurationError(
            f"The training {prediction_id} belongs to the run {owner} already.",
            why="Each training belongs to one run.",
            fix=f"lora-prep resume {owner}",
        )
    return fresh, submission


def _settled(run: Run, submission: Submission) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": run.id,
        "state": submission.state.value,
        "prediction_id": submission.prediction_id,
    }


def _run_of(run_id: str) -> Run:
    if this := run_by_id(run_id):
        return this
    raise ConfigurationError(
        f"There is no run {run_id} on this machine.",
        why="Its folder is not in LORA_PREP_HOME/runs.",
        fix="Take the id that the command printed, or its prediction: lora-prep archive PREDICTION",
    )
