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
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from lora_prep.errors import ConfigurationError
from lora_prep.trainer_service.app import create_app
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.keys import API_KEY_VARIABLE, given_keys
from lora_prep.trainer_service.lora import WAN_14B_BLOCKS
from lora_prep.trainer_service.options import ServiceOptions
from lora_prep.trainer_service.rehearsal import rehearse
from lora_prep.trainer_service.service import utc_now
from lora_prep.trainer_service.state import open_state_folder

__all__ = ["Settings", "end_with_parent", "serve"]

logger = logging.getLogger(__name__)

GRACE_S: Final = 1  # for answers under way at the end; a download begins again with Range
PARENT_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says: where to listen, what a rehearsal makes, what to charge.

    keys_file: one key a line, None for the environment's or the kept one; clock_offset_s: how far
    ahead of the real time the service lives.
    """

    state_folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    rank: int = 4
    blocks: int = WAN_14B_BLOCKS
    seconds: float = 2.0
    keys_file: Path | None = None
    public_url: str = ""
    tasks_at_once: int = 3
    price_usd: float = 0.0
    balance_usd: float = 0.0
    clock_offset_s: float = 0.0
    faults: tuple[str, ...] = ()


def serve(settings: Settings) -> None:
    """Serve rehearsals until SIGTERM or SIGINT. Port 0 takes a free one.

    Raises:
        ConfigurationError: a public address without a key, a port that is taken, a folder that
            cannot be used, a fault that is none.
    """
    faults = FaultScript(settings.faults)
    address = _address(settings.host)
    public = not ipaddress.ip_address(address).is_loopback
    given, place = given_keys(settings.keys_file)
    if public and not given:
        raise ConfigurationError(
            f"The trainer service does not listen on {settings.host} without a key.",
            why="Others can reach that address; nobody has said who may submit there.",
            fix=f"Set {API_KEY_VARIABLE}, or give --keys-file with one key a line.",
        )
    with _listen(address, settings.port) as listener:
        try:
            state = open_state_folder(settings.state_folder)
            keys = given or (state.api_key(),)
        except OSError as error:
            raise ConfigurationError(
                f"The state folder {settings.state_folder} cannot be used.",
                why=f"{error.strerror or error}.",
                fix="Give a folder that you may write to with --state-folder.",
            ) from error
        offset = timedelta(seconds=settings.clock_offset_s)
        app = create_app(
            state,
            ServiceOptions(
                api_keys=keys,
                closed=public,
                public_url=settings.public_url.rstrip("/"),
                tasks_at_once=settings.tasks_at_once,
                price_usd=settings.price_usd,
                balance_usd=settings.balance_usd,
            ),
            functools.partial(
                rehearse, rank=settings.rank, blocks=settings.blocks, seconds=settings.seconds
            ),
            clock=lambda: utc_now() + offset,
            faults=faults,
        )
        logger.info("API key: %s", place or f"in the file {state.key_file}")
        if public:
            logger.warning("keys travel in the clear here: put a proxy that speaks https in front")
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
        proxy_headers=False,  # nobody has said which proxy to believe; --public-url says it
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"The trainer service cannot listen on {address} port {port}.",
            why=f"{error.strerror or error}.",
            fix="Give another --port; 0 takes a free one.",
        ) from error


def _address(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError as error:  # a name: where it leads is not known before it is asked
        raise ConfigurationError(
            f"The trainer service cannot listen on {host}.",
            why="It takes an address, or localhost.",
            fix="Use --host 127.0.0.1, or the address of the network card.",
        ) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
