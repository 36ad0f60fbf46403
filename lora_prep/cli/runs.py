"""status, runs, cancel, runs prune: looking at runs and letting go of them; nothing is launched."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.rows import LEGEND, block, screen, table
from lora_prep.cli.session import Session, SessionParameter, shown
from lora_prep.errors import ConfigurationError, Declined, TemporaryError
from lora_prep.settings import load_settings
from pipelines.looking import Looker, Row

__all__ = ["cancel", "runs", "runs_prune", "status"]

Watch = Annotated[
    bool, Parameter(help="Show it anew every engine.look_s, until Ctrl-C.", show_default=False)
]
NAME_WIDTH = 20


def status(
    run: Annotated[
        str | None, Parameter(name="RUN", help="A run's id; without, all that are unfinished.")
    ] = None,
    /,
    *,
    watch: Watch = False,
    session: SessionParameter,
) -> None:
    """List the runs that are not finished: what needs you, then what the provider forgets first.

    With a RUN, all that is known of it; with --watch, until it has ended. It asks the provider
    nothing and starts nothing. What other machines submitted is found by `sweep`.
    """
    settings = load_settings()
    with closing(Looker(settings)) as looker:

        def look() -> list[Row]:
            if run is not None:
                return [looker.row(run)]
            return looker.rows(ended=False, events=watch)

        rows = _looked_at(look, session)
        if watch:
            _watch(look, rows, session, settings.engine.look_s, until_ended=run is not None)
            return
    if run is not None:
        session.answer(block(rows[0]))
        return
    if rows:
        session.answer(table(rows))
    _advise(rows, session)


def runs(*, watch: Watch = False, session: SessionParameter) -> None:
    """List every run: what needs you first, then what is unfinished, then the newest.

    Where the database is shared, also those of other machines, by their ids. It asks the provider
    nothing and starts nothing.
    """
    settings = load_settings()
    with closing(Looker(settings)) as looker:

        def look() -> list[Row]:
            return looker.rows(events=watch)

        rows = _looked_at(look, session)
        if watch:
            _watch(look, rows, session, settings.engine.look_s)
            return
    if not rows:
        session.say("There is no run yet. Begin one with: lora-prep run FOLDER")
        return
    session.answer(table(rows))
    if any(row.needs_attention or row.held for row in rows):
        session.say(LEGEND)


def cancel(
    run: Annotated[str, Parameter(name="RUN", help="The run's id.")],
    /,
    *,
    session: SessionParameter,
) -> None:
    """Give a run up: nothing of it is begun any more. A training that was submitted goes on.

    The trainer takes nothing back, so that one may be billed. `resume` follows it all the same:
    nothing is paid twice.
    """
    from pipelines.cancelling import Cancelled
    from pipelines.cancelling import cancel as give_up

    settings = load_settings()
    done: list[Cancelled] = []
    session.result = lambda: done[0].to_json() if done else {"schema": 1, "run": run}
    with closing(Looker(settings)) as looker:
        done.append(give_up(run, settings, looker, session.on_event))
    session.answer(f"cancelled  {run}")
    session.answer(_remote(done[0]))
    where = "" if done[0].here else ", on the machine that began it"
    session.say(f"Go on all the same{where}: lora-prep resume {run}")


def runs_prune(
    *,
    older_than: Annotated[
        int | None, Parameter(name="--older-than", help="Days; engine.keep_days without.")
    ] = None,
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Do not ask.", show_default=False)
    ] = False,
    session: SessionParameter,
) -> None:
    """Remove the folders of runs that ended long ago: photos' crops, reports, local LoRAs.

    One that is unfinished, in hand, or not archived while the provider may still have its result,
    stays. What lies in the bucket is not touched, and what was paid for stays known.
    """
    from pipelines.pruning import Old, old_runs, prune

    settings = load_settings()
    days = settings.engine.keep_days if older_than is None else older_than
    if days < 1 and older_than is not None:
        raise ConfigurationError(
            "--older-than takes a number of days, 1 at least.",
            why=f"{older_than} would not leave what has just ended.",
            fix="lora-prep runs prune --older-than 30",
        )
    old: list[Old] = []
    gone: list[Old] = []
    session.result = lambda: {
        "schema": 1,
        "older_than_days": days or None,
        "runs": [{**one.to_json(), "removed": one in gone} for one in old],
        "freed_bytes": sum(one.size_bytes for one in gone),
    }
    if days == 0:
        session.say("engine.keep_days is 0: nothing is ever removed. Or say: --older-than DAYS")
        return
    with closing(Looker(settings)) as looker:
        old += old_runs(looker, settings, older_than=timedelta(days=days))
        if not old:
            session.say(f"No run that has ended is older than {days} days.")
            return
        for one in old:
            name = shown(one.name or "-")[:NAME_WIDTH]
            size = f"{one.size_bytes / 1e6:.1f} MB"
            ended = f"{one.ended_at:%Y-%m-%d}"
            session.answer(
                f"{one.run}  {name:<{NAME_WIDTH}}  {one.status or '-':<9}  {ended}  {size:>10}"
            )
        total_mb = sum(one.size_bytes for one in old) / 1e6
        _ask(session, f"Remove {len(old)} runs, {total_mb:.1f} MB?", yes=yes)
        gone += prune(looker, old)
    freed_mb = sum(one.size_bytes for one in gone) / 1e6
    session.answer(f"{len(gone)} runs removed, {freed_mb:.1f} MB freed")


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _looked_at(look: Callable[[], list[Row]], session: Session) -> list[Row]:
    rows = look()
    session.result = lambda: {"schema": 1, "runs": [row.to_json() for row in rows]}
    return rows


def _watch(
    look: Callable[[], list[Row]],
    rows: list[Row],
    session: Session,
    every_s: float,
    *,
    until_ended: bool = False,
) -> None:
    """Show rows again and again; Ctrl-C is how it ends, and no failure."""
    said = False
    try:
        with screen(session) as show:
            while True:
                show(rows)
                if until_ended and all(row.ended for row in rows):
                    break
                time.sleep(every_s)
                try:
                    rows = _looked_at(look, session)
                except TemporaryError as error:  # a database that is away for a moment comes back
                    if not said:
                        session.say(f"{error.what} {error.why} Still watching.")
                    said = True
    except KeyboardInterrupt:
        return


def _advise(rows: Sequence[Row], session: Session) -> None:
    if any(row.soon for row in rows):
        session.say("Archive them with: lora-prep resume RUN, or all of them with: lora-prep sweep")
    elif any(not row.held for row in rows):
        session.say("Go on with any of them: lora-prep resume RUN, or all of them: resume --all")
    elif not rows:
        session.say("Every result is archived.")
    if any(row.needs_attention or row.held for row in rows):
        session.say(LEGEND)


def _remote(done: Any) -> str:
    prediction = f" {done.prediction_id}" if done.prediction_id else ""
    return {
        "none": "training   none was submitted: nothing will be billed",
        "may_be_submitted": "training   it may have been submitted just then: it may go on and be "
        "billed; `resume` looks for it",
        "submitted": f"training  {prediction} goes on at the provider and may be billed: it takes "
        "nothing back",
        "rehearsal": "training   it was a rehearsal: nothing is billed",
    }[done.remote.value]


def _ask(session: Session, question: str, *, yes: bool) -> None:
    if yes:
        return
    if not session.can_ask:
        raise Declined(
            "Nothing was removed: nobody agreed.",
            why="There is no terminal to ask at.",
            fix="Add --yes.",
        )
    if not session.agrees(question):
        raise Declined("Nothing was removed.", why="You said no.", fix="Nothing was changed.")
