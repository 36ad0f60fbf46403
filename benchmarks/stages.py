"""What each stage of preparing a photo costs by itself: python benchmarks/stages.py

The pieces one after the other on one thread, without start, cache, report and zip.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from naive import SIDE_PX, square_around
from photo_set import default_folder, photo_set
from PIL import Image

from lora_prep.faces import ANALYSIS_SIDE_PX, FaceAnalyser, scaled
from lora_prep.photos import power_of_two_below

__all__ = ["stages"]

PHOTOS = 20


def stages(paths: Sequence[Path]) -> dict[str, float]:
    """Return the CPU seconds that each stage costs a photo, in the order of the way."""
    spent: dict[str, float] = defaultdict(float)
    analyser = FaceAnalyser()
    with Image.open(paths[0]) as image:
        analyser.detect(image.convert("RGB"))  # the first picture pays for what is loaded late

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[name] += (time.process_time() - began) / len(paths)

    for path in paths:
        with timed("header and hash"):
            hashlib.sha256(path.read_bytes()).digest()
            with Image.open(path) as image:
                size, orientation = image.size, image.getexif().get(0x0112, 1)
        with timed("decode the small copy"):
            small = _decoded(path, size, power_of_two_below(max(size) / ANALYSIS_SIDE_PX))
            small = _upright(small, orientation)
        with timed("detection"):
            faces = analyser.detect(small).faces
        if not faces:
            continue
        with timed("embedding"):
            analyser.embed(small, faces[0])
        factor = max(size) / max(small.size)
        face = scaled(faces[0], factor).box
        upright_size = (small.width * factor, small.height * factor)
        edges = (face.x, face.y, face.x + face.width, face.y + face.height)
        x, y, side = square_around(edges, (int(upright_size[0]), int(upright_size[1])))
        with timed("decode for the crop"):
            reduction = power_of_two_below(side / SIDE_PX)
            large = _upright(_decoded(path, size, reduction), orientation)
        with timed("crop and resize"):
            box = (x, y, x + side, y + side)
            square = large.crop(tuple(round(edge / reduction) for edge in box))
            square = square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        with timed("encode"):
            square.save(io.BytesIO(), "JPEG", quality=95, subsampling=0)
    return dict(spent)


def _decoded(path: Path, size: tuple[int, int], reduction: int) -> Image.Image:
    with Image.open(path) as image:
        image.draft("RGB", (size[0] // reduction, size[1] // reduction))
        image.load()
        return image


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}.get(orientation)
    return image.transpose(turn) if turn else image


def main() -> None:
    spent = stages(photo_set(PHOTOS, default_folder()).paths)
    for name, cpu_s in spent.items():
        print(f"{name:<24} {1000 * cpu_s:6.1f} ms")
    print(f"{'together':<24} {1000 * sum(spent.values()):6.1f} ms")


if __name__ == "__main__":
    main()
