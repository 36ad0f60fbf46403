"""nanio: the embedded store where SeaweedFS has no wheel. Pure Python, checks signatures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.servers import Server
from lora_prep.embedded.wiring import LOOPBACK, Wiring

__all__ = ["data_folder", "is_installed", "nanio_server"]


def is_installed() -> bool:
    """Whether nanio can be run with this Python."""
    return importlib.util.find_spec("nanio") is not None


def data_folder(folder: ServicesFolder) -> Path:
    """Return where nanio keeps its data; also how its process is recognised."""
    return folder.store / "nanio"


def nanio_server(folder: ServicesFolder, wiring: Wiring) -> Server:
    """Return how to run nanio. It reads its key pair from the environment."""
    data_folder(folder).mkdir(mode=0o700, exist_ok=True)
    return Server(
        name="store",
        command=(
            *(sys.executable, "-m", "nanio", "serve"),
            *("--data-dir", str(data_folder(folder))),
            *("--host", LOOPBACK, "--port", str(wiring.ports.s3)),
            # An access log would keep the signatures of presigned URLs.
            *("--no-access-log", "--log-level", "warning"),
        ),
        environment={
            "NANIO_ACCESS_KEY": wiring.access_key,
            "NANIO_SECRET_KEY": wiring.secret_key,
        },
        port=wiring.ports.s3,
        ready_path="/",
        ready_status=403,  # it has no health page; refusing the unsigned is what it is up for
    )
