"""The HTTP face of the service: routes, the key, and the documented envelope.

POST /api/v3/wavespeed-ai/wan-14b-trainer             submit                       key
GET  /api/v3/predictions/{id}/result                  status and outputs           key
GET  /api/v3/wavespeed-ai/wan-trainer{id}/result      the same: the documentation page of this
                                                      trainer prints this path     key
GET  /outputs/...                                     a LoRA file                  signed link
GET  /_service/ready                                  is it up                     open
GET  /_service/stats                                  accepted, completed, failed  key
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.links import LINK_ROUTE
from lora_prep.trainer_service.protocol import (
    MODEL,
    BadRequest,
    error_envelope,
    parse_request,
    rfc3339,
    success_envelope,
)
from lora_prep.trainer_service.service import Clock, TrainerService, utc_now
from lora_prep.trainer_service.state import StateFolder
from lora_prep.trainer_service.tasks import Task
from lora_prep.trainer_service.workers import Train

__all__ = ["create_app"]

PREFIX: Final = "/api/v3"
MAX_BODY_BYTES: Final = 1024**2  # parameters; a data set travels by its URL


def create_app(
    state: StateFolder, *, api_key: str, train: Train, clock: Clock = utc_now
) -> Starlette:
    """Return the service as an ASGI app; it works on its tasks between lifespan start and end.

    Raises:
        ConfigurationError: another service works on the same state folder.
    """
    service = TrainerService(state, train, clock=clock)
    handlers = _Handlers(service)
    with_key = [Middleware(_RequireKey, api_key=api_key)]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        service.start()
        yield
        service.stop()

    return Starlette(
        lifespan=lifespan,
        exception_handlers={HTTPException: _refused, Exception: _failed},
        routes=[
            Mount(
                PREFIX,
                middleware=with_key,
                routes=[
                    Route(f"/{MODEL}", handlers.submit, methods=["POST"]),
                    Route("/predictions/{id}/result", handlers.result),
                    Route("/wavespeed-ai/wan-trainer{id}/result", handlers.result),
                ],
            ),
            Route(LINK_ROUTE, handlers.output),
            Route("/_service/ready", handlers.ready),
            Route("/_service/stats", handlers.stats, middleware=with_key),
        ],
    )


class _Handlers:
    """One method for each route. The plain ones run on threads: they wait for the disk."""

    def __init__(self, service: TrainerService) -> None:
        self._service = service

    async def submit(self, request: Request) -> Response:
        try:
            wanted = parse_request(await _read_body(request))
        except BadRequest as error:
            raise HTTPException(400, str(error)) from error
        task = await run_in_threadpool(self._service.accept, wanted)
        return self._answer(request, task)

    def result(self, request: Request) -> Response:
        task = self._service.find(request.path_params["id"])
        if task is None:
            raise HTTPException(404, "there is no such prediction, or it is older than 7 days")
        return self._answer(request, task)

    def output(self, request: Request) -> Response:
        path = self._service.open_link(**request.path_params)
        if path is None:
            raise HTTPException(403, "the link is not valid or has expired")
        if not path.is_file():
            raise HTTPException(404, "the file is gone")
        return _Output(path, media_type="application/octet-stream")

    def ready(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"ready": True})

    def stats(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self._service.statistics())

    def _answer(self, request: Request, task: Task) -> Response:
        # Links begin as the client called us: that is the one address known to reach us from there.
        origin = str(request.base_url).rstrip("/")
        outputs = [origin + path for path in self._service.output_paths(task)]
        return JSONResponse(success_envelope(_prediction(task, origin, outputs)))


class _Output(FileResponse):
    """Ranges, ETag and Content-Length are Starlette's; the step is larger than its 64 kB.

    Each step is a trip to a thread: with 1 MB a 307 MB file leaves several times faster.
    """

    chunk_size = 1024**2


class _RequireKey:
    """Lets a request pass that carries `Authorization: Bearer <key>`."""

    def __init__(self, app: ASGIApp, *, api_key: str) -> None:
        self._app = app
        self._api_key = api_key.encode(errors="surrogateescape")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = header.partition(b" ")
        # compare_digest: how long a wrong key takes must not say how much of it was right.
        right = hmac.compare_digest(key.strip(), self._api_key)
        if scheme.lower() == b"bearer" and right:
            await self._app(scope, receive, send)
            return
        envelope = error_envelope(401, "the API key is missing or wrong")
        answer = JSONResponse(envelope, 401, headers={"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, send)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413, "the body is larger than 1 MB")
    except ClientDisconnect as error:  # half a request is no submission; nobody hears this
        raise HTTPException(400, "the body ended early") from error
    return bytes(body)


def _prediction(task: Task, origin: str, outputs: list[str]) -> dict[str, Any]:
    """Return `data` of the envelope, with the names and the order of the documentation."""
    completed = task.status is PredictionStatus.COMPLETED
    return {
        "id": task.id,
        "model": task.request.model,
        "outputs": outputs,
        "urls": {"get": f"{origin}{PREFIX}/predictions/{task.id}/result"},
        "has_nsfw_contents": [False] if completed else [],
        "status": task.status.value,
        "created_at": rfc3339(task.created_at),
        "error": task.error,
        "timings": {"inference": task.inference_ms},
        "executionTime": task.inference_ms,
        "code": task.code,
    }


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
    if not isinstance(error, HTTPException):  # never: it is registered for these alone
        raise error
    envelope = error_envelope(error.status_code, error.detail)
    return JSONResponse(envelope, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse(error_envelope(500, "internal error"), 500)
