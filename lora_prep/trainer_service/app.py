"""The HTTP face of the service: routes, keys, and the documented envelope.

POST /api/v3/<model>                                  submit; ?webhook=URL          key
GET  /api/v3/predictions/{id}/result                  status and outputs            key
GET  /api/v3/predictions/{id}                         the same                      key
GET  /api/v3/wavespeed-ai/wan-trainer{id}/result      the same: the documentation page of the
                                                      Wan trainer prints this path  key
POST /api/v3/predictions                              list                          key
POST /api/v3/predictions/{id}/cancel                  cancel                        key
POST /api/v3/predictions/delete                       delete                        key
GET  /api/v3/balance, models, webhook/secret                                        key
POST /api/v3/model/price, model/pricing               a quote                       key
POST /api/v3/media/uploads                            a ticket                      key
PUT  /uploads/...                                     the bytes of a ticket         signed link
GET  /media/..., /outputs/...                         an upload, a LoRA file        signed link
GET  /_service/ready, /openapi.json                                                 open
GET  /_service/stats, /_service/progress/{id}                                       key
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lora_prep.guard import Guard
from lora_prep.trainer_service.account import AccountHandlers
from lora_prep.trainer_service.backend import Backend
from lora_prep.trainer_service.breakage import Breakage
from lora_prep.trainer_service.catalogue import CATALOGUE
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.links import LINK_ROUTE
from lora_prep.trainer_service.media import MediaHandlers
from lora_prep.trainer_service.options import ServiceOptions, owner_of_key
from lora_prep.trainer_service.predictions import PredictionHandlers
from lora_prep.trainer_service.protocol import BadRequest, error_envelope
from lora_prep.trainer_service.service import Clock, TrainerService, utc_now
from lora_prep.trainer_service.state import StateFolder

__all__ = ["create_app"]

PREFIX: Final = "/api/v3"


def create_app(
    state: StateFolder,
    options: ServiceOptions,
    backend: Backend,
    *,
    clock: Clock = utc_now,
    faults: FaultScript | None = None,
    guard: Guard | None = None,
) -> ASGIApp:
    """Return the service as an ASGI app; it works on its tasks between lifespan start and end.

    Raises:
        ConfigurationError: another service works on the same state folder.
    """
    faults = faults or FaultScript()
    guard = guard or Guard(closed=options.closed)
    service = TrainerService(state, options, backend, clock=clock, guard=guard, faults=faults)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        service.start()
        yield
        service.stop()

    app = Starlette(
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _refused,
            BadRequest: _bad_request,
            Exception: _failed,
        },
        routes=_routes(service, [Middleware(_RequireKey, owners=options.owners)]),
    )
    return Breakage(app, faults)


def _routes(service: TrainerService, with_key: Sequence[Middleware]) -> list[BaseRoute]:
    predictions = PredictionHandlers(service)
    account = AccountHandlers(service)
    media = MediaHandlers(service)
    behind_key = [
        *(Route(f"/{model}", predictions.submit, methods=["POST"]) for model in CATALOGUE),
        Route("/predictions", predictions.list, methods=["POST"]),
        Route("/predictions/delete", predictions.delete, methods=["POST"]),
        Route("/predictions/{id}", predictions.result),
        Route("/predictions/{id}/result", predictions.result),
        Route("/predictions/{id}/cancel", predictions.cancel, methods=["POST"]),
        Route("/wavespeed-ai/wan-trainer{id}/result", predictions.result),
        Route("/balance", account.balance),
        Route("/models", account.models),
        Route("/model/price", account.price, methods=["POST"]),
        Route("/model/pricing", account.pricing, methods=["POST"]),
        Route("/webhook/secret", account.webhook_secret),
        Route("/media/uploads", media.ticket, methods=["POST"]),
    ]
    return [
        Mount(PREFIX, middleware=with_key, routes=behind_key),
        Route(f"/outputs{LINK_ROUTE}", predictions.output),
        Route(f"/media{LINK_ROUTE}", media.get),
        Route(f"/uploads/{{size}}/{{type}}{LINK_ROUTE}", media.put, methods=["PUT"]),
        Route("/openapi.json", account.openapi),
        Route("/_service/ready", account.ready),
        Route("/_service/stats", account.stats, middleware=with_key),
        Route("/_service/progress/{id}", predictions.progress, middleware=with_key),
    ]


class _RequireKey:
    """Lets a request pass that carries `Authorization: Bearer <key>`, and notes whose key it is."""

    def __init__(self, app: ASGIApp, *, owners: Sequence[str]) -> None:
        self._app = app
        self._owners = frozenset(owners)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = header.decode(errors="surrogateescape").partition(" ")
        owner = owner_of_key(key.strip())
        if scheme.lower() == "bearer" and owner in self._owners:
            scope["state"] = {**scope.get("state", {}), "owner": owner}
            await self._app(scope, receive, send)
            return
        envelope = error_envelope(401, "the API key is missing or wrong")
        answer = JSONResponse(envelope, 401, headers={"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, send)


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
    if not isinstance(error, HTTPException):  # never: it is registered for these alone
        raise error
    envelope = error_envelope(error.status_code, error.detail)
    return JSONResponse(envelope, error.status_code, headers=error.headers)


async def _bad_request(request: Request, error: Exception) -> Response:  # noqa: ARG001
    if not isinstance(error, BadRequest):  # never: it is registered for these alone
        raise error
    return JSONResponse(error_envelope(400, str(error), error.code), 400)


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return JSONResponse(error_envelope(500, "internal error"), 500)
