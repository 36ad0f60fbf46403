"""Send a paid request at most once, and take part in it when somebody else has sent it.

    outcome = submit_or_follow(ledger, client, intent, make_request, Waits())
    match outcome:
        case Submitted(submission) | InFlight(submission):
            prediction = wait_for_end(client, submission.prediction_id, pace)
        case Archived(submission):
            print(submission.loras)

The ledger decides who may send; nothing here remembers anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lora_prep.errors import (
    ConfigurationError,
    DatasetNotFetched,
    LoraPrepError,
    NeedsAttention,
    SubmissionUnknown,
    TemporaryError,
    TooManyRequests,
    TrainingFailed,
)
from lora_prep.events import Event, Listener, ignore
from lora_prep.model import TrainingRequest
from lora_prep.trainers.client import TrainerClient
from lora_prep.trainers.ledger import Ledger
from lora_prep.trainers.reconcile import (
    Absent,
    Candidates,
    Cannot,
    Changed,
    Found,
    Reconciled,
    Released,
    Waits,
    check_same_trainer,
    reconcile,
)
from lora_prep.trainers.submissions import (
    Archived,
    Claimed,
    Ended,
    Free,
    InFlight,
    Intent,
    Outcome,
    State,
    Submission,
    Taken,
    Unknown,
)

__all__ = ["Submitted", "find_existing", "submit_once", "submit_or_follow"]

MakeRequest = Callable[[], TrainingRequest]
ROUNDS = 10  # lost races and released submissions after which something else must be wrong
KEEP_AFTER_S = (0.0, 0.2, 1.0, 5.0)  # tries to write an id that was paid for


@dataclass(frozen=True, slots=True)
class Submitted:
    """The trainer took it just now: its id may not be listed yet."""

    submission: Submission


def submit_or_follow(
    ledger: Ledger,
    client: TrainerClient,
    intent: Intent,
    make_request: MakeRequest,
    waits: Waits,
    *,
    again: bool = False,
    webhook: str | None = None,
    on_event: Listener = ignore,
) -> Submitted | InFlight | Archived:
    """Submit a training, or find the one that is already on its way or done.

    The result has a prediction id. Its submission may be another run's, which asked for the same.
    A submission whose answer was lost is looked for, adopted when it is found, and sent again only
    after a trainer with a consistent list has surely never had it.

    make_request: presigns the data URL; called right before each POST.

    Raises:
        NeedsAttention: the answer was lost, and only a person can say what became of it.
        SubmissionUnknown: it was lost, and the list of the trainer cannot be read now.
        TrainingFailed: this submission has ended without a LoRA; claim the next attempt.
        TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: surely not accepted.
    """
    for _ in range(ROUNDS):
        outcome = submit_once(
            ledger,
            client,
            intent,
            make_request,
            waits,
            again=again,
            webhook=webhook,
            on_event=on_event,
        )
        if isinstance(outcome, Submitted):
            return outcome
        if followed := _followed(ledger, client, outcome, waits, on_event):
            return followed
    raise _never_settled()


def find_existing(
    ledger: Ledger,
    client: TrainerClient,
    intent: Intent,
    waits: Waits,
    *,
    again: bool = False,
    on_event: Listener = ignore,
) -> Free | InFlight | Archived:
    """Find the same training on its way or done, before anything is uploaded for a new one.

    It claims nothing and sends nothing. `Free` holds for this moment only: `submit_or_follow` asks
    again. What is in flight has a prediction id; a submission whose answer was lost is looked for,
    and adopted or released.

    Raises:
        NeedsAttention: the answer was lost, and only a person can say what became of it.
        SubmissionUnknown: it was lost, and the list of the trainer cannot be read now.
        TrainingFailed: this submission has ended without a LoRA; look for the next attempt.
        TemporaryError: another process sends the same and does not get on, or the ledger fails.
        ConfigurationError: it was sent to another trainer.
    """
    for _ in range(ROUNDS):
        outcome = ledger.look(intent, again=again)
        if isinstance(outcome, Free):
            return outcome
        if followed := _followed(ledger, client, outcome, waits, on_event):
            return followed
    raise _never_settled()


def submit_once(
    ledger: Ledger,
    client: TrainerClient,
    intent: Intent,
    make_request: MakeRequest,
    waits: Waits,
    *,
    again: bool = False,
    webhook: str | None = None,
    on_event: Listener = ignore,
) -> Submitted | InFlight | Archived | Unknown | Ended:
    """Claim a submission and send it once; or say why it is not this caller's to send.

    Raises:
        NeedsAttention: it was accepted, and its id could not be kept (it is among `candidates`).
        TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: surely not accepted.
    """
    for _ in range(ROUNDS):
        outcome: Outcome = ledger.claim(intent, again=again)
        if not isinstance(outcome, Claimed):
            return outcome
        try:
            sent = _send(ledger, client, outcome, make_request, waits, webhook, on_event)
        finally:
            ledger.let_go(outcome)
        if sent is not None:
            return sent
    raise TemporaryError(
        "The training could not be submitted.",
        why="Other processes took its claim again and again.",
        fix="Try again later.",
    )


def _followed(
    ledger: Ledger, client: TrainerClient, taken: Taken, waits: Waits, on_event: Listener
) -> InFlight | Archived | None:
    """Return what can be followed by its id; None: it has changed, ask the ledger again."""
    if isinstance(taken, InFlight | Unknown):
        check_same_trainer(taken.submission, client)
    match taken:
        case InFlight(submission) if submission.prediction_id is None:
            _wait_for_id(ledger, client, submission, waits, on_event)
        case InFlight() | Archived():
            return taken
        case Ended(submission):
            raise _ended(submission)
        case Unknown(submission):
            settled = reconcile(ledger, client, submission, waits, on_event)
            _check_settled(settled, submission, client)
    return None


def _never_settled() -> TemporaryError:
    return TemporaryError(
        "The training could not be submitted.",
        why=f"The trainer lost it {ROUNDS} times before it had it.",
        fix="Try again later.",
    )


def _send(
    ledger: Ledger,
    client: TrainerClient,
    claim: Claimed,
    make_request: MakeRequest,
    waits: Waits,
    webhook: str | None,
    on_event: Listener,
) -> Submitted | Unknown | None:
    """Send what is claimed; None: the claim was lost before anything was sent."""
    until = time.monotonic() + waits.too_many_total_s
    while True:
        request = _made(ledger, claim, make_request)
        try:
            if not ledger.sending(claim):
                return None
            prediction = client.submit(request, webhook=webhook)
        except SubmissionUnknown as error:
            try:
                ledger.unsure(claim, error.why)
                row = ledger.get(claim.submission.key)
            except TemporaryError:  # the row stays as it is: the next claim sees it as unknown
                raise error from None
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise error.__cause__ from None  # the row says it; looking for it can wait
            return Unknown(row or claim.submission)
        except TooManyRequests as error:
            ledger.waiting(claim, error.why)
            pause_s = waits.too_many_s if error.retry_after_s is None else error.retry_after_s
            if time.monotonic() + pause_s > until:
                _release(ledger, claim, error.why)
                raise
            _pause(ledger, claim, pause_s, on_event)
        except LoraPrepError as error:
            _release(ledger, claim, f"{error.what} {error.why}")
            raise
        else:
            _keep(ledger, claim, prediction.id)
            return Submitted(ledger.get(claim.submission.key) or claim.submission)


def _made(ledger: Ledger, claim: Claimed, make_request: MakeRequest) -> TrainingRequest:
    """Make the request; whatever goes wrong here, nothing was sent."""
    try:
        request = make_request()
        if not claim.submission.intent.describes(request):
            raise ConfigurationError(
                "The request is not the one that was claimed.",
                why="Its model, its parameters or its data URL differ.",
                fix="Claim exactly what is sent.",
            )
    except BaseException:
        _release(ledger, claim, "the request could not be made")
        raise
    return request


def _pause(ledger: Ledger, claim: Claimed, pause_s: float, on_event: Listener) -> None:
    try:
        on_event(Event("train", f"the trainer has no room, trying again in {pause_s:.0f} s"))
        time.sleep(pause_s)
    except BaseException:
        _release(ledger, claim, "given up while the trainer had no room")
        raise


def _release(ledger: Ledger, claim: Claimed, reason: str) -> None:
    """Free what was surely not accepted; a ledger that is gone must not hide why."""
    with suppress(TemporaryError):
        ledger.release(claim.submission, reason)


def _keep(ledger: Ledger, claim: Claimed, prediction_id: str) -> None:
    run_id = claim.submission.intent.run_id
    why = "Another process took the submission over meanwhile."
    for pause_s in KEEP_AFTER_S:
        time.sleep(pause_s)
        try:
            if ledger.submitted(claim, prediction_id):
                return
            break
        except TemporaryError as error:
            why = error.why
    raise NeedsAttention(
        f"The training {prediction_id} was accepted, but its id could not be kept.",
        why=why,
        fix=f"lora-prep resolve {run_id} --prediction {prediction_id}; "
        f"then lora-prep resume {run_id}",
        candidates=(prediction_id,),
    )


def _wait_for_id(
    ledger: Ledger,
    client: TrainerClient,
    submission: Submission,
    waits: Waits,
    on_event: Listener,
) -> None:
    """Wait until whoever sends this submission has an answer, or has given it up."""
    until = time.monotonic() + client.submit_timeout_s + waits.margin_s + waits.too_many_total_s
    row: Submission | None = submission
    while row and row.state in {State.POSTING, State.WAITING} and not ledger.is_given_up(row):
        if time.monotonic() > until:
            raise TemporaryError(
                "Another process is submitting the same training, and does not get on.",
                why=f"It is process {row.claimer.pid}, run {row.intent.run_id}.",
                fix="End it, and try again.",
            )
        on_event(Event("train", "another process is submitting the same training"))
        time.sleep(waits.look_every_s)
        row = ledger.get(submission.key)


def _check_settled(settled: Reconciled, submission: Submission, client: TrainerClient) -> None:
    run_id = submission.intent.run_id
    what = "The training was submitted, but the answer is lost: it may be running."
    fix = (
        f"lora-prep resolve {run_id} --prediction ID, or --not-submitted if there is none; "
        f"then lora-prep resume {run_id}"
    )
    match settled:
        case Found() | Released() | Changed():
            return
        case Candidates(ids):
            raise NeedsAttention(
                what,
                why=f"The provider's list does not tell; it may be {', '.join(ids)}.",
                fix=fix,
                candidates=ids,
            )
        case Absent():
            why = "The provider does not list it, which is no proof."
            if submission.intent.account != client.account:
                why += " It was sent with another key: ask with that one first."
            raise NeedsAttention(what, why=why, fix=fix)
        case Cannot(error):
            raise SubmissionUnknown(
                what,
                why=f"The provider's list cannot be read: {error.what} {error.why}",
                fix=f"lora-prep resume {run_id}",
            ) from error


def _ended(submission: Submission) -> TrainingFailed:
    kind = DatasetNotFetched if submission.state is State.REFUSED else TrainingFailed
    return kind(
        f"The training {submission.prediction_id or submission.key} has ended without a LoRA.",
        why=submission.reason or f"It is {submission.state.value}.",
        fix="Run it again: that is a new submission.",
    )
