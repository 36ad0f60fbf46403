"""run, plan, inspect, prepare: the commands that begin with a folder of photos."""

from __future__ import annotations

from errno import EINVAL
from pathlib import Path
from shutil import copyfile
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.durable import run_durably
from lora_prep.cli.flags import (
    ArchiveFlags,
    DatasetFlags,
    PaymentFlags,
    StoreFlags,
    TrainerFlags,
    TrainingFlags,
    settings_flags,
)
from lora_prep.cli.session import Session, SessionParameter, shown
from lora_prep.errors import ConfigurationError
from lora_prep.model import Selection
from lora_prep.selection import overrides_path, require_enough
from lora_prep.settings import home_folder, load_settings
from pipelines import steps
from pipelines.backends import choose
from pipelines.runs import Run, new_run
from pipelines.train import begin

__all__ = ["REHEARSAL_FIRST", "inspect", "plan", "prepare", "run"]

REHEARSAL_FIRST = "Rehearsal: no account is used, nothing is paid, and no model is really trained."
REHEARSAL_LAST = "This was a rehearsal: the LoRA is well-formed and changes nothing."

NAME_WIDTH = 60
"""Columns of a table that one very long file name must not widen."""

TriggerWord = Annotated[str | None, Parameter(help="The word that captions must hold once.")]
Folder = Annotated[Path, Parameter(help="The folder of photos of one person.")]


def run(
    folder: Folder,
    /,
    *,
    dataset: DatasetFlags = DatasetFlags(),
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    training: TrainingFlags = TrainingFlags(),
    payment: PaymentFlags = PaymentFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Everything for one person: judge, crop, zip, upload, train, archive, report.

    Without an account this is a rehearsal: an S3 server and a trainer service start on this
    machine, and everything but the training itself is real. With one, the price is shown and asked
    about before anything is uploaded. The same photos, trainer and parameters are paid for once: a
    training that is on its way is followed, and one that is archived is returned.
    """
    settings = load_settings(settings_flags(dataset, store, trainer, training, payment, archive))
    if choose(settings).rehearsal:
        session.say(REHEARSAL_FIRST)
    this = begin(folder, settings)
    run_durably(this, settings, session, payment)
    if this.record()["rehearsal"]:
        session.say(REHEARSAL_LAST)
    else:
        session.say(f"Use it with: lora-prep lora use {this.id}")


def plan(
    folder: Folder,
    /,
    *,
    dataset: DatasetFlags = DatasetFlags(),
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    training: TrainingFlags = TrainingFlags(),
    payment: PaymentFlags = PaymentFlags(),
    session: SessionParameter,
) -> None:
    """All checks, the size of the zip, the price and the exact request; sends and pays nothing.

    A trainer that is not on this machine is asked for its price and the account's balance.
    """
    settings = load_settings(settings_flags(dataset, store, trainer, training, payment))
    choose(settings)
    this = new_run()
    session.result = lambda: _inspected(this)
    prepared = steps.prepare(folder, settings=settings, run=this, on_event=session.on_event)
    planned = steps.plan(prepared, settings)
    session.result = lambda: {**_inspected(this), **planned}
    request = planned["request"]
    dataset_mb = planned["dataset"]["bytes"] / 1e6
    balance_usd = planned["balance_usd"]
    session.facts(
        [
            ("data set", f"{planned['dataset']['images']} crops, {dataset_mb:.1f} MB"),
            ("store", planned["store"]),
            ("request", f"{request['method']} {request['base_url']}{request['path']}"),
            *(("", f"{name}: {value}") for name, value in request["body"].items()),
            ("price", _price(planned)),
            *([] if balance_usd is None else [("balance", f"{balance_usd:g} USD")]),
            ("report", this.report),
        ]
    )
    if planned["refused"]:
        session.say(f"`run` would stop here: {planned['refused']}")


def inspect(
    folder: Folder,
    /,
    *,
    dataset: DatasetFlags = DatasetFlags(),
    trigger_word: TriggerWord = None,
    session: SessionParameter,
) -> None:
    """A verdict for every file of the folder, with its reason, and the report. Sends nothing."""
    settings = load_settings(settings_flags(dataset, TrainingFlags(trigger_word=trigger_word)))
    this = new_run()
    session.result = lambda: this.record().get("inspection", {"schema": 1})
    selection = steps.inspect(folder, settings=settings, run=this, on_event=session.on_event)
    _answer_verdicts(session, selection)
    for sentence in selection.advice:
        session.say(sentence)
    overrides = overrides_path(home_folder(), folder)
    session.facts([("report", this.report), ("overrides", overrides)])
    require_enough(selection)


def prepare(
    folder: Folder,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The zip to write.")],
    dataset: DatasetFlags = DatasetFlags(),
    trigger_word: TriggerWord = None,
    session: SessionParameter,
) -> None:
    """Judge, select and crop the photos of a folder, and write the zip a trainer reads."""
    words = TrainingFlags(trigger_word=trigger_word)
    settings = load_settings(settings_flags(dataset, words))
    part = output.with_name(output.name + ".part")
    try:
        if output.exists() and not output.is_file():  # a folder; /dev/null would be replaced
            raise OSError(EINVAL, "There is something that is no ordinary file")
        part.touch()  # before the photos are looked at: a minute of work must not end here
        part.unlink()  # it may lie among them, and is none
    except OSError as error:
        raise ConfigurationError(
            f"The zip cannot be written to {output}.",
            why=f"{error.strerror}.",
            fix="Give the name of a file in a folder that exists and may be written.",
        ) from error
    this = new_run()
    session.result = lambda: _inspected(this)
    try:
        prepared = steps.prepare(folder, settings=settings, run=this, on_event=session.on_event)
        copyfile(prepared.bundle.path, part)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    session.result = lambda: {**_inspected(this), "zip": str(output)}
    session.facts([("zip", output), ("report", this.report)])


def _price(planned: dict[str, Any]) -> str:
    if planned["rehearsal"]:
        return "nothing: a rehearsal"
    return "not known" if planned["price_usd"] is None else f"{planned['price_usd']:g} USD"


def _inspected(this: Run) -> dict[str, object]:
    known = ("run", "dataset", "inspection", "report")
    record = this.record()
    return {"schema": 1, **{name: record[name] for name in known if name in record}}


def _answer_verdicts(session: Session, selection: Selection) -> None:
    width = min(NAME_WIDTH, max(len(shown(verdict.name)) for verdict in selection.verdicts))
    for verdict in selection.verdicts:
        reasons = ", ".join(
            reason.code.value
            + (f" ({reason.measured:g}, limit {reason.limit:g} {reason.unit})"
               if reason.measured is not None and reason.limit is not None else "")
            for reason in (*verdict.reasons, *verdict.notes)
        )  # fmt: skip
        session.answer(
            f"{verdict.decision.value:<8}  {shown(verdict.name):<{width}}  {reasons}".rstrip()
        )
