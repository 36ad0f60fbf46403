"""autocrop on the same photos: python peer.py FOLDER OUT, run by an environment that has it.

It is given what suits it best: one process and one detector for all photos, where its own command
starts anew for every photo. Its face share is that of our square, its JPEG ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

from autocrop import Cropper  # type: ignore[import-not-found]  # in an environment of its own
from PIL import Image

SIDE_PX = 1024
FACE_PERCENT = 45  # 1 / 2.2, head and shoulders


def main() -> None:
    photos, out = (Path(argument) for argument in sys.argv[1:])
    cropper = Cropper(width=SIDE_PX, height=SIDE_PX, face_percent=FACE_PERCENT)
    for path in sorted(photos.iterdir()):
        cropped = cropper.crop(str(path)).image
        if cropped is not None:
            Image.fromarray(cropped).save(out / path.name, "JPEG", quality=95, subsampling=0)


if __name__ == "__main__":
    main()
