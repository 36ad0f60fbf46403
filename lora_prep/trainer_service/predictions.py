"""Submit, result, list, cancel, delete, progress, and the outputs."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from lora_prep.trainer_service.links import Link
from lora_prep.trainer_service.listing import parse_list_query
from lora_prep.trainer_service.protocol import BadRequest, TaskCode, success_envelope
from lora_prep.trainer_service.requests import origin_of, owner_of, read_object
from lora_prep.trainer_service.service import NoBalance, TrainerService
from lora_prep.trainer_service.tasks import Task

__all__ = ["FileLink", "PredictionHandlers"]

MAX_DELETED = 1000  # more ids than that in one request is no list that a person made


class PredictionHandlers:
    """One method for each route. The plain ones run on threads: they wait for the disk."""

    def __init__(self, service: TrainerService) -> None:
        self._service = service

    async def submit(self, request: Request) -> Response:
        """Accept a training."""
        parameters = await read_object(request)
        try:
            task = await run_in_threadpool(
                self._service.accept,
                owner_of(request),
                request.url.path.removeprefix("/api/v3/"),
                parameters,
                webhook=request.query_params.get("webhook", ""),
                origin=self._origin(request),
            )
        except NoBalance as error:
            raise HTTPException(403, "the balance does not cover the price") from error
        return self._answer(request, task)

    def result(self, request: Request) -> Response:
        """Tell the state of a prediction, and its outputs."""
        task = self._find(request)
        described = self._service.describe(task, self._origin(request))
        if self._service.faults.take("unknown-status", "result"):
            described["status"] = "pending"
        return JSONResponse(success_envelope(described))

    async def list(self, request: Request) -> Response:
        """List predictions, newest first."""
        parameters = await read_object(request)
        faults = self._service.faults
        if "include_inputs" in parameters and faults.take("refuse-list-inputs", "list"):
            raise BadRequest("include_inputs is not a parameter")
        query = parse_list_query(parameters)
        with_inputs = query.with_inputs and not faults.take("no-list-inputs", "list")
        tasks, total = await run_in_threadpool(self._service.page, owner_of(request), query)
        items = [self._item(request, task, with_inputs) for task in tasks]
        return JSONResponse(success_envelope({"page": query.page, "total": total, "items": items}))

    def cancel(self, request: Request) -> Response:
        """End a training early; what has ended stays as it is."""
        return self._answer(request, self._service.cancel(self._find(request)))

    async def delete(self, request: Request) -> Response:
        """Remove predictions with their outputs."""
        ids = (await read_object(request)).get("ids")
        if ids is None:
            raise BadRequest("ids is required", TaskCode.MISSING_PARAMETER)
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise BadRequest("ids must be a list of strings")
        if len(ids) > MAX_DELETED:
            raise BadRequest(f"ids must be at most {MAX_DELETED}")
        unique = [one for one in dict.fromkeys(ids) if one.isascii()]
        deleted = await run_in_threadpool(self._service.delete, owner_of(request), unique)
        return JSONResponse(success_envelope({"deleted_count": deleted}))

    def progress(self, request: Request) -> Response:
        """Tell how far a training has come; the hosted service has no such thing."""
        task = self._find(request)
        progress = self._service.progress(task)
        return JSONResponse({"id": task.id, "status": task.status.value, "progress": progress})

    def output(self, request: Request) -> Response:
        """Hand out a result file."""
        path = self._service.open_output(Link(place="outputs", **request.path_params))
        if path is None:
            raise HTTPException(403, "the link is not valid or has expired")
        if not path.is_file():
            raise HTTPException(404, "the file is gone")
        return FileLink(path, media_type="application/octet-stream")

    def _find(self, request: Request) -> Task:
        task = self._service.find(owner_of(request), request.path_params["id"])
        if task is None:
            raise HTTPException(404, "there is no such prediction, or it is older than 7 days")
        return task

    def _answer(self, request: Request, task: Task) -> Response:
        return JSONResponse(success_envelope(self._service.describe(task, self._origin(request))))

    def _item(self, request: Request, task: Task, with_inputs: bool) -> dict[str, Any]:
        item = self._service.describe(task, self._origin(request))
        return {**item, "inputs": dict(task.inputs)} if with_inputs else item

    def _origin(self, request: Request) -> str:
        return origin_of(request, self._service.options.public_url)


class FileLink(FileResponse):
    """Ranges, ETag and Content-Length are Starlette's; the step is larger than its 64 kB.

    Each step is a trip to a thread: with 1 MB a 307 MB file leaves several times faster.
    """

    chunk_size = 1024**2
