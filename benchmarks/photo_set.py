"""The photos that `prepare` is measured on: N JPEGs of 12 MP and about 2.7 MB of one person.

Every picture differs from every other as a whole and in its face, so that no check for duplicates
drops one. The same seed gives the same pictures, and a smaller set is the beginning of a larger
one. Run it to make a set beforehand, or to see what is in it:

    python benchmarks/photo_set.py --count 100
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count as count_up
from pathlib import Path

import cv2
import numpy as np
import painting
from painting import Plan, draw_plan, paint, phash
from PIL import ExifTags, Image

__all__ = ["PhotoSet", "default_folder", "photo_set"]

SEED = 1
JPEG_BYTES = 2_550_000  # at least; on average 2.7 MB, what a phone writes for 12 MP
QUALITIES = (84, 86, 88, 90, 91, 92, 93, 94, 95, 96)  # in this order until the file is that large
PREVIEW_REDUCTION = 8

WHOLE_DISTANCE = 14  # bits of 64 by which the pictures differ at least; checks drop up to 10
FACE_DISTANCE = 12  # the same for the faces; checks drop up to 6, of a box of their own

FIRST_TAKEN = datetime(2026, 3, 1, 9, 0, 0)  # noqa: DTZ001  EXIF holds what the camera's clock says
PAUSE_S = (600.0, 4 * 3600.0)  # between two photos: never a burst, some dozen photos a day
SIDEWAYS_SHARE = 0.4  # of the upright ones: phones store what their sensor sees
CAMERA = ("Synthetica", "SyntheticCam 12")


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """A folder of photos."""

    folder: Path
    paths: tuple[Path, ...]


def default_folder() -> Path:
    """Return where sets are kept between runs."""
    return Path(tempfile.gettempdir()) / "lora_prep_bench"


def photo_set(count: int, root: Path, *, seed: int = SEED) -> PhotoSet:
    """Return the set of `count` photos below `root`; what is there already is not made again."""
    version = _version(seed)
    home = root / f"{seed}-{version}"
    pool, folder = home / "all", home / f"{count:04d}"
    pool.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    marker = {"seed": seed, "version": version, "count": count, "jpeg_bytes": JPEG_BYTES}
    made, paths = home / f"{count:04d}.json", [folder / _name(index) for index in range(count)]
    if not made.exists():
        _make(pool, count, seed)
        for path in paths:
            if not path.exists():
                os.link(pool / path.name, path)
        made.write_text(json.dumps(marker), encoding="utf-8")
    return PhotoSet(folder, tuple(paths))


def _version(seed: int) -> str:
    """Return a hash of everything the pictures depend on, so that an old set is not taken."""
    known = hashlib.sha256(str(seed).encode())
    sources = [painting.ADA / name for name in painting.SOURCES]
    for path in (Path(__file__), Path(painting.__file__), *sources):
        known.update(path.read_bytes())
    return known.hexdigest()[:12]


def _name(index: int) -> str:
    return f"IMG_{index + 1:04d}.jpg"


def _make(pool: Path, count: int, seed: int) -> None:
    # Not forked: OpenCV's threads exist by then, and a forked copy of it waits for them for ever.
    spawn = multiprocessing.get_context("spawn")
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, spawn, initializer=_one_thread) as workers:
        jobs = [
            workers.submit(_write, pool / _name(index), plan, taken)
            for index, (plan, taken) in enumerate(
                zip(_plans(count, seed), _times(count, seed), strict=True)
            )
            if not (pool / _name(index)).exists()
        ]
        for job in jobs:
            job.result()


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _plans(count: int, seed: int) -> list[Plan]:
    """Draw plans until each differs enough from all before it."""
    plans: list[Plan] = []
    seen = np.zeros((count, 2), np.uint64)
    for index in range(count):
        for attempt in count_up():
            plan = draw_plan((seed, index, attempt))
            hashes = np.array(_hashes(plan), np.uint64)
            distances = np.bitwise_count(seen[:index] ^ hashes)
            if (distances >= (WHOLE_DISTANCE, FACE_DISTANCE)).all():
                break
        seen[index] = hashes
        plans.append(plan)
    return plans


def _hashes(plan: Plan) -> tuple[int, int]:
    picture, (left, top, right, bottom) = paint(plan, PREVIEW_REDUCTION)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return phash(grey), phash(grey[top:bottom, left:right])


def _times(count: int, seed: int) -> list[datetime]:
    pauses = np.random.default_rng(seed).uniform(*PAUSE_S, count)
    return [FIRST_TAKEN + timedelta(seconds=int(since)) for since in np.cumsum(pauses)]


def _write(path: Path, plan: Plan, taken: datetime) -> None:
    """Write one photo. It appears complete or not at all."""
    picture, _ = paint(plan)
    rng = np.random.default_rng((*plan.seed, 4))
    orientation = 1
    if plan.height_px > plan.width_px and rng.random() < SIDEWAYS_SHARE:
        # 6: turned clockwise to be seen, so it is stored turned anticlockwise; 8 the other way.
        orientation = int(rng.choice((6, 8)))
        picture = np.ascontiguousarray(np.rot90(picture, 1 if orientation == 6 else -1))
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = CAMERA
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken:%Y:%m:%d %H:%M:%S}"
    image = Image.fromarray(picture)
    for quality in QUALITIES:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=quality, subsampling="4:2:0", exif=exif)
        if jpeg.tell() >= JPEG_BYTES:
            break
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(jpeg.getvalue())
    unfinished.rename(path)


def _describe(made: PhotoSet, seed: int) -> None:
    """Print how large the files and faces are and how much the pictures differ."""
    plans = _plans(len(made.paths), seed)
    seen = np.array([_hashes(plan) for plan in plans], np.uint64)
    apart = np.triu_indices(len(plans), 1)
    megabytes = [path.stat().st_size / 1e6 for path in made.paths]
    print(made.folder)
    print(f"{'MB a file':<24} {_spread(megabytes)}")
    print(f"{'face height, px':<24} {_spread([plan.face_px for plan in plans])}")
    for column, name in enumerate(("whole", "face")):
        bits = np.bitwise_count(seen[apart[0], column] ^ seen[apart[1], column])
        print(f"{f'bits apart, {name}':<24} {_spread(bits.tolist())}")
    print(f"{'plans thrown away':<24} {sum(plan.seed[2] for plan in plans)}")


def _spread(values: Sequence[float]) -> str:
    deciles = statistics.quantiles(values, n=10)
    return (
        f"least {min(values):.4g}, 10 % {deciles[0]:.4g}, median {deciles[4]:.4g}, "
        f"90 % {deciles[8]:.4g}, most {max(values):.4g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--seed", type=int, default=SEED)
    wanted = parser.parse_args()
    _describe(photo_set(wanted.count, wanted.folder, seed=wanted.seed), wanted.seed)


if __name__ == "__main__":
    main()
