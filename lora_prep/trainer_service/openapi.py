"""The description of this API in OpenAPI 3.1, served at /openapi.json; a test holds it to be true.

Every answer under /api/v3 is an envelope; `data` is what the schemas below describe.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from lora_prep.trainer_service.catalogue import CATALOGUE
from lora_prep.trainer_service.listing import LISTED_STATUSES, MAX_PAGE, MAX_PAGE_SIZE
from lora_prep.trainer_service.uploads import MAX_UPLOAD_BYTES

__all__ = ["openapi_document"]

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
URL: Final[Schema] = {"type": "string", "format": "uri"}
FREE: Final[Schema] = {"type": "object"}
ERRORS: Final[Mapping[int, str]] = {
    400: "a parameter is missing or does not fit",
    401: "the key is missing or wrong",
    403: "the balance does not cover the price",
    404: "unknown, another key's, or older than 7 days",
    413: "the body is larger than 1 MB",
}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


PREDICTION: Final = _object(
    {
        "id": TEXT,
        "model": TEXT,
        "outputs": _list(URL),
        "urls": _object({"get": URL}),
        "has_nsfw_contents": _list({"type": "boolean"}),
        "status": {"enum": list(LISTED_STATUSES)},
        "created_at": MOMENT,
        "error": TEXT,
        "timings": _object({"inference": COUNT}),
        "executionTime": COUNT,
        "code": COUNT,
    },
    {"inputs": FREE},
)
LIST_QUERY: Final = _object(
    {
        "page": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
        "page_size": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
    },
    {
        "model": TEXT,
        "status": {"enum": list(LISTED_STATUSES)},
        "created_after": MOMENT,
        "created_before": MOMENT,
        "include_inputs": {"type": "boolean"},
    },
)
QUOTE: Final = _object(
    {
        "model_id": TEXT,
        "price": NUMBER,
        "discounted_price": NUMBER,
        "discount_rate": NUMBER,
        "unit_price": NUMBER,
        "currency": {"const": "USD"},
    }
)
MODEL: Final = _object(
    {
        "model_id": {"enum": list(CATALOGUE)},
        "name": TEXT,
        "description": TEXT,
        "type": {"const": "training"},
        "base_price": NUMBER,
        "formula": TEXT,
        "api_schema": FREE,
    }
)
UPLOAD: Final = _object(
    {
        "filename": {"type": "string", "minLength": 1},
        "size": {"type": "integer", "minimum": 1, "maximum": MAX_UPLOAD_BYTES},
    },
    {"content_type": {"type": "string", "pattern": "^[ -~]{1,200}$"}},
)
TICKET: Final = _object(
    {
        "upload": _object({"method": {"const": "PUT"}, "url": URL, "headers": FREE}),
        "download_url": URL,
    }
)
ERROR: Final = _object({"code": {"type": "integer"}, "message": TEXT}, {"error_code": TEXT})


@functools.cache
def openapi_document() -> Mapping[str, Any]:
    """Return the whole description."""
    prediction, quote = _ref("Prediction"), _ref("Quote")
    quoted = _object({"model_id": {"enum": list(CATALOGUE)}}, {"inputs": FREE})
    page = _object({"page": COUNT, "total": COUNT, "items": _list(prediction)})
    ids = _object({"ids": _list(TEXT)})
    result = _operation("Tell the state of a prediction", prediction, path=["id"])
    paths: dict[str, Schema] = {
        f"/api/v3/{model}": {"post": _submission(trainer.schema(), prediction)}
        for model, trainer in CATALOGUE.items()
    }
    paths |= {
        "/api/v3/predictions": {
            "post": _operation("List predictions, newest first", page, body=LIST_QUERY)
        },
        "/api/v3/predictions/{id}": {"get": result},
        "/api/v3/predictions/{id}/result": {"get": result},
        "/api/v3/wavespeed-ai/wan-trainer{id}/result": {"get": result},
        "/api/v3/predictions/{id}/cancel": {
            "post": _operation("End a training early", prediction, path=["id"])
        },
        "/api/v3/predictions/delete": {
            "post": _operation("Delete", _object({"deleted_count": COUNT}), body=ids)
        },
        "/api/v3/balance": {"get": _operation("Balance", _object({"balance": NUMBER}))},
        "/api/v3/models": {"get": _operation("List the trainers", _list(_ref("Model")))},
        "/api/v3/model/price": {"post": _operation("Quote a training", quote, body=quoted)},
        "/api/v3/model/pricing": {"post": _operation("Quote, as before", quote, body=quoted)},
        "/api/v3/webhook/secret": {
            "get": _operation("What signs deliveries", _object({"secret": TEXT}))
        },
        "/api/v3/media/uploads": {
            "post": _operation("Get a ticket to upload", _ref("Ticket"), body=UPLOAD)
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "lora_prep trainer service", "version": "3"},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Prediction": PREDICTION,
                "Quote": QUOTE,
                "Model": MODEL,
                "Ticket": TICKET,
                "Error": ERROR,
            },
        },
    }


def _submission(body: Schema, prediction: Schema) -> Schema:
    operation = _operation("Submit a training", prediction, body=body)
    webhook = {"name": "webhook", "in": "query", "required": False, "schema": URL}
    return {**operation, "parameters": [webhook]}


def _operation(
    summary: str, data: Schema, *, body: Schema | None = None, path: list[str] | None = None
) -> Schema:
    """Describe one operation; `data` is what its envelope holds."""
    envelope = _object({"code": {"const": 200}, "message": {"const": "success"}, "data": data})
    operation: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": "done", "content": _json(envelope)},
            **{
                str(status): {"description": why, "content": _json(_ref("Error"))}
                for status, why in ERRORS.items()
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if path:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": TEXT} for name in path
        ]
    return operation


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
