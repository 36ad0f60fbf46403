"""A real HTTP server on loopback that answers from a script, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One scripted answer. drop: close before answering; cut: promise more bytes than are sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    cut: int = 0


def envelope(http: int = 200, envelope_code: int = 200, **data: Any) -> Answer:
    body = {"code": envelope_code, "message": "words", "data": data}
    return Answer(http, json.dumps(body).encode())


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Origin:
    url: str
    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)


@contextmanager
def origin(*answers: Answer) -> Iterator[Origin]:
    """Serve the answers in order; the last one is repeated."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            served.requests.append(Request(self.command, self.path, dict(self.headers), body))
            answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            self.close_connection = True
            if answer.drop:
                return
            self.send_response(answer.status)
            length = len(answer.body) + answer.cut
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Origin(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> int:
    """Return a port on which nothing listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
