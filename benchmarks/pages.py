"""A page's app on a port of loopback, behind its guard, and how fast it answers."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import ASGIApp

from lora_prep.web.guarded import CHANGE_HEADER, Guarded, Tokens

__all__ = ["Ask", "compare", "served"]

Ask = Callable[[int], httpx.Response]
"""Asks for something; it is given the number of the run."""


@contextmanager
def served(make_app: Callable[[Tokens], ASGIApp]) -> Iterator[httpx.Client]:
    """Yield a client that was let in."""
    tokens = Tokens()
    app = Guarded(make_app(tokens), tokens, ["page"], "page")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {
        "host": "page",
        CHANGE_HEADER: tokens.change,
        "cookie": f"page={tokens.entry}",
    }
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def compare(
    questions: Mapping[str, Ask], runs: int, limit_ms: float, *, but_for: Collection[str] = ()
) -> None:
    """Print how long each answer takes, and exit where a median is beyond the limit.

    but_for: those that are shown and promise nothing. CPU is that of the server and the client.
    """
    print(f"{'':<24} {'median':>10} {'worst':>10} {'CPU':>10} {'promise':>12}")
    slow = []
    for name, ask in questions.items():
        times = []
        cpu_s = time.process_time()
        for run in range(runs):
            begun = time.perf_counter()
            answer = ask(run)
            times.append((time.perf_counter() - begun) * 1000)
            answer.raise_for_status()
        cpu_ms = (time.process_time() - cpu_s) / runs * 1000
        median = statistics.median(times)
        promise = "" if name in but_for else f"{limit_ms:g} ms"
        print(f"{name:<24} {median:7.1f} ms {max(times):7.1f} ms {cpu_ms:7.1f} ms {promise:>12}")
        if promise and median > limit_ms:
            slow.append(name)
    if slow:
        sys.exit(f"slower than {limit_ms:g} ms: {', '.join(slow)}")
