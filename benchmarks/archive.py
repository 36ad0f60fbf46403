"""What archiving a LoRA costs: 307 MB, rank 32, from and to a real S3 server on this machine.

Promises: download + hash at 0.6 of http.client's + the same hash, upload at 0.45 of http.client's,
to the same server, medians of paired runs; at most 80 MB of extra memory for the whole archive;
the header in 50 ms; SHA-256 and the look at every number in 1.5 times SHA-256 alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from lora_prep.embedded import EmbeddedOptions, stop_services, use_services
from lora_prep.stores import S3Store, StoreAccess
from lora_prep.trainer_service.lora import write_zero_lora

RUNS = int(os.environ.get("RUNS", "7"))
TRANSFER = Path(__file__).with_name("transfer.py")
Taken = dict[str, float]


def measure(mode: str, values: dict[str, Any]) -> Taken:
    done = subprocess.run(
        [sys.executable, str(TRANSFER), mode, json.dumps(values)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    taken: Taken = json.loads(done.stdout)
    return taken


def paired(ours: str, peer: str, values: Any, field: str = "seconds") -> tuple[float, float, float]:
    """Return both medians and the median of the pairs' ratios, peer to ours; first one warms up."""
    pairs = []
    for number in range(RUNS + 1):
        # Taken in turn, so that neither is always the second one.
        order = (ours, peer) if number % 2 else (peer, ours)
        taken = {mode: measure(mode, values(f"{mode}-{number}"))[field] for mode in order}
        pairs.append((taken[ours], taken[peer]))
    pairs = pairs[1:]
    mine, theirs = (statistics.median(one) for one in zip(*pairs, strict=True))
    return mine, theirs, statistics.median(peer / our for our, peer in pairs)


def report(what: str, mine: float, theirs: float, ratio: float, size_mb: float, bar: float) -> None:
    rate = f"{size_mb / mine:6.0f} MB/s {size_mb / theirs:8.0f} MB/s"
    print(f"{what:<28} {rate}   {ratio:5.2f}   >= {bar}   {'ok' if ratio >= bar else 'MISSED'}")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = folder / "source.safetensors"
        write_zero_lora(source, rank=32, blocks=40, seed=1, metadata={"rehearsal": "true"})
        try:
            with use_services(folder / "home", EmbeddedOptions(rehearsal_rank=1)) as services:
                access = StoreAccess(
                    bucket=services.store_bucket,
                    endpoint_url=services.store_endpoint_url,
                    region=services.store_region,
                    access_key=services.store_access_key,
                    secret_key=services.store_secret_key,
                )
                transfers(source, folder, access)
        finally:
            stop_services(folder / "home")
        numbers(source)


def transfers(source: Path, folder: Path, access: StoreAccess) -> None:
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_mb = source.stat().st_size / 1e6
    store = S3Store(access)
    store.put_file(source, "origin", sha256=sha256, content_type="a/b")
    url = store.presign("origin", timedelta(hours=2)).url
    made: list[str] = []

    def values(name: str) -> dict[str, Any]:
        for key in made:  # one copy at a time: the disk is not what is measured
            store.delete(key)
        made[:] = [name]
        for old in folder.glob("part-*"):
            old.unlink()
        put_url = store.client.generate_presigned_url(
            "put_object", Params={"Bucket": access.bucket, "Key": name}
        )
        return {
            "url": url, "put_url": put_url, "path": str(folder / f"part-{name}"), "key": name,
            "source": str(source), "sha256": sha256, "access": dataclasses.asdict(access),
        }  # fmt: skip

    print(f"{size_mb:.1f} MB, medians of {RUNS} paired runs")
    print(f"{'':<28} {'ours':>11} {'http.client':>13}   ratio")
    with plain_server(source) as plain:
        fast = paired("our_download", "peer_download", lambda name: {**values(name), "url": plain})
    report("download + hash, http.server", *fast, size_mb, 0.6)
    report("download + hash, S3", *paired("our_download", "peer_download", values), size_mb, 0.6)
    report("upload", *paired("our_upload", "peer_upload", values), size_mb, 0.45)
    whole = [
        measure("our_archive", {**values(f"whole-{number}"), "path": str(folder / f"w{number}")})
        for number in range(3)
    ]
    seconds = statistics.median(one["seconds"] for one in whole)
    extra = max(one["extra_mb"] for one in whole)
    print(
        f"download, check, upload, read back: {seconds:.1f} s, {extra:.0f} MB extra memory; "
        f"promise: at most 80 MB   {'ok' if extra <= 80 else 'MISSED'}"
    )


@contextmanager
def plain_server(source: Path) -> Iterator[str]:
    """Python's own file server, several times as fast as the S3 server: the harder comparison."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--directory", str(source.parent)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}/{source.name}"
    finally:
        server.terminate()
        server.wait()


def numbers(source: Path) -> None:
    values = {"source": str(source)}
    header = statistics.median(measure("our_header", values)["seconds"] for _ in range(RUNS)) * 1e3
    print(f"header check: {header:.1f} ms; promise: 50 ms   {'ok' if header <= 50 else 'MISSED'}")
    for mode, words in (
        ("our_scan", "sha256 + every number"),
        ("our_scan_and_tensor_hash", "  + a hash of the tensors"),
    ):
        cpu = paired(mode, "peer_hash", lambda _: values, "cpu_s")
        wall = paired(mode, "peer_hash", lambda _: values)
        verdict = ("ok" if 1 / cpu[2] <= 1.5 else "MISSED") if mode == "our_scan" else ""
        print(
            f"{words:<26} {1 / cpu[2]:.2f} x the CPU and {1 / wall[2]:.2f} x the time of sha256 "
            f"alone ({cpu[1]:.2f} s)   {verdict}".rstrip()
        )
    print("promise for the first: 1.5 x; the second runs on another core")


if __name__ == "__main__":
    main()
