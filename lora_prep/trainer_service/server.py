"""The service as a process: its socket, its key, its logging, its end."""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from lora_prep.errors import ConfigurationError
from lora_prep.trainer_service.app import create_app
from lora_prep.trainer_service.rehearsal import rehearse
from lora_prep.trainer_service.state import StateFolder, open_state_folder

__all__ = ["end_with_parent", "serve"]

logger = logging.getLogger(__name__)

API_KEY_VARIABLE: Final = "WAVESPEED_API_KEY"  # the name every official client reads
GRACE_S: Final = 1  # for answers under way at the end; a download begins again with Range
PARENT_POLL_S: Final = 0.5


def serve(
    state_folder: Path, *, host: str, port: int, rank: int, blocks: int, seconds: float
) -> None:
    """Serve rehearsals until SIGTERM or SIGINT. Port 0 takes a free one.

    Raises:
        ConfigurationError: the host is not loopback, the port is taken, the folder cannot be used.
    """
    with _listen(host, port) as listener:
        try:
            state = open_state_folder(state_folder)
            api_key, key_place = _api_key(state)
        except OSError as error:
            raise ConfigurationError(
                f"The state folder {state_folder} cannot be used.",
                why=f"{error.strerror or error}.",
                fix="Give a folder that you may write to with --state-folder.",
            ) from error
        train = functools.partial(rehearse, state=state, rank=rank, blocks=blocks, seconds=seconds)
        app = create_app(state, api_key=api_key, train=train)
        logger.info("API key: %s", key_place)
        logger.info("trainer service (rehearsal) on %s", _url(listener))
        _run(app, listener)


def _run(app: ASGIApp, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        access_log=False,  # its lines would hold the signatures of output links
        log_config=None,
        log_level=logging.WARNING,
        lifespan="on",
        ws="none",
        proxy_headers=False,  # on loopback there is no proxy to believe
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    address = _loopback_address(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"The trainer service cannot listen on {host} port {port}.",
            why=f"{error.strerror or error}.",
            fix="Give another --port; 0 takes a free one.",
        ) from error


def _loopback_address(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:  # a name: where it leads is not known before it is asked
        pass
    raise ConfigurationError(
        f"The trainer service does not listen on {host}.",
        why="It fetches any URL it is given; from a public address others could use that to reach "
        "into this network, and it has no guard against it yet.",
        fix="Use --host 127.0.0.1, and a tunnel (ssh -L) to reach it from elsewhere.",
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _api_key(state: StateFolder) -> tuple[str, str]:
    """Return the environment's key, else the kept one; and where it is, for people."""
    if key := os.environ.get(API_KEY_VARIABLE, "").strip():
        return key, f"the one in {API_KEY_VARIABLE}"
    return state.api_key(), f"in the file {state.key_file}"


def end_with_parent(parent: int) -> None:
    """End this process when `parent` is its parent no more.

    A supervisor that is killed cannot stop its children; this way none is left behind. Where a
    child keeps its parent's id for life (Windows) it has no effect.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
