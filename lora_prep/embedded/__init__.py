"""The S3 server and the trainer service that run on this machine when there is no account.

    values      what callers give and get          wiring      ports and keys, kept across runs
    folder      where everything lies              locks       flock, and the clients' leases
    seaweedfs, nanio, trainer   the servers        servers     which of them run
    certificates  what closes SeaweedFS's gRPC ports to other accounts of this machine
    supervisor  the process that owns them         clients     starting, using and stopping it

One supervisor per home owns both servers. Commands share it through leases; it ends by itself when
the last lease has been gone for a while. Whoever is killed, at whatever point, the next command
finds out by a lock and puts it right.
"""

from lora_prep.embedded.clients import (
    services_status,
    start_services,
    stop_services,
    use_services,
)
from lora_prep.embedded.locks import Lock, is_held
from lora_prep.embedded.values import (
    STORE_BUCKET,
    EmbeddedOptions,
    Services,
    ServicesStatus,
    StoreServer,
)

__all__ = [
    "STORE_BUCKET",
    "EmbeddedOptions",
    "Lock",
    "Services",
    "ServicesStatus",
    "StoreServer",
    "is_held",
    "services_status",
    "start_services",
    "stop_services",
    "use_services",
]
