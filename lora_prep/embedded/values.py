"""What callers of this room give and get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["STORE_BUCKET", "EmbeddedOptions", "Services", "ServicesStatus", "StoreServer"]

STORE_BUCKET = "lora-prep"

StoreServer = Literal["auto", "seaweedfs", "nanio"]


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """How the embedded services run; the settings section `embedded` has the same names.

    idle_s: they end this long after the last client; start_timeout_s: longest wait for their
    start; rehearsal_rank, rehearsal_blocks and rehearsal_s: shape of the rehearsal LoRA and how
    long its training takes; store_server: "auto" takes SeaweedFS where its wheel exists.
    """

    idle_s: float = 60.0
    start_timeout_s: float = 60.0
    rehearsal_rank: int = 4
    rehearsal_blocks: int = 40
    rehearsal_s: float = 2.0
    store_server: StoreServer = "auto"


@dataclass(frozen=True, slots=True)
class Services:
    """Where the running services answer, and the keys that open them."""

    store_endpoint_url: str
    store_access_key: str = field(repr=False)
    store_secret_key: str = field(repr=False)
    trainer_url: str
    trainer_key: str = field(repr=False)
    store_bucket: str = STORE_BUCKET
    store_region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class ServicesStatus:
    """A supervisor that runs now.

    ready: both services answer; held: `start_services` asked it to stay until `stop_services`;
    clients: live leases; server_pids: by "store" and "trainer".
    """

    ready: bool
    held: bool
    clients: int
    store_endpoint_url: str
    trainer_url: str
    supervisor_pid: int
    server_pids: Mapping[str, int]
