"""What everybody writes first: every photo decoded in full, analysed in full, cropped in full.

python naive.py PACK FOLDER OUT: the same models, the same square, the same JPEG, one photo after
the other; no verdicts, no choice, no duplicates, no report. `prepare.py` runs it beside ours.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import onnxruntime
from insightface.app import FaceAnalysis
from PIL import Image, ImageOps

SIDE_PX = 1024
BOX_PER_FACE, CENTRE_UP = 2.2, 0.08  # head and shoulders, as ours


def main() -> None:
    pack, photos, out = (Path(argument) for argument in sys.argv[1:])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with contextlib.redirect_stdout(io.StringIO()):
        analysis = FaceAnalysis(
            str(pack),
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
            sess_options=options,
        )
        analysis.prepare(ctx_id=-1, det_thresh=0.6, det_size=(640, 640))
    for path in sorted(photos.iterdir()):
        crop_photo(path, out, analysis)


def crop_photo(path: Path, out: Path, analysis: Any) -> None:
    """Crop the largest face of a photo, with its identity vector computed and thrown away."""
    import numpy as np

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    faces = analysis.get(np.ascontiguousarray(np.asarray(upright)[..., ::-1]))
    if not faces:
        return
    largest = max((tuple(face.bbox.tolist()) for face in faces), key=_height)
    x, y, side = square_around(largest, upright.size)
    square = upright.crop((x, y, x + side, y + side))
    if side > SIDE_PX:
        square = square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    square.info.clear()
    square.save(out / path.name, "JPEG", quality=95, subsampling=0)


def square_around(edges: tuple[float, ...], size: tuple[int, int]) -> tuple[int, int, int]:
    """Return left, top and side of the square around a face: left, top, right and bottom."""
    left, top, right, bottom = edges
    side = int(min(BOX_PER_FACE * (bottom - top), *size))
    middle = (top + bottom) / 2 - CENTRE_UP * (bottom - top)
    x = min(max(round((left + right - side) / 2), 0), size[0] - side)
    y = min(max(round(middle - side / 2), 0), size[1] - side)
    return x, y, side


def _height(box: tuple[float, ...]) -> float:
    return box[3] - box[1]


if __name__ == "__main__":
    main()
