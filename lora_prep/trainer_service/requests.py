"""What every handler asks of a request."""

from __future__ import annotations

from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from lora_prep.trainer_service.protocol import json_object

__all__ = ["origin_of", "owner_of", "read_object"]

MAX_BODY_BYTES: Final = 1024**2  # parameters; a data set travels by its URL


async def read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body.

    Raises:
        BadRequest: it is none.
        HTTPException: it is too long, or ended early.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413, "the body is larger than 1 MB")
    except ClientDisconnect as error:  # half a request is no submission; nobody hears this
        raise HTTPException(400, "the body ended early") from error
    return json_object(bytes(body))


def owner_of(request: Request) -> str:
    """Return whose key the request carries."""
    return str(request.state.owner)


def origin_of(request: Request, public_url: str) -> str:
    """Return what links begin with.

    Without a public URL that is the address that the client called: the one that is known to reach
    us from there.
    """
    return public_url or str(request.base_url).rstrip("/")
