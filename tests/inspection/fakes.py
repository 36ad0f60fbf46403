"""An analyser that sees what a test says, and counts how often it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from lora_prep.faces import Detection
from lora_prep.model import Face
from tests.sample import a_face

Seen = Callable[[Image.Image], Sequence[Face]]


class FakeAnalyser:
    """Sees the same faces in every picture, or what `seen` answers."""

    fingerprint = "fake"

    def __init__(self, *faces: Face, seen: Seen | None = None, turned_deg: int = 0) -> None:
        self._seen: Seen = seen or (lambda image: faces)
        self._turned_deg = turned_deg
        self._lock = threading.Lock()
        self.sizes: list[tuple[int, int]] = []
        self.embedded: list[tuple[tuple[int, int], Face]] = []

    def detect(self, image: Image.Image) -> Detection:
        with self._lock:
            self.sizes.append(image.size)
        faces = tuple(replace(face, embedding=()) for face in self._seen(image))
        return Detection(faces, self._turned_deg)

    def embed(self, image: Image.Image, face: Face) -> tuple[float, ...]:
        with self._lock:
            self.embedded.append((image.size, face))
        return (face.box.x, face.box.height)


def one_face() -> FakeAnalyser:
    return FakeAnalyser(a_face())
