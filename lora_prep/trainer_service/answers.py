"""What clients are told: a prediction, an item of the list, a price, a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.catalogue import Trainer
from lora_prep.trainer_service.protocol import rfc3339
from lora_prep.trainer_service.tasks import Task

__all__ = ["describe_model", "describe_prediction", "describe_price"]


def describe_prediction(task: Task, origin: str, output_paths: Sequence[str]) -> dict[str, Any]:
    """Return `data` of the envelope, with the names and the order of the documentation."""
    completed = task.status is PredictionStatus.COMPLETED
    return {
        "id": task.id,
        "model": task.model,
        "outputs": [origin + path for path in output_paths],
        "urls": {"get": f"{origin}/api/v3/predictions/{task.id}/result"},
        "has_nsfw_contents": [False] * len(output_paths) if completed else [],
        "status": task.status.value,
        "created_at": rfc3339(task.created_at),
        "error": task.error,
        "timings": {"inference": task.inference_ms},
        "executionTime": task.inference_ms,
        "code": task.code,
    }


def describe_price(trainer: Trainer, price_usd: float) -> dict[str, Any]:
    """Return a quote, in the names of both price endpoints."""
    return {
        "model_id": trainer.model,
        "price": price_usd,
        "discounted_price": price_usd,
        "discount_rate": 0,
        "unit_price": price_usd,
        "currency": "USD",
    }


def describe_model(trainer: Trainer, base_price_usd: float, price_usd: float) -> dict[str, Any]:
    """Return an entry of the list of models; price_usd: per 1,000 steps."""
    least = f"a zip of at least {trainer.min_images} images"
    return {
        "model_id": trainer.model,
        "name": trainer.model,
        "description": f"Trains a LoRA from {least}; {len(trainer.outputs)} output(s).",
        "type": "training",
        "base_price": base_price_usd,
        "formula": f"steps / 1000 * {price_usd:g}",
        "api_schema": {
            "api_schemas": [
                {
                    "type": "model_run",
                    "api_path": f"/api/v3/{trainer.model}",
                    "method": "POST",
                    "request_schema": trainer.schema(),
                }
            ]
        },
    }
