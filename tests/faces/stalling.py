"""A server that begins an answer and never ends it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Stalling:
    url: str
    begun: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stalling(first: bytes, promised: int | None) -> Iterator[Stalling]:
    """Send `first` of `promised` bytes to whoever asks, then nothing; None: without a length."""
    listening = socket.create_server(("127.0.0.1", 0))
    served = Stalling(f"http://127.0.0.1:{listening.getsockname()[1]}")
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            held.append(client)
            client.recv(65536)
            length = "" if promised is None else f"Content-Length: {promised}\r\n"
            with suppress(OSError):  # it may have heard enough
                client.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode() + first)
            served.begun.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield served
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for client in held:
            client.close()
        thread.join()
