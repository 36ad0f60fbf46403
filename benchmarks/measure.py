"""Run a command and account for it: what the operating system says of the finished process."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

__all__ = ["Cost", "cost", "median_cost", "median_of"]

SAMPLE_S = 0.05
LAST_WORDS = 2000  # bytes of what a failed command said that are shown
UNWANTED = frozenset({"PYTHONDONTWRITEBYTECODE"})


@dataclass(frozen=True)
class Cost:
    """CPU (user and system) and wall time of one process, s, and its peak memory, MB.

    pss_mb: the peak of what all its processes hold together, shared pages counted once; 0 where
    it was not asked for.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    pss_mb: float = 0.0


def cost(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    cores: Collection[int] | None = None,
    memory: bool = False,
) -> Cost:
    """Return what one run of a command costs, its own waited-for children included.

    With `cores` it may use only those. With `memory` its processes are sampled every SAMPLE_S.
    Compiled modules are kept, whatever the environment says: that is how a user runs it.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=stdout,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env={**inherited, **(environment or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        with _Sampler(process.pid, wanted=memory) as sampler:
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            end = said.read()[-LAST_WORDS:].decode(errors="replace")
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{end}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(cpu_s, wall_s, usage.ru_maxrss / 1024, sampler.peak_kb / 1024)


def median_cost(command: Sequence[str], runs: int) -> Cost:
    """Return the medians over several runs after one that fills the caches."""
    cost(command)
    return median_of([cost(command) for _ in range(runs)])


def median_of(costs: Sequence[Cost]) -> Cost:
    """Return the medians of several costs."""
    names = [field.name for field in fields(Cost)]
    return Cost(*(statistics.median(getattr(one, name) for one in costs) for name in names))


class _Sampler:
    """Keep the highest sum of PSS over a process and its descendants while the block runs."""

    def __init__(self, pid: int, *, wanted: bool) -> None:
        self.peak_kb = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample) if wanted else None

    def __enter__(self) -> _Sampler:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.peak_kb = max(self.peak_kb, sum(map(_pss_kb, _family(self._pid))))


def _family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        listed = " ".join((task / "children").read_text() for task in tasks)
    except OSError:
        return [pid]  # it has just ended
    return [pid, *(one for child in listed.split() for one in _family(int(child)))]


def _pss_kb(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0
