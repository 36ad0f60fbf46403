"""What the commands that show a page of this machine have in common."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lora_prep.cli.session import Session
from lora_prep.web.serving import serve_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from lora_prep.web.guarded import Tokens

__all__ = ["NoBrowser", "Port", "show_page"]

Port = Annotated[
    int, Parameter(help="Where the page is served; a free port without.", show_default=False)
]
NoBrowser = Annotated[
    bool, Parameter(help="Only print the address of the page.", show_default=False)
]


def show_page(
    make_app: Callable[[Tokens], ASGIApp],
    session: Session,
    *,
    port: int,
    no_browser: bool,
    what: str,
    at_the_end: str,
) -> None:
    """Serve a page until Ctrl-C; say where it is, and open it where somebody looks on.

    what: what is shown, at_the_end: what becomes of it, as they are said.

    Raises: as `serve_page`.
    """

    def opened(address: str, once: str) -> None:
        session.say(f"{what} at {address}")
        session.say(f"Ctrl-C ends it; {at_the_end}.")
        if sys.stdout.isatty() and not no_browser and not session.json:
            webbrowser.open(once)

    with suppress(KeyboardInterrupt):  # how it ends
        serve_page(make_app, port=port, on_open=opened)
