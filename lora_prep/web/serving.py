"""Serve a page's app on a port of this machine, and open it in the browser."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from lora_prep.errors import MissingDependency, TemporaryError
from lora_prep.report.text import breakable, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from lora_prep.web.guarded import Tokens

__all__ = ["body_of", "environment", "serve_page", "static_files"]

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
LARGEST_BODY_BYTES = 1000
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def environment(tokens: Tokens) -> Environment:
    """Return the templates of a page. Everything is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from lora_prep.web.guarded import CHANGE_HEADER

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["change_headers"] = json.dumps({CHANGE_HEADER: tokens.change})
    made.filters.update(breakable=breakable, visible=visible)
    return made


def static_files(*names: str) -> list[Route]:
    """Return a route for each of these files of ours; no other can be asked for."""
    from starlette.responses import Response
    from starlette.routing import Route

    def route(name: str) -> Route:
        path = HERE / "static" / name
        data = path.read_bytes()

        def answer(request: Request) -> Response:  # noqa: ARG001  the framework gives it
            return Response(data, media_type=KINDS[path.suffix])

        return Route(f"/static/{name}", answer)

    return [route(name) for name in names]


async def body_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Ours are short: a longer body is nobody's we know."""
    from starlette.exceptions import HTTPException

    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY_BYTES:
            raise HTTPException(413)
    fields = parse_qs(body.decode("ascii", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def serve_page(
    make_app: Callable[[Tokens], ASGIApp],
    *,
    port: int = 0,
    on_open: Callable[[str, str], None],
) -> None:
    """Serve until Ctrl-C; on_open is told where, once it can be asked.

    It gets the address that lets in, to be printed, and one that does so once, for the browser's
    command line, which other accounts can read.

    port: 0 takes a free one. Only this machine can reach it.

    Raises:
        MissingDependency: the extra `web` is not installed.
        TemporaryError: the port is taken.
    """
    try:
        import uvicorn

        from lora_prep.web.guarded import Guarded, Tokens
    except ImportError as error:
        raise MissingDependency(
            "What the pages need is not installed.",
            why=f"{error}.",
            fix="pip install 'lora_prep[web]'",
        ) from error
    tokens = Tokens()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOOPBACK, port))
        except OSError as error:
            raise TemporaryError(
                f"The port {port} cannot be used.",
                why=f"{error.strerror}.",
                fix="Leave --port out: a free one is taken.",
            ) from error
        taken = listening.getsockname()[1]
        hosts = [f"{LOOPBACK}:{taken}", f"localhost:{taken}"]
        app = Guarded(make_app(tokens), tokens, hosts, cookie=f"lora_prep_{taken}")
        listening.listen()  # from here on a browser waits instead of being refused
        page = f"http://{LOOPBACK}:{taken}/?token="
        on_open(page + tokens.entry, page + tokens.once)
        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listening])
