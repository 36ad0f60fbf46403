"""What the tests of this folder share: S3 clients, waiting, and processes of a home."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from lora_prep.embedded import EmbeddedOptions, Services, ServicesStatus, services_status
from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.processes import find_ours
from lora_prep.embedded.wiring import Wiring, load_wiring

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Small LoRAs and short waits; nanio where the kind of store does not matter: it starts faster.
WEED = EmbeddedOptions(idle_s=20, rehearsal_rank=1, rehearsal_blocks=1, rehearsal_s=0)
NANIO = EmbeddedOptions(
    idle_s=20, rehearsal_rank=1, rehearsal_blocks=1, rehearsal_s=0, store_server="nanio"
)

_CLIENT = """
import json, sys, time
from pathlib import Path
from lora_prep.embedded import EmbeddedOptions, use_services
with use_services(Path(sys.argv[1]), EmbeddedOptions(**json.loads(sys.argv[2]))) as services:
    print(services.store_endpoint_url, flush=True)
    sys.stdin.read()
"""


def s3_client(services: Services) -> S3Client:
    import boto3
    from botocore.config import Config

    style = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        # For a moment after a restart the server answers 500, until its volumes have reported: what
        # every S3 client asks again, ours too.
        retries={"mode": "standard", "total_max_attempts": 8},
        connect_timeout=5,
        read_timeout=10,
    )
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=services.store_endpoint_url,
        region_name=services.store_region,
        aws_access_key_id=services.store_access_key,
        aws_secret_access_key=services.store_secret_key,
        config=style,
    )
    return client


def put(services: Services, key: str, body: bytes) -> None:
    s3_client(services).put_object(Bucket=services.store_bucket, Key=key, Body=body)


def get(services: Services, key: str) -> bytes:
    answer = s3_client(services).get_object(Bucket=services.store_bucket, Key=key)
    return answer["Body"].read()


def unsigned_status(port: int, path: str) -> int:
    """GET without credentials; 0 when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def trainer_is_up(services: Services) -> bool:
    port = int(services.trainer_url.rpartition(":")[2])
    return unsigned_status(port, "/_service/ready") == 200


def status_of(home: Path) -> ServicesStatus:
    status = services_status(home)
    assert status is not None
    return status


def wiring_of(home: Path) -> Wiring:
    wiring = load_wiring(ServicesFolder(home / "services"))
    assert wiring is not None
    return wiring


def processes_of(home: Path) -> list[psutil.Process]:
    return find_ours(ServicesFolder(home.resolve() / "services"))


def wait_until(condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def kill(pid: int) -> None:
    """kill -9, and wait until the kernel has taken the process and its locks away."""
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def start_client(home: Path, options: EmbeddedOptions) -> subprocess.Popen[str]:
    """Start another process that uses the services until its stdin is closed."""
    import json
    from dataclasses import asdict

    return subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(home), json.dumps(asdict(options))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that a test can send Ctrl-C to it alone
    )


def first_line(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    return client.stdout.readline().strip()


def finish(client: subprocess.Popen[str]) -> None:
    client.communicate(timeout=20)
