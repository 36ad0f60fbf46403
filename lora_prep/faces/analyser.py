"""Find the faces of a picture with insightface on onnxruntime, from a folder of ONNX files.

The default folder is the open pack that lies beside this file: YuNet finds the faces, a dlib
ResNet tells people apart. Both are free for commercial use and need no network. The pack's
manifest carries the SHA-256 of both files; insightface checks it before it loads them.

insightface and OpenCV cost one second of CPU to import, so that happens when the first analyser
is made and not before.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.errors import ConfigurationError, MissingDependency
from lora_prep.model import Box, Face

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FaceAnalyser"]

OPEN_PACK = Path(__file__).parent / "open_pack"

DETECTION_THRESHOLD = 0.6
"""Score, 0 to 1. Real faces score 0.83 to 0.95; at 0.5 one false face appeared (measured on the
open pack); far and half-covered faces lie around 0.7."""

DETECTION_SIDE_PX = 640
"""Side of the square the detector sees; the picture is fitted into it."""

ANALYSIS_SIDE_PX = 1600
"""Longer side of the picture to hand in: the detector sees 640 px of it, the recogniser cuts its
224 px chip from it. A face of 224 px in a 12-MP photo still covers 90 px of it."""

SYSTEM_LIBRARIES = "libgl1 libglib2.0-0 libx11-6"


class FaceAnalyser:
    """Detects faces and computes their identity vectors. Make one and use it for every picture."""

    def __init__(self, pack: Path = OPEN_PACK) -> None:
        """Load the two models of a face pack.

        Raises:
            MissingDependency: insightface or a system library that OpenCV needs is missing.
            ConfigurationError: the pack is incomplete or a file does not match its hash.
        """
        try:
            with _interrupted_afterwards():
                import onnxruntime
                from insightface.app import FaceAnalysis
        except ImportError as error:
            raise _missing(error) from error
        _check(pack)
        options = onnxruntime.SessionOptions()
        # The models are small: a second thread doubled the CPU time and made them no faster.
        options.intra_op_num_threads = 1
        try:
            # insightface prints the providers it applies; stdout belongs to data.
            with contextlib.redirect_stdout(io.StringIO()):
                self._analysis = FaceAnalysis(
                    str(pack.resolve()),
                    allowed_modules=["detection", "recognition"],
                    providers=["CPUExecutionProvider"],
                    sess_options=options,
                )
                self._analysis.prepare(
                    ctx_id=-1,  # CPU
                    det_thresh=DETECTION_THRESHOLD,
                    det_size=(DETECTION_SIDE_PX, DETECTION_SIDE_PX),
                )
        except (OSError, RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise ConfigurationError(
                f"The face pack {pack.name!r} cannot be loaded.",
                why=f"{error}.",
                fix="Install lora_prep again; its own pack must not be changed.",
            ) from error

    def analyse(self, image: Image.Image) -> tuple[Face, ...]:
        """Return the faces of an upright RGB picture, the largest first.

        Boxes and points are in pixels of `image` (`scaled` brings them to the source). The
        embedding is 128 numbers, not normalised: the open pack's metric is the Euclidean distance
        of the raw vectors, and two vectors closer than 0.6 are customarily one person (dlib).
        """
        import numpy as np

        if max(image.size) > DETECTION_SIDE_PX * min(image.size):
            return ()  # fitted into the detector's square it would be less than a pixel wide
        bgr = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # (height, width, 3) uint8
        with warnings.catch_warnings():
            # insightface 2.1 calls a scikit-image method that is deprecated since 0.26.
            warnings.simplefilter("ignore", FutureWarning)
            found = self._analysis.get(bgr)
        faces = [_to_face(face) for face in found]
        return tuple(sorted(faces, key=lambda face: (-face.box.height, face.box.x, face.box.y)))


@contextlib.contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Hold Ctrl-C back: OpenCV's import swallows it and reports numpy as missing instead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            raise KeyboardInterrupt


def _check(pack: Path) -> None:
    """Refuse a pack whose manifest or files are not there: insightface would go on without."""
    try:
        tasks = json.loads((pack / "manifest.json").read_text(encoding="utf-8"))["tasks"]
        for task in ("detection", "recognition"):
            wanted, path = tasks[task]["sha256"], pack / tasks[task]["file"]
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                    raise ValueError(f"{path.name} does not match its hash")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"The face pack {pack.name!r} cannot be loaded.",
            why=f"{type(error).__name__}: {error}.",
            fix="Install lora_prep again; its own pack must not be changed.",
        ) from error


def scaled(face: Face, factor: float) -> Face:
    """Return the face in the pixels of a picture `factor` times as large."""
    box = face.box
    return Face(
        box=Box(box.x * factor, box.y * factor, box.width * factor, box.height * factor),
        score=face.score,
        landmarks=tuple((x * factor, y * factor) for x, y in face.landmarks),
        embedding=face.embedding,
    )


def _to_face(found: Any) -> Face:
    left, top, right, bottom = (float(value) for value in found.bbox)
    return Face(
        box=Box(left, top, right - left, bottom - top),
        score=float(found.det_score),
        landmarks=tuple((float(x), float(y)) for x, y in found.kps),
        embedding=tuple(float(value) for value in found.embedding),
    )


def _missing(error: ImportError) -> MissingDependency:
    if ".so" in str(error):
        return MissingDependency(
            "Faces cannot be analysed: OpenCV needs a system library.",
            why=f"{error}.",
            fix=f"On Debian and Ubuntu: sudo apt-get install -y {SYSTEM_LIBRARIES}",
        )
    return MissingDependency(
        "Faces cannot be analysed: a Python package is missing.",
        why=f"{error}.",
        fix="Install lora_prep again: pip install lora_prep",
    )
