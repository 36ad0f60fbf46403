"""What several rooms' tests share: the sample data, the real face pack, hand-made values."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path

import hypothesis
from PIL import Image

from lora_prep.faces import FaceAnalyser
from lora_prep.framing import smallest_face_px
from lora_prep.inspection import AnalysisCache, Limits, inspect_photos
from lora_prep.model import (
    Box,
    Face,
    Finding,
    Fingerprint,
    Framing,
    JudgedFace,
    Measures,
    Photo,
    Reason,
)
from lora_prep.photos import find_photos
from lora_prep.selection import Identity

SAMPLE_DATA = Path(__file__).parent.parent / "sample_data"
# Those of the defaults:
LIMITS = Limits(smallest_face_px(512, Framing.HEAD_AND_SHOULDERS), 512)
IDENTITY = Identity("euclidean", 0.6)


def examples(count: int) -> hypothesis.settings:
    """The same examples in every run: a change cannot fail on luck."""
    return hypothesis.settings(
        max_examples=count, derandomize=True, deadline=None, database=None, print_blob=False
    )


@cache
def analyser() -> FaceAnalyser:
    """The real open pack, loaded once for all tests."""
    return FaceAnalyser()


@cache
def _cache() -> AnalysisCache:
    """One for all tests of a process: nine/ and rejects/ repeat pictures of ada/."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return AnalysisCache(folder, analyser().key)


@cache
def findings(folder: str) -> tuple[Finding, ...]:
    """What inspection finds in a folder of the sample data, with the real open pack."""
    return inspect_photos(find_photos(SAMPLE_DATA / folder), analyser(), LIMITS, cache=_cache())


@cache
def textured(size: tuple[int, int]) -> Image.Image:
    """A grey picture with blotches and fine grain, as sharp and as bright as a face should be."""
    import numpy as np

    random = np.random.default_rng(1)
    width, height = size
    blotches = random.normal(128, 40, (height // 20 + 1, width // 20 + 1))
    coarse = Image.fromarray(blotches.clip(0, 255).astype(np.uint8)).resize(size)
    grain = random.normal(0, 25, (height // 3 + 1, width // 3 + 1))
    fine = np.asarray(Image.fromarray(grain.astype(np.float32)).resize(size))
    return Image.fromarray((np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)).convert("RGB")


def a_face(
    height: float = 400.0,
    *,
    x: float = 300.0,
    y: float = 200.0,
    embedding: tuple[float, ...] = (0.0,) * 128,
) -> Face:
    return Face(Box(x, y, height * 0.75, height), 0.9, ((x, y),) * 5, embedding)


def a_photo(
    name: str,
    *,
    sha256: str | None = None,
    size: tuple[int, int] = (1200, 1600),
    taken_at: datetime | None = None,
) -> Photo:
    sha256 = sha256 or hashlib.sha256(name.encode()).hexdigest()
    return Photo(name, Path("/photos") / name, sha256, 1000, "JPEG", *size, taken_at=taken_at)


def a_fingerprint(name: str) -> Fingerprint:
    """As different from that of another name as two pictures are."""
    digest = hashlib.sha256(name.encode()).digest()
    look = tuple(byte / 255 for byte in digest + digest[:16])
    return Fingerprint(digest.hex(), int.from_bytes(digest[:8]), look)


def a_judged_face(
    height: float = 400.0,
    *reasons: Reason,
    x: float = 300.0,
    y: float = 200.0,
    sharpness: float = 120.0,
    yaw_deg: float = 0.0,
    phash: int = 0,
    embedding: tuple[float, ...] = (0.0,) * 128,
) -> JudgedFace:
    measures = Measures(sharpness, 128.0, 0.0, yaw_deg)
    return JudgedFace(a_face(height, x=x, y=y, embedding=embedding), measures, phash, reasons)


def a_finding(
    name: str,
    *reasons: Reason,
    faces: tuple[JudgedFace, ...] | None = None,
    sha256: str | None = None,
    height: float = 400.0,
    size: tuple[int, int] = (1200, 1600),
    taken_at: datetime | None = None,
    fingerprint: Fingerprint | None = None,
) -> Finding:
    """A photo of one person whose face is at the same place in all of them."""
    face = a_judged_face(height, phash=a_fingerprint(f"face of {name}").phash)
    return Finding(
        name,
        a_photo(name, sha256=sha256, size=size, taken_at=taken_at),
        (face,) if faces is None else faces,
        reasons,
        fingerprint or a_fingerprint(name),
    )


def as_ordinary_user(folder: Path, action: Callable[[], str]) -> str:
    """Return what `action` returns in a child process that is not root, standing in `folder`.

    Root may read everything, so a refused permission cannot be tested as root.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            answer = action()
        except BaseException as error:  # noqa: BLE001  the parent asserts on it
            answer = f"raised {error!r}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer
