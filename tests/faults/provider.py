"""The trainer of one run of the campaign: the real service, with faults, as its own process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.actors import service

__all__ = ["KEY", "Provider", "provider"]

KEY = "campaign-key-7f3a91"
START_S = 30.0
TASK = "--rank=1", "--blocks=1", "--seconds=0", "--exit-with-parent"


@dataclass(frozen=True)
class Provider:
    """Where it listens, and the account page that its owner looks at."""

    url: str
    http: httpx.Client

    def stats(self) -> dict[str, Any]:
        """Return what it counted: accepted, completed, failed."""
        return dict(self.http.get("/_service/stats").json())

    def tasks(self) -> list[str]:
        """Return the ids of all that was accepted, as the account's own page would show them."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            answer = self.http.post("/api/v3/predictions", json={"page": 1, "page_size": 100})
            try:
                return [item["id"] for item in answer.json()["data"]["items"]]
            except (ValueError, KeyError, TypeError):
                time.sleep(0.1)  # a fault that strikes at the list
        raise AssertionError("the list is never shown")


@contextmanager
def provider(
    folder: Path, faults: tuple[str, ...], environment: dict[str, str]
) -> Iterator[Provider]:
    """Start the service with its faults, and end it."""
    folder.mkdir()
    log, state = folder / "service.log", folder / "state"
    words = [f"--state-folder={state}", *TASK, *(f"--fault={fault}" for fault in faults)]
    process = service(words, environment | {"WAVESPEED_API_KEY": KEY}, log)
    try:
        url = _url(log)
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, verify=False) as http:
            yield Provider(url, http)
    finally:
        process.kill()
        process.join()


def _url(log: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if line.startswith("trainer service (rehearsal) on "):
                return line.rpartition(" ")[2]
        time.sleep(0.01)
    raise AssertionError(f"the service did not start: {log.read_text() if log.exists() else ''}")
