"""What the dashboard can do with a run: each action is a command, shown before it is begun."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_prep.errors import Declined, LoraPrepError
from lora_prep.settings import load_settings
from lora_prep.trainers import OVER, State
from pipelines import steps
from pipelines.backends import choose, connect_trainer
from pipelines.going_on import would_submit
from pipelines.looking import Row
from pipelines.pricing import ask_price
from pipelines.runs import run_by_id

__all__ = ["Action", "Question", "actions_of", "command_of", "question_of", "spoken"]

PREDICTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
AT_THE_END = frozenset({"completed", "archived"})
NEVER_SENT = frozenset({None, State.WAITING, State.RELEASED})


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done. key: its name in addresses; grave: whether it gives something up.

    asks: what has to be typed in for it, "" for nothing.
    """

    key: str
    label: str
    grave: bool = False
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before an action is begun.

    command: as typed; about: what it does, a paragraph each; price: in USD, what it costs at most,
    "" for nothing; trouble: why it cannot be done now, "" where it can.
    """

    action: Action
    command: str
    about: tuple[str, ...]
    price: str = ""
    trouble: str = ""


RESUME = Action("resume", "Go on")
ARCHIVE = Action("archive", "Archive again")
CANCEL = Action("cancel", "Give up", grave=True)
FOUND = Action("found", "It was submitted", asks="The training's id at the provider")
NOT_SENT = Action("not-submitted", "It was not submitted", grave=True)


def actions_of(row: Row, doing: Sequence[str] = ()) -> tuple[Action, ...]:
    """Return what can be done with a run now, what is most likely wanted first.

    doing: the command that just goes on for it; while it does, giving up is all that is left.
    """
    found = []
    if doing:
        return () if row.ended or doing[0] == CANCEL.key else (CANCEL,)
    if row.here and not row.held and _may_go_on(row):
        found.append(RESUME)
    if row.here and row.is_lost:
        found += [FOUND, NOT_SENT]
    kept = row.prediction_id and row.provider_state in AT_THE_END
    if row.here and row.ended and not row.held and kept and not _record_of(row).get("reused"):
        found.append(ARCHIVE)
    if not row.ended:
        found.append(CANCEL)
    return tuple(found)


def question_of(action: Action, row: Row) -> Question:
    """Return what is asked before an action; the trainer is asked for a price where one is due."""
    about: tuple[str, ...]
    match action:
        case Action("resume") if would_submit(row):
            return _paying(row)
        case Action("resume") if row.is_lost:
            about = (
                "The training is looked for at the provider, and followed if it is found. "
                "Nothing is sent a second time on a guess.",
            )
        case Action("resume") if row.provider_state in OVER:
            about = (
                "The provider is asked once more whether it has the LoRA after all. If not, this "
                "run stays as it is. Nothing is paid again.",
            )
        case Action("resume"):
            about = (
                "The training that was submitted is followed and its LoRA archived. "
                "Nothing is paid again.",
            )
        case Action("archive"):
            about = (
                "What is whole here and in the bucket stays; what is missing is fetched from the "
                "provider, which keeps it for 7 days. Nothing is paid.",
            )
        case Action("found"):
            about = (
                "Look at the trainings of your account. The one that you name is this run's from "
                "then on, and can be gone on with; one that shows to be another's is refused.",
            )
        case Action("not-submitted"):
            about = (
                "Say this only when your account shows no such training: going on sends it then, "
                "and it is paid for. What the provider shows to be otherwise is refused.",
            )
        case _:
            about = _given_up(row)
    return Question(action, spoken(command_of(action, row.run)), about)


def command_of(action: Action, run_id: str, asked: Mapping[str, str] | None = None) -> list[str]:
    """Return the words after `lora-prep`; asked: what was typed in, and the price agreed to.

    Raises:
        Declined: what was typed in cannot be what was asked for.
    """
    asked = asked or {}
    match action:
        case Action("archive"):
            return ["resume", run_id, "--from", "archive"]
        case Action("cancel"):
            return ["cancel", run_id]
        case Action("not-submitted"):
            return ["resolve", run_id, "--not-submitted"]
        case Action("found"):
            prediction = asked.get("typed", "ID").strip()
            if not PREDICTION.fullmatch(prediction):
                raise Declined(
                    "That is no id of a training.",
                    why="It has letters, digits, dots and dashes.",
                    fix="Copy it from the provider's list of trainings.",
                )
            return ["resolve", run_id, f"--prediction={prediction}"]
        case _:
            agreed = asked.get("agreed", "")
            return ["resume", run_id, *(_limit(agreed) if agreed else [])]


def spoken(words: list[str]) -> str:
    """Return a command as it is typed."""
    return " ".join(["lora-prep", *words])


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _may_go_on(row: Row) -> bool:
    return not row.ended or row.status in {"failed", "cancelled"}


def _paying(row: Row) -> Question:
    """Ask what a training costs that is not submitted yet; never more than that is agreed to.

    A limit that was set before does not refuse it: who agrees to a price that is shown beside the
    limit raises that. The month's budget does.
    """
    run = run_by_id(row.run)
    assert run is not None, "actions are offered for runs of this machine"  # noqa: S101
    words = command_of(RESUME, row.run)
    try:
        limit = load_settings(steps.as_opened(run, {})).trainer.max_cost_usd
        settings = load_settings(steps.as_opened(run, {"trainer": {"max_cost_usd": None}}))
        if choose(settings).rehearsal:
            about = "The rehearsal goes on where it was. Nothing is paid, nothing is trained."
            return Question(RESUME, spoken(words), (about,))
        with connect_trainer(settings) as trainer:
            quote = ask_price(trainer, settings)
    except LoraPrepError as error:
        return Question(RESUME, spoken(words), (), trouble=f"{error.what} {error.why} {error.fix}")
    if quote.price_usd is None:
        trouble = "The provider names no price. Go on in a terminal, where you can agree to that."
        return Question(RESUME, spoken(words), (), trouble=trouble)
    agreed = _exactly(quote.price_usd)
    balance = "" if quote.balance_usd is None else f" The account holds {quote.balance_usd:g} USD."
    asked = [f"The training is submitted and costs {agreed} USD.{balance}"]
    if limit is not None and quote.price_usd > limit:
        asked.append(f"That is more than the limit of {_exactly(limit)} USD that was set for it.")
    words = command_of(RESUME, row.run, {"agreed": agreed})
    return Question(RESUME, spoken(words), tuple(asked), price=agreed)


def _limit(agreed: str) -> list[str]:
    """Return the flags that let a command pay, as far as was agreed."""
    try:
        usd = float(agreed)
    except ValueError:
        usd = math.nan
    if not (math.isfinite(usd) and usd >= 0):
        raise Declined("That is no price.", why=f"{agreed!r} is no amount.", fix="Ask again.")
    return ["--yes", "--max-cost", _exactly(usd)]


def _exactly(usd: float) -> str:
    """Return an amount as short as it can be said, and never rounded: it is agreed to."""
    return str(int(usd)) if usd == int(usd) else str(usd)


def _given_up(row: Row) -> tuple[str, ...]:
    """Return what giving up does, and what it does not stop: as the command knows it by then."""
    stops = "Nothing more is done for it; you can go on later"
    stops += "." if row.here else ", on the machine that began it."
    if _record_of(row).get("rehearsal"):
        return (stops, "It is a rehearsal: nothing is billed.")
    if row.provider_state in NEVER_SENT and not row.prediction_id:
        so_far = "Nothing was submitted so far."
        if row.held:
            return (stops, f"{so_far} What is being sent at this very moment may be billed.")
        return (stops, f"{so_far} Nothing will be billed.")
    if row.provider_state in OVER:
        return (stops, "Its training has ended at the provider without a LoRA.")
    return (stops, "Its training may go on at the provider and be billed: it takes nothing back.")


def _record_of(row: Row) -> Mapping[str, Any]:
    run = run_by_id(row.run) if row.here else None
    return run.record() if run else {}
