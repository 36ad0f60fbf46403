"""The scripted faults that break a connection or an answer, around the whole application.

The faults that change what the service says or does stand where it says or does it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lora_prep.trainer_service.catalogue import CATALOGUE
from lora_prep.trainer_service.faults import FaultScript, Place
from lora_prep.trainer_service.protocol import error_envelope

__all__ = ["Breakage"]

API: Final = "/api/v3/"
PAGE: Final = "<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"


class Breakage:
    """The application inside, with the faults of a script."""

    def __init__(self, app: ASGIApp, faults: FaultScript) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or fail to."""
        place = _place(scope) if scope["type"] == "http" else None
        if place == "output":
            await self._output(scope, receive, send)
        elif place is None:
            await self._app(scope, receive, send)
        elif (answer := self._answer_instead(place)) is not None:
            await answer(scope, receive, send)
        elif place == "submit" and self._faults.take("drop-before-accept", place):
            await _drop(receive, send)
        elif place == "submit" and (late := self._faults.take("accept-late", place)):
            body = await _whole_body(receive)
            await _drop(receive, send)
            await asyncio.sleep(late.seconds)
            await self._app(scope, _Replay(body), _nobody_hears)
        elif place == "submit" and self._faults.take("drop-after-accept", place):
            await self._app(scope, receive, _nobody_hears)
            await _drop(receive, send)
        elif slow := self._faults.take("slow", place):
            await self._app(scope, receive, _Late(send, slow.seconds))
        else:
            await self._app(scope, receive, send)

    def _answer_instead(self, place: Place) -> Response | None:
        """Return what is answered without asking the application."""
        take = self._faults.take
        if take("status-429", place):
            return JSONResponse(_error(429), 429, headers={"Retry-After": "1"})
        for status in (500, 503):
            if take(f"status-{status}", place):
                return JSONResponse(_error(status), status)
        if take("html", place):
            return HTMLResponse(PAGE)
        if take("envelope-error", place):
            return JSONResponse({**_error(500), "data": None})
        if take("result-404", place):
            return JSONResponse(_error(404), 404)
        return None

    async def _output(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._faults.take("expired-output", "output"):
            await JSONResponse(_error(403), 403)(scope, receive, send)
            return
        if self._faults.take("no-range", "output"):
            kept = [pair for pair in scope["headers"] if pair[0] not in {b"range", b"if-range"}]
            scope, send = {**scope, "headers": kept}, _Hiding(send)
        if self._faults.take("truncated-output", "output"):
            # The server closes a connection whose answer was left unfinished.
            send = _Half(send)
        await self._app(scope, receive, send)


def _place(scope: Scope) -> Place | None:
    """Return which of the places with faults a request asks for."""
    method, path = scope["method"], scope["path"]
    if path.startswith("/outputs/"):
        return "output"
    if not path.startswith(API):
        return None
    name = path.removeprefix(API)
    if method == "GET" and name.startswith(("predictions/", "wavespeed-ai/wan-trainer")):
        return "result"
    places: dict[str, Place] = {"predictions": "list", "model/price": "price"}
    return ("submit" if name in CATALOGUE else places.get(name)) if method == "POST" else None


def _error(status: int) -> dict[str, Any]:
    return error_envelope(status, "a scripted fault")


async def _whole_body(receive: Receive) -> bytes:
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _drop(receive: Receive, send: Send) -> None:
    """Cut the connection without a byte of an answer.

    ASGI has no word for it: this reaches for the transport behind uvicorn's `send`.
    """
    send.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass  # until uvicorn has noticed too: else it would answer in our place


async def _nobody_hears(message: Message) -> None:
    """Take an answer that is never sent."""


class _Replay:
    """Gives a body that was read already to the application."""

    def __init__(self, body: bytes) -> None:
        self._messages: list[Message] = [{"type": "http.request", "body": body}]

    async def __call__(self) -> Message:
        return self._messages.pop() if self._messages else {"type": "http.disconnect"}


class _Late:
    """Holds an answer back before its first byte."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(self._seconds)
        await self._send(message)


class _Hiding:
    """Lets an answer not say that ranges can be had."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if pair[0] != b"accept-ranges"]
            message = {**message, "headers": headers}
        await self._send(message)


class _Half:
    """Lets half of the promised bytes pass."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            length = dict(message["headers"]).get(b"content-length", b"0")
            self._left = int(length) // 2
            await self._send(message)
        elif self._left:
            part = message.get("body", b"")[: self._left]
            self._left -= len(part)
            await self._send({**message, "body": part, "more_body": True})
