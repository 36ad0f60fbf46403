"""The trainer service under load: 200 clients that poll, 10,000 stored tasks that are listed.

Promise: no request of 200 concurrent pollers fails, and a page of 100 out of 10,000 tasks takes
under 50 ms (p95), also while 200 clients poll once a second, as the official SDK does. Peer, in the
same run: `/_service/ready` of the same server, which does nothing; what a request costs beyond that
is the service's own. The last row is 200 clients without any patience: how much it can bear.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lora_prep.model import PredictionStatus
from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.options import owner_of_key
from lora_prep.trainer_service.state import open_state_folder
from lora_prep.trainer_service.tasks import Task, TaskTable

KEY = "benchmark-key"
TASKS = 10_000
POLLERS = 200
POLL_S = 10.0
LIST_MS = 50.0
LISTS = 100
START_S = 30.0
MODEL = "wavespeed-ai/wan-14b-trainer"


@dataclass(frozen=True)
class Times:
    """Seconds of each request of one kind, and how many failed."""

    seconds: list[float]
    failed: int

    def row(self, name: str, wall_s: float) -> str:
        """Return a line of the table."""
        ranked = sorted(self.seconds)
        p50, p95, p99 = (ranked[int(len(ranked) * part)] * 1000 for part in (0.5, 0.95, 0.99))
        rate = len(ranked) / wall_s
        return (
            f"{name:<34}{len(ranked):>8}{rate:>9.0f}{p50:>9.1f}{p95:>9.1f}{p99:>9.1f}"
            f"{ranked[-1] * 1000:>9.1f}{self.failed:>8}"
        )


def fill(folder: Path) -> list[str]:
    """Put finished tasks of the last six days into a state folder; return their ids."""
    state = open_state_folder(folder)
    database = Database(state.database)
    table = TaskTable(database)
    now, owner = datetime.now(UTC), owner_of_key(KEY)
    ids = [f"{number:032x}" for number in range(TASKS)]
    for number, task_id in enumerate(ids):
        inputs = {"data": f"https://bucket.test/{task_id}/set.zip", "trigger_word": "p3r5on"}
        created_at = now - timedelta(days=6) * (number / TASKS)
        output = (f"{task_id}-u0.safetensors",)
        table.add(
            Task(
                task_id,
                owner,
                MODEL,
                {**inputs, "steps": 2000},
                output,
                created_at,
                status=PredictionStatus.COMPLETED,
            )
        )
    database.close()
    return ids


def start(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start the service on a free port and wait until it says which."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lora_prep.trainer_service", "--state-folder", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WAVESPEED_API_KEY": KEY},
    )
    assert process.stderr
    for line in process.stderr:
        if "trainer service" in line:
            return process, int(line.rpartition(":")[2])
    raise SystemExit("the service did not start")


class Client:
    """One keep-alive connection; sockets by hand, so that the client costs less than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request and return status and body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0])
        return int(answer.split(maxsplit=2)[1]), await reader.readexactly(length)

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()


async def measure(ask: Callable[[], Awaitable[tuple[int, bytes]]], times: Times) -> Times:
    """Add one request to the times."""
    began = time.perf_counter()
    status, body = await ask()
    times.seconds.append(time.perf_counter() - began)
    good = status == 200 and json.loads(body)
    return times if good else Times(times.seconds, times.failed + 1)


async def poll(port: int, ids: list[str], until: float, pause_s: float) -> Times:
    """Ask for one result after another."""
    client, times = Client(port), Times([], 0)
    await asyncio.sleep(random.random() * pause_s)  # nobody starts all at the same moment
    for task_id in ids:
        if time.perf_counter() >= until:
            break
        path = f"/api/v3/predictions/{task_id}/result"
        times = await measure(lambda path=path: client.ask("GET", path), times)
        await asyncio.sleep(pause_s)
    client.close()
    return times


async def repeat(port: int, method: str, path: str, body: bytes, count: int) -> Times:
    """Send the same request again and again over one connection."""
    client, times = Client(port), Times([], 0)
    for _ in range(count):
        times = await measure(lambda: client.ask(method, path, body), times)
    client.close()
    return times


async def campaign(port: int, ids: list[str]) -> list[Times]:
    """Print the table as it comes, and return the times."""
    listing = json.dumps({"page": TASKS // 200, "page_size": 100, "include_inputs": True}).encode()
    list_path = "/api/v3/predictions"
    began = time.perf_counter()
    ready = await repeat(port, "GET", "/_service/ready", b"", 1000)
    print(ready.row("ready, alone (the peer)", time.perf_counter() - began))
    began = time.perf_counter()
    one = await repeat(port, "GET", f"/api/v3/predictions/{ids[0]}/result", b"", 1000)
    print(one.row("result, alone", time.perf_counter() - began))
    began = time.perf_counter()
    alone = await repeat(port, "POST", list_path, listing, LISTS)
    print(alone.row("page 50 of 100 tasks, alone", time.perf_counter() - began))

    polls, meanwhile = await asyncio.gather(
        poll_together(port, ids, pause_s=1.0), repeat(port, "POST", list_path, listing, LISTS)
    )
    print(polls.row(f"result, {POLLERS} poll once a second", POLL_S))
    print(meanwhile.row("page 50, meanwhile", POLL_S))
    flat_out = await poll_together(port, ids, pause_s=0.0)
    print(flat_out.row(f"result, {POLLERS} flat out", POLL_S))
    return [alone, meanwhile, polls, flat_out]


async def poll_together(port: int, ids: list[str], *, pause_s: float) -> Times:
    """Let all the pollers poll for POLL_S, each through tasks of its own."""
    until = time.perf_counter() + POLL_S
    step = TASKS // POLLERS
    pollers = (poll(port, ids[at:] + ids, until, pause_s) for at in range(0, TASKS, step))
    polls = await asyncio.gather(*pollers)
    seconds = [one for times in polls for one in times.seconds]
    return Times(seconds, sum(times.failed for times in polls))


def main() -> int:
    """Fill, start, measure, compare with the promise; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        ids = fill(state)
        process, port = start(state)
        try:
            print(
                f"{'':<34}{'requests':>8}{'a s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
                f"{'most ms':>9}{'failed':>8}"
            )
            alone, meanwhile, *polls = asyncio.run(campaign(port, ids))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    lists = {"alone": alone, f"while {POLLERS} poll": meanwhile}
    kept = not any(times.failed for times in (*lists.values(), *polls))
    print()
    for name, times in lists.items():
        listed_ms = statistics.quantiles(times.seconds, n=20)[-1] * 1000
        kept = kept and listed_ms < LIST_MS
        print(
            f"100 out of {TASKS:,} tasks, {name}: p95 {listed_ms:.1f} ms (limit {LIST_MS:.0f} ms)"
        )
    asked = sum(len(times.seconds) for times in polls)
    print(f"{POLLERS} pollers: {sum(times.failed for times in polls)} of {asked} requests failed")
    print("kept" if kept else "NOT KEPT")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
