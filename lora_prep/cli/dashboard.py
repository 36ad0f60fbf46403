"""dashboard: all runs on a page of this machine."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from lora_prep.cli.pages import NoBrowser, Port, show_page
from lora_prep.cli.session import SessionParameter
from lora_prep.report.text import plural
from lora_prep.settings import load_settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from lora_prep.web.dashboard_app import Board
    from lora_prep.web.guarded import Tokens

__all__ = ["dashboard"]


def dashboard(*, port: Port = 0, no_browser: NoBrowser = False, session: SessionParameter) -> None:
    """See every run, batch and schedule, what needs you first, and what each month cost.

    The page is served to this machine alone until Ctrl-C, and shows what is new by itself. A run's
    page has its report, its log, and what can be done: going on, giving up, archiving again, and
    saying what became of a lost submission. Each is asked about first, with its price where it has
    one, and is a command of its own, which goes on when the page is closed.
    """
    settings = load_settings()
    board: Board | None = None

    def make_app(tokens: Tokens) -> Starlette:
        nonlocal board
        from lora_prep.web.dashboard_app import Board, dashboard_app  # once it is known to be there

        board = Board(settings)
        return dashboard_app(board, tokens)

    session.result = lambda: {"schema": 1, "going_on": board.commands.going_on if board else 0}
    show_page(
        make_app,
        session,
        port=port,
        no_browser=no_browser,
        what="The dashboard is",
        at_the_end="what it has begun goes on",
    )
    if board:
        with closing(board):
            if going_on := board.commands.going_on:
                session.say(f"{plural(going_on, 'command')} that it has begun: still going on.")
