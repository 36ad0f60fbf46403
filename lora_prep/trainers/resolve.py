"""Let the owner of a run say what became of a lost submission, or take over a foreign training."""

from __future__ import annotations

import time

from lora_prep.errors import ConfigurationError, TemporaryError
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.ledger import Ledger
from lora_prep.trainers.reconcile import (
    Cannot,
    Found,
    Waits,
    check_same_trainer,
    look_for,
    must_be_listed_at,
)
from lora_prep.trainers.submissions import Intent, State, Submission

__all__ = ["adopt_prediction", "resolve_not_submitted", "resolve_with"]


def resolve_with(
    ledger: Ledger, client: TrainerClient, submission: Submission, prediction_id: str
) -> Submission:
    """Give a lost submission the prediction that its owner names.

    Raises:
        ConfigurationError: it is not lost, or the prediction is another's or of another model.
        ResultExpired, TemporaryError, CredentialsError: the trainer does not show the prediction.
    """
    if submission.prediction_id == prediction_id:
        return submission
    check_same_trainer(submission, client)
    _check_lost(ledger, submission)
    told, asked = client.result(prediction_id).model, submission.intent.model
    if told and told.rpartition("/")[2] != asked.rpartition("/")[2]:
        raise ConfigurationError(
            f"The prediction {prediction_id} is not the lost training.",
            why=f"It is of {told}, the lost one of {asked}.",
            fix="Choose another one.",
        )
    return _now(ledger, submission, changed=ledger.adopt(submission, prediction_id))


def resolve_not_submitted(
    ledger: Ledger, client: TrainerClient, submission: Submission, waits: Waits
) -> Submission:
    """Free a lost submission whose owner knows that it was never accepted.

    The list is looked at once more: what it shows is not overruled. What was sent just now nobody
    can know of yet: such an answer is to the question before, which somebody else has answered too.

    Raises:
        ConfigurationError: it is not lost, or the trainer has it.
        TemporaryError: it was sent too short a time ago.
    """
    if submission.state is State.RELEASED:
        return submission
    check_same_trainer(submission, client)
    _check_lost(ledger, submission)
    match look_for(ledger, client, submission):
        case Found(prediction_id):
            raise ConfigurationError(
                f"The training was submitted: it is {prediction_id}.",
                why="The provider's list shows it with this run's data set.",
                fix=f"lora-prep resolve {submission.intent.run_id} --prediction {prediction_id}",
            )
    if (early_s := must_be_listed_at(submission, client, waits) - time.time()) > 0:
        raise TemporaryError(
            f"The submission of {submission.intent.run_id} was sent just now.",
            why=f"The trainer may accept it within the next {early_s:.0f} s.",
            fix="Look at the trainings of your account after that, and say it again.",
        )
    return _now(ledger, submission, changed=ledger.release(submission, "its owner says so"))


def adopt_prediction(
    ledger: Ledger, client: TrainerClient, prediction_id: str, *, run_id: str
) -> Submission:
    """Enter a training that was submitted elsewhere; one that the ledger has is returned.

    A submission whose answer was lost gets it, where the list shows that it is that one: else its
    run would look for it in vain, and pay for another.

    Raises:
        ResultExpired, TemporaryError, CredentialsError: the trainer does not show it, or an answer
            is lost and the list cannot be read.
        ConfigurationError: the run has a training already.
    """
    if known := ledger.of_prediction(client.origin, prediction_id):
        return known
    prediction = client.result(prediction_id)
    if lost := _lost_one(ledger, client, prediction.id):
        return lost
    intent = Intent(
        run_id=run_id,
        attempt=1,
        origin=client.origin,
        model=prediction.model,
        parameters={},
        dataset_sha256="",
        bucket="",
        object_key="",
        account=client.account,
    )
    return ledger.enter(intent, prediction.id)


def _lost_one(ledger: Ledger, client: TrainerClient, prediction_id: str) -> Submission | None:
    """Return the submission whose lost answer was this prediction, with its id from here on."""
    for row in ledger.lost(client.origin):
        match look_for(ledger, client, row):
            case Found(found) if found == prediction_id and ledger.adopt(row, found):
                return ledger.get(row.key)
            case Cannot(error):
                raise error
    return None


def _check_lost(ledger: Ledger, submission: Submission) -> None:
    if submission.state is State.UNKNOWN:
        return
    if submission.state is not State.POSTING:
        raise ConfigurationError(
            f"The submission of {submission.intent.run_id} is not lost.",
            why=f"It is {submission.state.value}.",
            fix="There is nothing to resolve.",
        )
    if not ledger.is_given_up(submission):
        raise ConfigurationError(
            f"The submission of {submission.intent.run_id} is being sent.",
            why=f"Process {submission.claimer.pid} lives and works on it.",
            fix="Wait for it, or end it first.",
        )


def _now(ledger: Ledger, submission: Submission, *, changed: bool) -> Submission:
    row = ledger.get(submission.key)
    if changed and row is not None:
        return row
    raise ConfigurationError(
        f"The submission of {submission.intent.run_id} has changed meanwhile.",
        why=f"It is {row.state.value if row else 'gone'} now.",
        fix=f"lora-prep resume {submission.intent.run_id}",
    )
