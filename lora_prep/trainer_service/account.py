"""Balance, prices, models, the webhook secret, and what the service says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lora_prep.trainer_service.answers import describe_model, describe_price
from lora_prep.trainer_service.catalogue import CATALOGUE, Trainer
from lora_prep.trainer_service.openapi import openapi_document
from lora_prep.trainer_service.protocol import BadRequest, TaskCode, success_envelope
from lora_prep.trainer_service.requests import owner_of, read_object
from lora_prep.trainer_service.service import TrainerService

__all__ = ["AccountHandlers"]


class AccountHandlers:
    """One method for each route. The plain ones run on threads: they wait for the disk."""

    def __init__(self, service: TrainerService) -> None:
        self._service = service

    def balance(self, request: Request) -> Response:
        """Tell what is left."""
        balance = self._service.balance(owner_of(request))
        return JSONResponse(success_envelope({"balance": balance}))

    async def price(self, request: Request) -> Response:
        """Quote a training; unlike `pricing` it can be scripted away."""
        parameters = await read_object(request)
        if self._service.faults.take("no-price", "price"):
            raise HTTPException(404, "there is no such endpoint")
        return self._quote(parameters)

    async def pricing(self, request: Request) -> Response:
        """Quote a training, as older servers do."""
        return self._quote(await read_object(request))

    def models(self, request: Request) -> Response:  # noqa: ARG002
        """List the trainers."""
        price = self._service.options.price_usd
        listed = [
            describe_model(trainer, self._price(trainer, {}), price)
            for trainer in CATALOGUE.values()
        ]
        return JSONResponse(success_envelope(listed))

    def webhook_secret(self, request: Request) -> Response:
        """Tell what signs deliveries."""
        secret = self._service.webhook_secret(owner_of(request))
        return JSONResponse(success_envelope({"secret": secret}))

    def ready(self, request: Request) -> Response:  # noqa: ARG002
        """Say that the service is up."""
        return JSONResponse({"ready": True})

    async def stats(self, request: Request) -> Response:
        """Tell what was accepted and how it ended, and whether the list is complete at once."""
        counts = await run_in_threadpool(self._service.counts, owner_of(request))
        return JSONResponse(
            {
                "accepted": counts.accepted,
                "completed": counts.completed,
                "failed": counts.failed,
                "consistent": self._service.faults.list_is_complete,
            }
        )

    def openapi(self, request: Request) -> Response:  # noqa: ARG002
        """Describe this very API."""
        return JSONResponse(openapi_document())

    def _quote(self, parameters: Mapping[str, Any]) -> Response:
        model, inputs = parameters.get("model_id"), parameters.get("inputs")
        if model is None:
            raise BadRequest("model_id is required", TaskCode.MISSING_PARAMETER)
        trainer = CATALOGUE.get(model) if isinstance(model, str) else None
        if trainer is None:
            raise BadRequest("model_id names no model")
        if inputs is not None and not isinstance(inputs, dict):
            raise BadRequest("inputs must be an object")
        price = self._price(trainer, inputs or {})
        return JSONResponse(success_envelope(describe_price(trainer, price)))

    def _price(self, trainer: Trainer, inputs: Mapping[str, Any]) -> float:
        """Return the price; what is missing counts at its default, and no data set is needed."""
        steps = trainer.numbers["steps"]
        return self._service.price(trainer, steps.read("steps", inputs.get("steps", steps.default)))
