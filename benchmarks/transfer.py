"""One transfer in a process of its own, ours or the plainest possible one; prints what it took.

    python benchmarks/transfer.py MODE JSON      ->  {"seconds": ..., "extra_mb": ...}

Both begin once what they need is imported (httpx's is 0.1 s, once a process): rates are compared.
extra_mb: peak memory above what the interpreter holds then.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy  # noqa: F401  what the check needs

from lora_prep.archive import How, TrainingFacts, archive_lora, check_header, download
from lora_prep.archive.header import read_header, reading
from lora_prep.archive.scan import scan
from lora_prep.guard import Guard
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.stores import S3Store, StoreAccess

CHUNK = 1 << 20
FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, None, 10, "0")


def peer_download(values: dict[str, Any]) -> None:
    """http.client into a file, hashed on the way."""
    digest = hashlib.sha256()
    with open_request(values["url"], "GET") as response, Path(values["path"]).open("wb") as file:
        while chunk := response.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    check_same(digest.hexdigest(), values)


def our_download(values: dict[str, Any]) -> None:
    check_same(download(values["url"], Path(values["path"])), values)


def peer_upload(values: dict[str, Any]) -> None:
    """http.client with a presigned URL, one PUT."""
    with Path(values["source"]).open("rb") as file:
        open_request(values["put_url"], "PUT", file, Path(values["source"]).stat().st_size).read()


def our_upload(values: dict[str, Any]) -> None:
    store = S3Store(StoreAccess(**values["access"]))
    new = store.put_new(
        Path(values["source"]), values["key"], sha256=values["sha256"], content_type="a/b"
    )
    assert new


def our_archive(values: dict[str, Any]) -> None:
    """Download, check, upload, read back, sidecar."""
    prediction = Prediction("p1", "model", PredictionStatus.COMPLETED, (values["url"],))
    archive_lora(
        prediction,
        FACTS,
        run_id=values["key"],
        store=S3Store(StoreAccess(**values["access"])),
        folder=Path(values["path"]),
        how=How(),
    )


def peer_hash(values: dict[str, Any]) -> None:
    with Path(values["source"]).open("rb") as file:
        hashlib.file_digest(file, "sha256")


def our_scan(values: dict[str, Any]) -> None:
    path = Path(values["source"])
    scan(path, read_header(reading(path), path.stat().st_size), tensor_hash=False)


def our_scan_and_tensor_hash(values: dict[str, Any]) -> None:
    path = Path(values["source"])
    scan(path, read_header(reading(path), path.stat().st_size))


def our_header(values: dict[str, Any]) -> None:
    path = Path(values["source"])
    check_header(reading(path), path.stat().st_size)


def open_request(
    url: str, method: str, body: Any = None, length: int | None = None
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60, blocksize=CHUNK)
    headers = {} if length is None else {"Content-Length": str(length)}
    connection.request(method, f"{parts.path}?{parts.query}", body, headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    return response


def check_same(sha256: str, values: dict[str, Any]) -> None:
    assert sha256 == values["sha256"]


def main() -> None:
    mode, values = sys.argv[1], json.loads(sys.argv[2])
    run: Callable[[dict[str, Any]], None] = globals()[mode]
    Guard(closed=False).client("http://localhost", httpx.Timeout(1)).close()  # loads httpcore
    if "access" in values:
        S3Store(StoreAccess(**values["access"]))  # loads boto3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, began = time.process_time(), time.perf_counter()
    run(values)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "extra_mb": extra}))


if __name__ == "__main__":
    main()
