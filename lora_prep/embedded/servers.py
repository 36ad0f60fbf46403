"""A server the supervisor runs, and how to see that it is up."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lora_prep.embedded.wiring import LOOPBACK

__all__ = ["PROBE_TIMEOUT_S", "Server", "is_up"]

PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """One child process.

    command: world-readable while it runs, so never with a key; environment: added to the child's,
    readable by its owner alone; ready_path answers ready_status once it serves; sockets: files
    it leaves outside our folder when it is killed; fetches: whether it asks other machines, and so
    may need the user's proxy.
    """

    name: Literal["store", "trainer"]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    port: int
    ready_path: str
    ready_status: int
    sockets: tuple[Path, ...] = ()
    fetches: bool = False


def is_up(server: Server) -> bool:
    """Whether the server answers as it does when it is ready."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", server.ready_path)
        return connection.getresponse().status == server.ready_status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
