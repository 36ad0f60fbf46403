"""The dashboard as an app: it looks at runs as `status` does, and begins what it has asked about.

A run is named by its id and looked up among those there are; of its folder three files are shown,
by names of ours. Nothing of a request is ever a path.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from markupsafe import escape
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from lora_prep.errors import ConfigurationError, LoraPrepError
from lora_prep.report.text import visible
from lora_prep.settings import Settings
from lora_prep.web.actions import Action, actions_of, command_of, question_of, spoken
from lora_prep.web.begun import Begun, Commands
from lora_prep.web.dashboard_page import (
    ALL,
    Chosen,
    Line,
    Overview,
    State,
    line_of,
    overview_of,
    run_facts,
)
from lora_prep.web.guarded import Tokens
from lora_prep.web.serving import body_of, environment, static_files
from lora_prep.wording import amount
from pipelines.batch import batches
from pipelines.looking import Looker, Row
from pipelines.places import worker_is_here
from pipelines.runs import Run, run_by_id

__all__ = ["Board", "dashboard_app"]

LOG_LINES = 12
FRAMED = {
    # The report brings its own styles and pictures; it runs nothing, and only our page frames it.
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; sandbox; frame-ancestors 'self'",
}
FRAMING = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class OneRun:
    """What the page of a run shows.

    log: time and words, the newest first; report: its state; begun: the last command for it.
    """

    row: Row
    line: Line
    record: Mapping[str, Any]
    log: tuple[tuple[str, str], ...]
    report: str
    actions: tuple[Action, ...]
    begun: Begun | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a page shows now: its title and its HTML."""

    title: str
    html: str


class Board:
    """What the dashboard looks at, and what it has begun. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        """Take it from the settings; nothing is opened yet.

        Raises:
            ConfigurationError: the database would lie on a network share.
        """
        self.commands = Commands()
        self._settings = settings
        self._looker = Looker(settings)
        self._looking = threading.Lock()

    def close(self) -> None:
        """Close the connections; commands that were begun go on."""
        self._looker.close()

    def overview(self, chosen: Chosen) -> Overview:
        """Return the first page.

        Raises:
            TemporaryError, ConfigurationError, MissingDependency: the database cannot be used.
        """
        with self._looking:
            rows = self._looker.rows(events=True)
            schedules = self._looker.known.schedules()
            charges = self._looker.known.charges()
        return overview_of(
            rows,
            batches(),
            schedules,
            charges,
            chosen,
            worker=worker_is_here(),
            most_month_usd=self._settings.trainer.max_month_usd,
            now=datetime.now(UTC),
        )

    def row(self, run_id: str) -> Row:
        """Return a run.

        Raises: as `overview`; ConfigurationError also where nobody knows it.
        """
        with self._looking:
            return self._looker.row(run_id)

    def one(self, run_id: str) -> OneRun:
        """Return the page of a run.

        Raises: as `row`.
        """
        row, run = self.row(run_id), run_by_id(run_id)
        begun = self.commands.of(run_id)
        return OneRun(
            row=row,
            line=line_of(row),
            record=run.record() if run else {},
            log=tuple(_told(said) for said, _ in zip(run.said(), range(LOG_LINES), strict=False))
            if run
            else (),
            report=_state_of_report(run) if run else "",
            actions=actions_of(row, begun.words if begun and begun.status is None else ()),
            begun=begun,
        )


def dashboard_app(board: Board, tokens: Tokens) -> Starlette:
    """Return the dashboard; who may see it is the guard's business."""
    templates = environment(tokens)

    def draw(name: str, **values: Any) -> str:
        return templates.get_template(f"dashboard/{name}.html").render(**values)

    def now_of_all(chosen: Chosen) -> Drawn:
        try:
            page = board.overview(chosen)
        except LoraPrepError as error:
            return Drawn("Runs", draw("trouble", error=error))
        return Drawn(page.summary, draw("overview", page=page))

    def drawn(one: OneRun) -> Drawn:
        facts = run_facts(one.row, one.record)
        html = draw("run_now", one=one, facts=facts, spoken=spoken)
        return Drawn(f"{one.line.state.value}: {one.line.name}", html)

    def now_of_one(run_id: str) -> Drawn:
        try:
            return drawn(board.one(run_id))
        except LoraPrepError as error:
            return Drawn(run_id, draw("trouble", error=error))

    def whole(request: Request) -> Response:
        chosen = _chosen(request)
        now = now_of_all(chosen)
        part = _refreshing(now, chosen.address("/now"))
        return HTMLResponse(draw("page", title=now.title, now=part))

    def refreshed(request: Request) -> Response:
        chosen = _chosen(request)
        return _changed(now_of_all(chosen), chosen.address("/now"), request)

    def run_page(request: Request) -> Response:
        run_id = _known(board, request)
        one = board.one(run_id)
        now = drawn(one)
        part = _refreshing(now, f"/runs/{run_id}/now")
        return HTMLResponse(draw("run", title=now.title, one=one, now=part), headers=FRAMING)

    def run_refreshed(request: Request) -> Response:
        run_id = _known(board, request)
        return _changed(now_of_one(run_id), f"/runs/{run_id}/now", request)

    def report(request: Request) -> Response:
        run = _here(request)
        return _file(run, "report.html", "text/html; charset=utf-8", FRAMED)

    def contact_sheet(request: Request) -> Response:
        return _file(_here(request), "contact_sheet.jpg", "image/jpeg")

    def log(request: Request) -> Response:
        said = reversed([_told(one) for one in _here(request).said(None)])
        return PlainTextResponse("".join(f"{time}  {words}\n" for time, words in said))

    def ask(request: Request) -> Response:
        row = board.row(_known(board, request))
        return HTMLResponse(draw("ask", asked=question_of(_action(request, row), row), row=row))

    def begin(request: Request, asked: Mapping[str, str]) -> Response:
        run_id = _known(board, request)
        action = _action(request, board.row(run_id))
        try:
            board.commands.begin(run_id, command_of(action, run_id, asked))
        except LoraPrepError as error:
            return PlainTextResponse(f"{error.what} {error.why} {error.fix}", 409)
        return HTMLResponse(_refreshing(now_of_one(run_id), f"/runs/{run_id}/now"))

    async def beginning(request: Request) -> Response:
        return await run_in_threadpool(begin, request, await body_of(request))

    return Starlette(
        routes=[
            Route("/", whole),
            Route("/now", refreshed),
            Route("/runs/{run}", run_page),
            Route("/runs/{run}/now", run_refreshed),
            Route("/runs/{run}/report", report),
            Route("/runs/{run}/contact_sheet.jpg", contact_sheet),
            Route("/runs/{run}/log", log),
            Route("/runs/{run}/ask/{action}", ask),
            Route("/runs/{run}/{action}", beginning, methods=["POST"]),
            *static_files("htmx.min.js", "icon.svg", "page.css", "dashboard.css", "dashboard.js"),
        ],
        exception_handlers={LoraPrepError: _said},
    )


# ── requests ──────────────────────────────────────────────────────────────────────────────────


def _chosen(request: Request) -> Chosen:
    """Return what is asked for; what nobody knows shows all."""
    asked = request.query_params
    show = asked.get("show", "")
    batch = asked.get("batch", "")
    return Chosen(
        show=show if show in {state.key for state in State} else ALL,
        batch=batch if any(one.id == batch for one in batches()) else "",
        whole=bool(asked.get("whole")),
    )


def _known(board: Board, request: Request) -> str:
    """Return the id of a run that there is."""
    run_id: str = request.path_params["run"]
    try:
        board.row(run_id)
    except ConfigurationError as error:
        raise HTTPException(404, "There is no such run.") from error
    return run_id


def _here(request: Request) -> Run:
    run = run_by_id(request.path_params["run"])
    if run is None:
        raise HTTPException(404, "There is no such run on this machine.")
    return run


def _action(request: Request, row: Row) -> Action:
    """Return the action that is asked for, if it can be done now."""
    for action in actions_of(row):
        if action.key == request.path_params["action"]:
            return action
    raise HTTPException(404, "This cannot be done with the run as it is now.")


# ── answers ───────────────────────────────────────────────────────────────────────────────────


def _refreshing(drawn: Drawn, address: str) -> str:
    """Return what is drawn as a part of the page that asks for itself again, if it has changed."""
    seen = blake2b(drawn.html.encode(), digest_size=8).hexdigest()
    joint = "&" if "?" in address else "?"
    again = escape(f"{address}{joint}seen={seen}")
    return (
        f'<div id="now" hx-get="{again}" hx-trigger="every 2s" hx-swap="outerHTML">'
        f"{drawn.html}</div>"
    )


def _changed(drawn: Drawn, address: str, request: Request) -> Response:
    part = _refreshing(drawn, address)
    if f'seen={request.query_params.get("seen")}"' in part:
        return Response(status_code=204)  # what is selected or read out stays so
    return HTMLResponse(f"<title>{escape(drawn.title)} · lora_prep</title>{part}")


def _file(run: Run, name: str, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    try:
        return Response((run.path / name).read_bytes(), media_type=kind, headers=headers)
    except OSError as error:
        raise HTTPException(404, "There is none (yet).") from error


def _said(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, LoraPrepError)  # noqa: S101
    return PlainTextResponse(f"{error.what}\n{error.why}\n{error.fix}\n", 503)


def _state_of_report(run: Run) -> str:
    """Return what tells one state of the report from another; "" where there is none."""
    try:
        seen = run.report.stat()
    except OSError:
        return ""
    return f"{seen.st_mtime_ns:x}-{seen.st_size:x}"


def _told(said: Mapping[str, Any]) -> tuple[str, str]:
    """Return when something was said, in local time, and what."""
    try:
        when = f"{datetime.fromisoformat(said['time']).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, TypeError):
        when = "-"
    far = amount(said.get("done"), said.get("total"), str(said.get("unit", "")))
    return when, visible(f"{said['stage']}: {said['message']}{f', {far}' if far else ''}")
