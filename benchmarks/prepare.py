"""What preparing photos costs: ours beside the naive way and autocrop, in one run.

The photos are those of `photo_set.py`. Ours is the real command, its start counted, with the
choice of the best switched off so that every usable photo is cropped. Exit status 1 when a promise
is not kept.

autocrop needs an environment of its own, since it pins another OpenCV:

    python -m venv autocrop-env && autocrop-env/bin/pip install autocrop==2.0.0
    python benchmarks/prepare.py --autocrop autocrop-env/bin/python

(or its path in AUTOCROP_PYTHON). `--growth` also prepares 1,000 photos, which takes minutes and
3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from measure import Cost, cost, median_of
from photo_set import PhotoSet, default_folder, photo_set
from stages import PHOTOS, stages

from lora_prep.faces import OPEN_PACK

HERE = Path(__file__).parent
LORA_PREP = [sys.executable, "-m", "lora_prep"]
GROWN = 1000

CPU_S_BAR = 0.20
PEER_BAR = 10.0  # times our CPU
PSS_MB_BAR = 300.0
TWO_CORES_BAR = 0.65  # of the wall time on one
CACHED_MS_BAR = 15.0
GROWTH_BAR = 1.1  # of the peak: what a tenfold set may add, given that no two runs are the same


@dataclass(frozen=True)
class Line:
    """What one way of cropping `photos` pictures cost and how many crops came out."""

    name: str
    photos: int
    crops: int
    cost: Cost

    @property
    def cpu_s(self) -> float:
        """CPU seconds for each photo it was given, cropped or not."""
        return self.cost.cpu_s / self.photos

    @property
    def wall_s(self) -> float:
        """Wall seconds for each photo it was given."""
        return self.cost.wall_s / self.photos


@dataclass(frozen=True)
class Promise:
    """A bar and what was measured against it. unit: with the sense of the bar, as "ms at most"."""

    what: str
    measured: float
    bar: float
    unit: str
    at_most: bool = True

    @property
    def kept(self) -> bool:
        """Whether the measured number is on the right side of the bar."""
        return self.measured <= self.bar if self.at_most else self.measured >= self.bar


def ours(photos: PhotoSet, home: Path, name: str, cores: Collection[int] | None = None) -> Line:
    """Prepare the photos with the real command; in a home it has used it reads its cache."""
    count = len(photos.paths)
    environment = {
        "LORA_PREP_HOME": str(home),
        "LORA_PREP_DATASET__MAX_IMAGES": str(count),
        "LORA_PREP_DATASET__WORKERS": "0",
    }
    out = home.with_suffix(".zip")
    command = [*LORA_PREP, "prepare", str(photos.folder), "-o", str(out), "--json"]
    with tempfile.TemporaryFile() as answer:
        spent = cost(command, environment, stdout=answer, cores=cores, memory=True)
        answer.seek(0)
        prepared = json.load(answer)
    _tell_left_out(prepared["inspection"]["photos"], name)
    return _told(Line(name, count, prepared["dataset"]["images"], spent))


def other(name: str, command: list[str], photos: PhotoSet) -> Line:
    """Run a script that takes a folder of photos and a folder for crops."""
    with tempfile.TemporaryDirectory() as folder:
        spent = cost([*command, str(photos.folder), folder], memory=True)
        return _told(Line(name, len(photos.paths), len(list(Path(folder).iterdir())), spent))


def _told(line: Line) -> Line:
    """Say on stderr what was measured: the whole takes a quarter of an hour."""
    print(
        f"{line.name}: {line.crops} crops, {line.cpu_s:.3f} s CPU a photo, "
        f"{line.cost.pss_mb:.0f} MB",
        file=sys.stderr,
    )
    return line


def _tell_left_out(verdicts: list[dict[str, object]], name: str) -> None:
    for verdict in verdicts:
        if verdict["verdict"] != "kept":
            print(f"{name}: {verdict['file']} is {verdict['verdict']}: {verdict['reasons']}")


def ours_in_all_ways(photos: PhotoSet, runs: int) -> tuple[Line, Line, Line]:
    """Return the medians of ours on all cores, pinned to one, and on a second run."""
    ways: tuple[list[Line], list[Line], list[Line]] = ([], [], [])
    one_core = sorted(os.sched_getaffinity(0))[:1]
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            home, pinned = Path(folder) / "home", Path(folder) / "pinned"
            ways[0].append(ours(photos, home, "ours"))
            ways[1].append(ours(photos, pinned, "ours, one core", one_core))
            ways[2].append(ours(photos, home, "ours, second run"))
    every, pinned_line, second = (_median(lines) for lines in ways)
    return every, pinned_line, second


def _median(lines: list[Line]) -> Line:
    first = lines[0]
    crops = min(line.crops for line in lines)
    return Line(first.name, first.photos, crops, median_of([line.cost for line in lines]))


def show(lines: list[Line]) -> None:
    """Print the table; the medians of ours, single runs of the others."""
    print(
        f"\n{'':<18} {'photos':>6} {'crops':>6} {'CPU s/img':>10} {'wall s/img':>11} "
        f"{'peak PSS':>9} {'peak RSS':>9} {'CPU of ours':>12}"
    )
    for line in lines:
        print(
            f"{line.name:<18} {line.photos:6} {line.crops:6} {line.cpu_s:10.3f} "
            f"{line.wall_s:11.3f} {line.cost.pss_mb:6.0f} MB {line.cost.peak_mb:6.0f} MB "
            f"{line.cpu_s / lines[0].cpu_s:11.2f}x"
        )


def show_stages(photos: PhotoSet, total_s: float) -> None:
    """Print what each stage costs by itself, and its share of the whole command."""
    print(f"\n{'stage, one thread':<32} {'CPU ms/img':>10} {'share':>6}")
    spent = stages(photos.paths[:PHOTOS])
    rest = total_s - sum(spent.values())
    for name, cpu_s in {**spent, "start, measures, zip, report": rest}.items():
        print(f"{name:<32} {1000 * cpu_s:10.1f} {100 * cpu_s / total_s:4.0f} %")


def promises(lines: dict[str, Line], cores: int) -> list[Promise]:
    """Return every promise that could be measured in this run."""
    us, pinned, second = (lines[f"ours{way}"] for way in ("", ", one core", ", second run"))
    found = [
        Promise("photos cropped", us.crops, us.photos, "at least", at_most=False),
        Promise("CPU a photo, start included", us.cpu_s, CPU_S_BAR, "s at most"),
        Promise("peak PSS of all processes", us.cost.pss_mb, PSS_MB_BAR, "MB at most"),
        Promise("second run, CPU a file", 1000 * second.cpu_s, CACHED_MS_BAR, "ms at most"),
    ]
    if cores == 2:
        ratio = us.wall_s / pinned.wall_s
        found.append(Promise("wall on 2 cores over 1", ratio, TWO_CORES_BAR, "at most"))
    if peer := lines.get("autocrop 2.0.0"):
        ratio = peer.cpu_s / us.cpu_s
        found.append(Promise("autocrop's CPU over ours", ratio, PEER_BAR, "at least", False))
    if grown := lines.get("ours, grown"):
        growth = grown.cost.pss_mb / us.cost.pss_mb
        what = f"peak PSS of {grown.photos} photos over {us.photos}"
        found.append(Promise(what, growth, GROWTH_BAR, "at most"))
    return found


def measured(wanted: argparse.Namespace) -> tuple[list[Line], PhotoSet]:
    photos = photo_set(wanted.count, wanted.folder)
    lines = list(ours_in_all_ways(photos, wanted.runs))
    naive = [sys.executable, str(HERE / "naive.py"), str(OPEN_PACK.folder)]
    lines.append(other("naive, full decode", naive, photos))
    if wanted.autocrop:
        lines.append(other("autocrop 2.0.0", [wanted.autocrop, str(HERE / "peer.py")], photos))
    else:
        print("autocrop is left out: give the python that has it (--autocrop)")
    if wanted.growth:
        with tempfile.TemporaryDirectory() as folder:
            grown = photo_set(GROWN, wanted.folder)
            lines.append(ours(grown, Path(folder) / "home", "ours, grown"))
    return lines, photos


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="photos, 10 at least")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where sets are kept")
    parser.add_argument("--runs", type=int, default=3, help="of ours; the others run once")
    parser.add_argument("--autocrop", default=os.environ.get("AUTOCROP_PYTHON"))
    parser.add_argument("--growth", action="store_true", help=f"also {GROWN} photos")
    wanted = parser.parse_args()
    lines, photos = measured(wanted)
    show(lines)
    show_stages(photos, lines[1].cpu_s)
    print()
    found = promises({line.name: line for line in lines}, len(os.sched_getaffinity(0)))
    for one in found:
        verdict = "kept" if one.kept else "NOT kept"
        print(f"{one.what:<34} {one.measured:8.3g}  {one.bar:g} {one.unit:<12} {verdict}")
    sys.exit(0 if all(one.kept for one in found) else 1)


if __name__ == "__main__":
    main()
