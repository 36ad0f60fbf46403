"""Run a command and account for it: what the operating system says of the finished process."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cost", "cost", "median_cost"]


@dataclass(frozen=True)
class Cost:
    """CPU (user and system) and wall time of one process, s, and its peak memory, MB."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def cost(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Return what one run of a command costs, its own waited-for children included."""
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024)


def median_cost(command: Sequence[str], runs: int) -> Cost:
    """Return the medians over several runs after one that fills the caches."""
    cost(command)
    costs = [cost(command) for _ in range(runs)]
    return Cost(
        statistics.median(one.cpu_s for one in costs),
        statistics.median(one.wall_s for one in costs),
        statistics.median(one.peak_mb for one in costs),
    )
