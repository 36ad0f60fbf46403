"""A file server on loopback that knows Range, If-Range and ETag, and fails as it is told to.

Each request takes the next fault of the list; when none is left, all is well.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reset:
    """The connection is reset after so many bytes of this answer."""

    after: int


@dataclass(frozen=True)
class Close:
    """The connection is closed, cleanly, after so many bytes of this answer."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Nothing more comes after so many bytes of this answer, and nobody hangs up."""

    after: int


@dataclass(frozen=True)
class Status:
    """Another status, with a body that is no LoRA."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Whole:
    """The whole file with status 200, whatever range was asked for."""


@dataclass(frozen=True)
class PartAs200:
    """The range that was asked for, but with status 200."""


@dataclass(frozen=True)
class WrongRange:
    """Another range than was asked for, with status 206."""


@dataclass(frozen=True)
class Gzip:
    """Compressed, though it was asked for as it is."""


@dataclass(frozen=True)
class LengthOff:
    """A Content-Length that is wrong by so much."""

    by: int


@dataclass(frozen=True)
class NewFile:
    """From here on the link leads to other bytes, with another ETag."""

    body: bytes


Fault = Reset | Close | Stall | Status | Whole | PartAs200 | WrongRange | Gzip | LengthOff | NewFile


@dataclass
class FaultOrigin:
    url: str
    body: bytes
    faults: list[Fault]
    etag: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'

    @property
    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, request by request."""
        return [headers.get("Range") for headers in self.asked]


@contextmanager
def fault_origin(body: bytes, *faults: Fault, etag: bool = True) -> Iterator[FaultOrigin]:
    served = FaultOrigin("", body, list(faults), etag)

    class Handler(_Handler):
        origin = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    origin: FaultOrigin

    def do_GET(self) -> None:
        origin = self.origin
        origin.asked.append(dict(self.headers))
        origin.paths.append(self.path)
        fault = origin.faults.pop(0) if origin.faults else None
        if isinstance(fault, NewFile):
            origin.body = fault.body
        self.close_connection = True
        if isinstance(fault, Status):
            self._answer(fault.status, fault.body, fault.headers)
            return
        with suppress(ConnectionError):
            self._serve(fault)

    def _serve(self, fault: Fault | None) -> None:
        body, headers, status = self.origin.body, dict[str, str](), 200
        begin, end = self._range(len(body))
        if begin >= len(body):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        if (begin, end) != (0, len(body)) and not isinstance(fault, Whole):
            status = 206
            if isinstance(fault, WrongRange):
                begin += 7
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(body)}"
            body = body[begin:end]
        if isinstance(fault, PartAs200):
            headers, status = {}, 200
        if isinstance(fault, Gzip):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        if self.origin.etag:
            headers["ETag"] = self.origin.tag
        self._answer(status, body, headers, fault)

    def _range(self, length: int) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range") in (None, self.origin.tag)
        if not match or not unchanged:
            return 0, length
        return int(match[1]), min(length, int(match[2]) + 1 if match[2] else length)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        off = fault.by if isinstance(fault, LengthOff) else 0
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body) + off), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if isinstance(fault, Reset | Close | Stall):
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
        else:
            self.wfile.write(body)
        if isinstance(fault, Reset):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if isinstance(fault, Stall):
            self.origin.ending.wait(30)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""
