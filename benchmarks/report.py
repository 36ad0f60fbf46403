"""What the report of 60 photos costs beyond looking at them, and how large it is.

Promises: at most 1.5 s CPU, and less than 5 MB. The photos are those of `photo_set.py`, looked at
and cropped by the real command; then the same report is drawn anew, from what lies in the run's
folder, in a process of its own. Beside it the least that could be done with the same pictures:
decoding and encoding each of them once, which is what strips them of everything but pixels.
Exit status 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import cost
from photo_set import default_folder, photo_set
from PIL import Image

PHOTOS = 60
RUNS = 5
CPU_S_BAR = 1.5
MB_BAR = 5.0
LORA_PREP = [sys.executable, "-m", "lora_prep"]
DRAW = "import sys; from pipelines.runs import run_by_id as of; "
TELL = DRAW + "from pipelines.telling import tell; tell(of(sys.argv[1]))"
NOTHING = DRAW + "from pipelines.telling import tell; import jinja2, PIL.Image; of(sys.argv[1])"


def drawn(run: Path, home: str) -> tuple[float, float]:
    """Return the CPU seconds of a process that draws the report, and of one that only starts."""
    environment = {"LORA_PREP_HOME": home}
    whole, start = (
        statistics.median(
            cost([sys.executable, "-c", code, run.name], environment).cpu_s for _ in range(RUNS)
        )
        for code in (TELL, NOTHING)
    )
    return whole, start


def recoded_s(run: Path) -> tuple[int, float]:
    """Return how many pictures the page holds, and the CPU seconds to decode and encode those."""
    page = (run / "report.html").read_text(encoding="utf-8")
    paths = [*(run / "crops" / "previews").iterdir(), *(run / "thumbnails").iterdir()]
    began = time.process_time()
    for path in paths:
        with Image.open(path) as image:
            image.save(io.BytesIO(), "JPEG", quality=80)
    return len(re.findall("<img ", page)), time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    count = parser.parse_args().photos
    folder = photo_set(count, default_folder()).folder
    with tempfile.TemporaryDirectory() as home:
        os.environ["LORA_PREP_DATASET__MAX_IMAGES"] = str(max(10, count))  # a crop of each
        looked = cost([*LORA_PREP, "inspect", str(folder)], {"LORA_PREP_HOME": home})
        (report,) = Path(home).glob("runs/*/report.html")
        run = report.parent
        record = json.loads((run / "run.json").read_text())
        cpu_s, start_s = drawn(run, home)
        pictures, least_s = recoded_s(run)
        size_mb = report.stat().st_size / 1e6
    beyond_s = cpu_s - start_s
    print(
        f"{count} photos, {record['inspection']['selected']} kept, {pictures} pictures in the page"
    )
    print(f"looking at the photos, cropping, report      {looked.cpu_s:6.2f} s CPU")
    print(f"the report alone, drawn from the run's folder {beyond_s:5.2f} s CPU (bar {CPU_S_BAR})")
    print(f"  and the start of a process to draw it       {start_s:5.2f} s CPU")
    print(f"decoding and encoding its pictures once       {least_s:5.2f} s CPU")
    print(f"size of the page                              {size_mb:5.2f} MB (bar {MB_BAR})")
    sys.exit(beyond_s > CPU_S_BAR or size_mb >= MB_BAR)


if __name__ == "__main__":
    main()
