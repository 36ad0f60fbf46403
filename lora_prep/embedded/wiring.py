"""The ports and keys of the embedded services: made once, kept in `services.json`."""

from __future__ import annotations

import json
import logging
import random
import secrets
import socket
from dataclasses import asdict, dataclass, field, replace

from lora_prep.embedded.folder import ServicesFolder, write_private
from lora_prep.embedded.values import Services

__all__ = ["GRPC_OFFSET", "LOOPBACK", "Ports", "Wiring", "load_wiring", "settle_wiring"]

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
GRPC_OFFSET = 10_000  # SeaweedFS's own: its worker dials the admin port + 10000, whatever is set
# Below what Linux (32768) and macOS (49152) hand out to outgoing connections, gRPC ports included:
# otherwise any program's connection could sit on a remembered port while the services are down.
_PORTS = range(18_000, 22_768)


@dataclass(frozen=True, slots=True)
class Ports:
    """HTTP ports on loopback; those of SeaweedFS have a gRPC port `GRPC_OFFSET` above."""

    s3: int
    trainer: int
    master: int
    volume: int
    filer: int
    admin: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """Ports and keys. The JWT keys close SeaweedFS's inner ports, which nobody else needs."""

    ports: Ports
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    trainer_key: str = field(repr=False)
    jwt_keys: tuple[str, ...] = field(repr=False)

    def services(self) -> Services:
        """Return the part that clients need."""
        return Services(
            store_endpoint_url=f"http://{LOOPBACK}:{self.ports.s3}",
            store_access_key=self.access_key,
            store_secret_key=self.secret_key,
            trainer_url=f"http://{LOOPBACK}:{self.ports.trainer}",
            trainer_key=self.trainer_key,
        )


def load_wiring(folder: ServicesFolder) -> Wiring | None:
    """Return the remembered wiring; None if there is none or it cannot be read."""
    try:
        values = json.loads(folder.wiring.read_text(encoding="utf-8"))
        ports = Ports(**values.pop("ports"))
        return Wiring(ports=ports, jwt_keys=tuple(values.pop("jwt_keys")), **values)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        log.warning("%s cannot be read; new ports and keys are made", folder.wiring)
        return None


def settle_wiring(folder: ServicesFolder) -> Wiring:
    """Return the wiring to start with: the remembered one, with new ports where one is taken."""
    remembered = load_wiring(folder)
    wiring = remembered or _new_wiring()
    taken = [name for name, port in asdict(wiring.ports).items() if not _is_free(port)]
    if taken:
        log.warning("taken by another program, so chosen anew: ports of %s", ", ".join(taken))
        kept = {port for name, port in asdict(wiring.ports).items() if name not in taken}
        fresh = dict(zip(taken, _choose_ports(len(taken), avoid=kept), strict=True))
        wiring = replace(wiring, ports=replace(wiring.ports, **fresh))
    if wiring != remembered:
        write_private(folder.wiring, json.dumps(asdict(wiring), indent=1))
    return wiring


def _new_wiring() -> Wiring:
    return Wiring(
        ports=Ports(*_choose_ports(6, avoid=set())),
        access_key=secrets.token_hex(10).upper(),
        secret_key=secrets.token_hex(32),
        trainer_key=secrets.token_hex(32),
        jwt_keys=tuple(secrets.token_hex(32) for _ in range(4)),
    )


def _choose_ports(count: int, *, avoid: set[int]) -> list[int]:
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    free = (port for port in candidates if port not in avoid and _is_free(port))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    return _can_bind(port) and _can_bind(port + GRPC_OFFSET)


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: without it a port is refused for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
