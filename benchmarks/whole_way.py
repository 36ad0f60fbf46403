"""How long the whole way takes in a fresh home, start and stop of both servers included.

Promise: `lora-prep run sample_data/people/ada` in under 40 s wall on 2 cores. Beside it, in the
same run, what nothing could undercut: copying the same bytes (zip and LoRA, each written twice and
read twice on the way) and hashing them once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from measure import Cost, cost

RUNS = 3
ADA = Path(__file__).parents[1] / "sample_data" / "people" / "ada"
LORA_PREP = [sys.executable, "-m", "lora_prep"]


def one_run() -> tuple[Cost, Cost, dict[str, float], float]:
    """Return the cost of the run and of the stop, the run's own seconds, and the limit, s."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"LORA_PREP_HOME": home}
        run = cost([*LORA_PREP, "run", str(ADA)], environment)
        stop = cost([*LORA_PREP, "store", "down"], environment)
        (record,) = Path(home).glob("runs/*/run.json")
        seconds = json.loads(record.read_text())["seconds"]
        return run, stop, seconds, copy_limit(record.parent)


def copy_limit(run: Path) -> float:
    """Return the seconds it takes to copy what the run moved, twice, and to hash it once."""
    began = time.monotonic()
    for name in ("dataset.zip", "lora/1.safetensors"):
        for number in range(2):
            shutil.copyfile(run / name, run / f"copy{number}")
        with (run / name).open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return time.monotonic() - began


def main() -> None:
    print(
        "lora-prep run, fresh home    wall      CPU*   peak*    stop   prepare upload train archive"
    )
    walls = []
    for _ in range(RUNS):
        run, stop, seconds, limit = one_run()
        walls.append(run.wall_s + stop.wall_s)
        stages = " ".join(
            f"{seconds[name]:7.2f}" for name in ("prepare", "upload", "train", "archive")
        )
        print(
            f"{'':<24} {run.wall_s:6.1f} s {run.cpu_s:6.1f} s {run.peak_mb:4.0f} MB "
            f"{stop.wall_s:5.1f} s {stages}"
        )
    print(f"median of start to stopped: {sorted(walls)[RUNS // 2]:.1f} s; promise: under 40 s")
    print(f"copying and hashing the same bytes: {limit:.2f} s")
    print("* of the command itself; the servers are processes of their own")


if __name__ == "__main__":
    main()
