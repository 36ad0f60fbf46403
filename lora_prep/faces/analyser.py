"""Find the faces of a picture and tell them apart, with insightface on onnxruntime.

The default pack lies beside this file: YuNet finds the faces, a dlib ResNet tells people apart.
Both are free for commercial use and need no network.

insightface and OpenCV cost one second of CPU to import, so that happens when the first analyser
is made and not before.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import threading
import warnings
from dataclasses import dataclass, replace
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

from lora_prep.errors import ConfigurationError
from lora_prep.faces.packs import OPEN_PACK, FacePack, verify_pack
from lora_prep.model import Box, Face
from lora_prep.opencv import imported_late, load_opencv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Bgr = NDArray[np.uint8]  # (height, width, 3)

__all__ = ["ANALYSIS_SIDE_PX", "Detection", "FaceAnalyser", "scaled"]

DETECTION_SIDE_PX = 640
"""Longer side of what the detector sees; the picture is fitted into it."""

STRIDE_PX = 32
"""The coarsest grid of SCRFD: both sides of its input are multiples of it."""

CLOSE_SIDE_PX = 320
"""The same for a second look: a face that fills the frame is found in a smaller picture."""

ANALYSIS_SIDE_PX = 1000
"""Longer side that the copy to hand in should have at least: a quarter of a 12-MP photo. The
detector sees 640 px of it; half the cost of a photo is its decoding, and this is a quarter."""

SURE_SCORE = 0.7
"""Score below which a second look is taken. Real faces score 0.83 to 0.95 (open pack)."""

UPRIGHT_SCORE = 0.88
"""Score below which the picture is looked at from the other sides too. Upright sample faces score
0.90 to 0.94, sideways 0.83 at most, upside down 0.69 to 0.91; the points stay as if upright."""

TURNED_SCORE = 0.8
"""Score that a face needs to be believed when it is found in the turned picture: bark and clouds
make faces when they are looked at from every side."""

TURNED_GAIN = 0.04
"""How much surer the face in the turned picture must be than in the upright one."""

TURNS = (90, 180, 270)

PADDING_SHARE = 0.25
"""Border for a second look, over the longer side: a face cut by the frame gets room around it."""

CPU = -1  # insightface's number for it


@dataclass(frozen=True, slots=True)
class Detection:
    """The faces of a picture, the largest first, without their embeddings.

    turned_deg: by how much the picture had to be turned clockwise (0, 90, 180 or 270) until its
    faces were upright; boxes and points are in pixels of the turned picture.
    """

    faces: tuple[Face, ...]
    turned_deg: int = 0

    @property
    def score(self) -> float:
        """The best score; 0 without a face."""
        return max((face.score for face in self.faces), default=0.0)


class FaceAnalyser:
    """Detects faces and computes their identity vectors. Make one and use it for every picture.

    Several threads may use one at the same time.
    """

    def __init__(self, pack: FacePack = OPEN_PACK) -> None:
        """Check the models of a face pack against their hashes; they are loaded when first used.

        Raises:
            ConfigurationError: the pack is incomplete or a file does not match its hash.
        """
        self.pack = pack
        self.fingerprint = verify_pack(pack)
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @property
    def key(self) -> str:
        """What its findings depend on besides the picture: the models and their threshold."""
        return f"{self.fingerprint} {self.pack.detection_threshold}"

    @property
    def _models(self) -> tuple[Any, Any]:
        """The detector and the recogniser of insightface."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self.pack)
            return self._loaded

    def detect(self, image: Image.Image) -> Detection:
        """Return the faces of an upright RGB picture.

        The first call loads the models, for a second of CPU.

        Where none is found or the detector is not sure, it looks again: at 320 px, with a border,
        and from the other three sides. Boxes and points are in pixels of `image`; `scaled` brings
        them to the source.

        Raises:
            MissingDependency: insightface or a system library that OpenCV needs is missing.
            ConfigurationError: the models cannot be loaded.
        """
        detector, _ = self._models
        bgr = _bgr(image)
        first = Detection(_detect(detector, bgr, DETECTION_SIDE_PX))
        if first.score >= UPRIGHT_SCORE:
            return first
        closer = (
            Detection(_detect(detector, bgr, CLOSE_SIDE_PX)),
            Detection(_detect_in_border(detector, bgr)),
        )
        # A face that fills the frame: 0.71 to 0.84 at first, 0.92 to 0.94 in a closer look.
        best = max((first, *closer), key=lambda attempt: attempt.score)
        turned = max(
            (
                Detection(_detect(detector, _turned(bgr, deg), DETECTION_SIDE_PX), deg)
                for deg in TURNS
            ),
            key=lambda attempt: attempt.score,
        )
        if turned.score >= max(TURNED_SCORE, best.score + TURNED_GAIN):
            return turned
        # What only a second look finds must be sure: at 0.69 it was a cheek behind a book.
        return best if best.score >= SURE_SCORE else first

    def embed(self, image: Image.Image, face: Face) -> tuple[float, ...]:
        """Return the identity vector of a face, raw; `face` is in pixels of `image`.

        The open pack gives 128 numbers whose metric is the Euclidean distance; `FacePack` says
        what distance separates two people.
        """
        import numpy as np

        _, recogniser = self._models
        from insightface.app.common import Face as Found

        found = Found(kps=np.array(face.landmarks, dtype=np.float32))
        vector = recogniser.get(_bgr(image), found)
        return tuple(float(value) for value in vector)


def _load(pack: FacePack) -> tuple[Any, Any]:
    """Load the detector and the recogniser of a pack."""
    load_opencv()
    with imported_late():
        import onnxruntime

        _import_when_used("scipy", "spatial")
        from insightface.app import FaceAnalysis  # noqa: F401  all imports are held here
    # insightface 2.1 calls a scikit-image method that is deprecated since 0.26. Set for good: to
    # set and reset it around every face is not safe with several threads.
    warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
    options = onnxruntime.SessionOptions()
    # The models are small: a second thread doubled the CPU time and made them no faster.
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    try:
        # insightface prints the providers it applies; stdout belongs to data.
        with contextlib.redirect_stdout(io.StringIO()):
            return _models(pack, options)
    except Exception as error:  # insightface, onnx and onnxruntime raise whatever they like
        raise ConfigurationError(
            f"The face pack {pack.name!r} cannot be loaded.",
            why=f"{type(error).__name__}: {error}.",
            fix=pack.remedy,
        ) from error


def _import_when_used(package: str, name: str) -> None:
    """Let a package's module be imported by the first who uses anything of it.

    scikit-image imports scipy.spatial for transforms that insightface never asks for: 0.25 s of CPU
    and 25 MB.
    """
    full_name = f"{package}.{name}"
    spec = find_spec(full_name)
    if full_name in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[full_name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    setattr(sys.modules[package], name, module)


def _models(pack: FacePack, options: Any) -> tuple[Any, Any]:
    from insightface.app import FaceAnalysis
    from insightface.model_zoo import get_model

    how = {"providers": ["CPUExecutionProvider"], "sess_options": options}
    size = (DETECTION_SIDE_PX, DETECTION_SIDE_PX)
    if pack.models is None:
        tasks = ["detection", "recognition"]
        analysis = FaceAnalysis(str(pack.folder.resolve()), allowed_modules=tasks, **how)
        analysis.prepare(ctx_id=CPU, det_thresh=pack.detection_threshold, det_size=size)
        return analysis.det_model, analysis.models["recognition"]
    # Without a manifest FaceAnalysis would load every model of the folder and drop most again.
    detector, recogniser = (
        get_model(str(pack.folder / model.name), **how) for model in pack.models
    )
    if (detector.taskname, recogniser.taskname) != ("detection", "recognition"):
        raise ValueError("the two files are not a detector and a recogniser")
    detector.prepare(CPU, input_size=size, det_thresh=pack.detection_threshold)
    recogniser.prepare(CPU)
    return detector, recogniser


def _detect(detector: Any, bgr: Bgr, side_px: int) -> tuple[Face, ...]:
    height, width = bgr.shape[:2]
    if max(height, width) > side_px * min(height, width):
        return ()  # fitted into the detector's square it would be less than a pixel wide
    boxes, points = detector.detect(bgr, input_size=_input_size(width, height, side_px))
    faces = [_to_face(box, kps) for box, kps in zip(boxes, points, strict=True)]
    faces = [face for face in faces if _is_seen(face.box, width, height)]
    return tuple(sorted(faces, key=lambda face: (-face.box.height, face.box.x, face.box.y)))


def _input_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Return the smallest size the detector takes that the picture fits into, its longer side full.

    The rest of a square would be black: a quarter of the work for a photo of 4 to 3.
    """
    longer = max(width, height)
    fitted = [
        math.ceil(side_px * side / longer / STRIDE_PX) * STRIDE_PX for side in (width, height)
    ]
    return fitted[0], fitted[1]


def _is_seen(box: Box, width: int, height: int) -> bool:
    """Return whether the middle of a box lies in the picture: half a face cannot be measured."""
    return 0 <= box.x + box.width / 2 < width and 0 <= box.y + box.height / 2 < height


def _detect_in_border(detector: Any, bgr: Bgr) -> tuple[Face, ...]:
    import cv2

    border = math.ceil(PADDING_SHARE * max(bgr.shape))
    wider: Bgr = cv2.copyMakeBorder(  # type: ignore[assignment]
        bgr, border, border, border, border, cv2.BORDER_CONSTANT, value=(127, 127, 127)
    )
    found = (_moved(face, -border) for face in _detect(detector, wider, DETECTION_SIDE_PX))
    height, width = bgr.shape[:2]
    return tuple(face for face in found if _is_seen(face.box, width, height))


def scaled(face: Face, factor: float) -> Face:
    """Return the face in the pixels of a picture `factor` times as large."""
    box = face.box
    return replace(
        face,
        box=Box(box.x * factor, box.y * factor, box.width * factor, box.height * factor),
        landmarks=tuple((x * factor, y * factor) for x, y in face.landmarks),
    )


def _moved(face: Face, by_px: float) -> Face:
    return replace(
        face,
        box=replace(face.box, x=face.box.x + by_px, y=face.box.y + by_px),
        landmarks=tuple((x + by_px, y + by_px) for x, y in face.landmarks),
    )


def _bgr(image: Image.Image) -> Bgr:
    import cv2
    import numpy as np

    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)  # type: ignore[return-value]


def _turned(bgr: Bgr, deg: int) -> Bgr:
    """Return a copy turned clockwise."""
    import numpy as np

    return np.ascontiguousarray(np.rot90(bgr, -deg // 90))


def _to_face(box: NDArray[np.float32], points: NDArray[np.float32]) -> Face:
    left, top, right, bottom, score = (float(value) for value in box)
    return Face(
        box=Box(left, top, right - left, bottom - top),
        score=score,
        landmarks=tuple((float(x), float(y)) for x, y in points),
    )
