"""What each stage of preparing a photo costs by itself: python benchmarks/stages.py

The pieces one after the other on one thread, with the project's own functions, without start,
cache, report and zip.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from photo_set import default_folder, photo_set

from lora_prep.faces import ANALYSIS_SIDE_PX, FaceAnalyser, scaled
from lora_prep.framing import crop_box
from lora_prep.inspection.fingerprints import picture_fingerprint
from lora_prep.inspection.measures import measure_face
from lora_prep.model import Framing
from lora_prep.photos import (
    FoundFile,
    open_crop,
    open_region,
    open_upright,
    power_of_two_below,
    read_photo,
)

__all__ = ["stages"]

PHOTOS = 20
SIZE_PX = 1024


def stages(paths: Sequence[Path]) -> dict[str, float]:
    """Return the CPU seconds that each stage costs a photo, in the order of the way."""
    spent: dict[str, float] = defaultdict(float)
    analyser = FaceAnalyser()
    analyser.detect(open_upright(paths[0]))  # the first picture pays for what is loaded late

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        spent[name] += (time.thread_time() - began) / len(paths)

    for path in paths:
        with timed("header and hash"):
            photo = read_photo(FoundFile(path.name, path))
        with timed("decode the small copy"):
            small = open_upright(path, least_side_px=ANALYSIS_SIDE_PX)
        with timed("detection"):
            faces = analyser.detect(small).faces
        if not faces:
            continue
        with timed("measures and hashes"):
            picture_fingerprint(small)
            measure_face(small, faces[0])
        with timed("embedding"):
            analyser.embed(small, faces[0])
        factor = max(photo.width_px, photo.height_px) / max(small.size)
        face = scaled(faces[0], factor).box
        box = crop_box(face, photo.width_px, photo.height_px, Framing.HEAD_AND_SHOULDERS)
        if box is None:
            continue
        with timed("decode for the crop"):
            open_region(photo, box, reduction=power_of_two_below(box.width / SIZE_PX))
        with timed("decode and resize"):
            square = open_crop(photo, box, SIZE_PX)
        with timed("encode"):
            square.save(io.BytesIO(), "JPEG", quality=95, subsampling=0)
    spent["resize"] = spent.pop("decode and resize") - spent["decode for the crop"]
    return dict(spent)


def main() -> None:
    paths = photo_set(PHOTOS, default_folder()).paths
    for name, seconds in stages(paths).items():
        print(f"{name:<24}{1000 * seconds:7.1f} ms")


if __name__ == "__main__":
    main()
