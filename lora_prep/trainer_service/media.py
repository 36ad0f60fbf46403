"""Uploads: a ticket, the bytes, the link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from lora_prep.trainer_service.links import Link
from lora_prep.trainer_service.predictions import FileLink
from lora_prep.trainer_service.protocol import success_envelope
from lora_prep.trainer_service.requests import origin_of, read_object
from lora_prep.trainer_service.service import TrainerService
from lora_prep.trainer_service.uploads import ticket_place

__all__ = ["MediaHandlers"]


class MediaHandlers:
    """One method for each route."""

    def __init__(self, service: TrainerService) -> None:
        self._uploads = service.uploads
        self._public_url = service.options.public_url

    async def ticket(self, request: Request) -> Response:
        """Say where a file goes, with which headers, and the link that it will have."""
        parameters = await read_object(request)
        origin = origin_of(request, self._public_url)
        return JSONResponse(success_envelope(self._uploads.ticket(parameters, origin)))

    async def put(self, request: Request) -> Response:
        """Take the bytes of a ticket, no more and no fewer; afterwards the link works."""
        size, _, *rest = request.path_params.values()
        place = ticket_place(size, request.headers.get("content-type", ""))
        link = Link(place, *rest)
        path = self._uploads.place_for(link)
        if path is None or not request.url.path.startswith(f"/{place}/"):
            raise HTTPException(403, "the ticket is not valid, or its headers are missing")
        part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
        try:
            with part.open("wb") as file:
                await _receive(request, file, int(size))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return Response(status_code=200)

    def get(self, request: Request) -> Response:
        """Hand out what was uploaded."""
        path: Path | None = self._uploads.open_link(Link(place="media", **request.path_params))
        if path is None or not path.is_file():
            raise HTTPException(404, "there is no such upload, or it is older than 7 days")
        return FileLink(path, media_type="application/octet-stream")


async def _receive(request: Request, file: IO[bytes], size: int) -> None:
    left = size
    try:
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                break
            await run_in_threadpool(file.write, chunk)
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended early") from error
    if left:
        raise HTTPException(400, f"the body must have {size} bytes, as the ticket says")
