"""resume, resolve, adopt: going on with a run, and saying what became of a lost submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.durable import run_durably
from lora_prep.cli.flags import (
    ArchiveFlags,
    PaymentFlags,
    StoreFlags,
    TrainerFlags,
    settings_flags,
)
from lora_prep.cli.session import SessionParameter
from lora_prep.errors import ConfigurationError
from lora_prep.settings import load_settings
from lora_prep.trainers import (
    Submission,
    adopt_prediction,
    resolve_not_submitted,
    resolve_with,
)
from pipelines import steps
from pipelines.backends import Backends
from pipelines.runs import Run, new_run, run_by_id

__all__ = ["adopt", "resolve", "resume"]

RunId = Annotated[str, Parameter(name="RUN", help="The run's id, as `run` printed it.")]


def resume(
    run: RunId,
    /,
    *,
    payment: PaymentFlags = PaymentFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Go on with a run that was interrupted, killed or left, with the trainer and store it had.

    What was submitted is followed and archived. What surely was not is submitted now. Where the
    answer was lost the training is looked for; it is never sent a second time on a guess.
    """
    this = _run_of(run)
    settings = load_settings(steps.as_opened(this, settings_flags(payment, archive)))
    folder = this.record().get("opened", {}).get("folder")
    this.update(opened=steps.opened(settings, folder and Path(folder)))
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
