"""Ask an app as a browser does, without a network."""

from __future__ import annotations

import asyncio

import httpx
from starlette.types import ASGIApp

__all__ = ["HOST", "asking"]

HOST = "127.0.0.1:8123"


class InProcess(httpx.BaseTransport):
    """Gives each request to the app, in a loop of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def answered() -> httpx.Response:
            answer = await self._app.handle_async_request(request)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(answered())


def asking(app: ASGIApp) -> httpx.Client:
    """Return a client that keeps cookies and follows no redirect."""
    return httpx.Client(transport=InProcess(app), base_url=f"http://{HOST}")
