"""How long lora_prep takes to start: the import and the overview, beside a bare interpreter.

Promise: `import lora_prep` <= 100 ms CPU, `lora-prep --help` <= 200 ms CPU.
"""

from __future__ import annotations

import subprocess
import sys

from measure import median_cost

RUNS = 15
PROFILE_LINES = 8
BARE = [sys.executable, "-c", "pass"]
IMPORT = [sys.executable, "-c", "import lora_prep"]
HELP = [sys.executable, "-m", "lora_prep", "--help"]
COMMAND_HELP = [sys.executable, "-m", "lora_prep", "run", "--help"]


def import_profile(command: list[str]) -> list[str]:
    """Return the modules that cost most, cumulated, as `python -X importtime` tells."""
    profiled = [command[0], "-X", "importtime", *command[1:]]
    told = subprocess.run(profiled, capture_output=True, text=True, check=True).stderr
    rows = [
        line.removeprefix("import time:").split("|") for line in told.splitlines() if "|" in line
    ]
    timed = [(int(row[1]), row[2].strip()) for row in rows if row[1].strip().isdigit()]
    return [
        f"  {us / 1000:7.1f} ms  {name}" for us, name in sorted(timed, reverse=True)[:PROFILE_LINES]
    ]


def main() -> None:
    print(f"medians of {RUNS} runs         CPU       wall    peak memory    promise (CPU)")
    for name, command, promise in (
        ("python -c pass", BARE, ""),
        ("import lora_prep", IMPORT, "100 ms"),
        ("lora-prep --help", HELP, "200 ms"),
        ("lora-prep run --help", COMMAND_HELP, ""),
    ):
        one = median_cost(command, RUNS)
        print(
            f"{name:<22} {one.cpu_s * 1000:7.0f} ms {one.wall_s * 1000:7.0f} ms "
            f"{one.peak_mb:8.0f} MB    {promise:>8}"
        )
    for name, command in (("import lora_prep", IMPORT), ("lora-prep --help", HELP)):
        print(f"\n{name}: imports that cost most, what they import included")
        print("\n".join(import_profile(command)))


if __name__ == "__main__":
    main()
