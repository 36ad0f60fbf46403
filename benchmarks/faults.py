"""The fault campaign at length: every scripted fault alone and every pair, with kill -9 and rivals.

Promise: whatever happens, the service has accepted one task for each submission, and every run ends
archived. A run that breaks it is printed with its seed; `python -m tests.faults SEED` repeats it.
Above 500 runs, on 2 cores about a quarter of an hour.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "tests.faults", "long"], cwd=ROOT))
