"""OpenCV and what needs it, imported when it is first used: that takes time and may fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from lora_prep.errors import MissingDependency

__all__ = ["imported_late", "load_opencv"]

SYSTEM_LIBRARIES = "libgl1 libglib2.0-0 libx11-6"


@cache
def load_opencv() -> None:
    """Import OpenCV before its first use, and keep it to one thread: photos are the parallel thing.

    Raises:
        MissingDependency: it or a system library is missing.
    """
    with imported_late():
        import cv2
    cv2.setNumThreads(1)


@contextmanager
def imported_late() -> Iterator[None]:
    """Import inside of it; what is missing is told as an error of ours.

    Ctrl-C is held back meanwhile: OpenCV's import swallows it and reports numpy as missing instead.

    Raises:
        MissingDependency: a package or a system library is missing.
    """
    try:
        with _interrupted_afterwards():
            yield
    except ImportError as error:
        raise _missing(error) from error


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
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


def _missing(error: ImportError) -> MissingDependency:
    if ".so" in str(error):
        return MissingDependency(
            "Photos cannot be analysed: OpenCV needs a system library.",
            why=f"{error}.",
            fix=f"On Debian and Ubuntu: sudo apt-get install -y {SYSTEM_LIBRARIES}",
        )
    return MissingDependency(
        "Photos cannot be analysed: a Python package is missing.",
        why=f"{error}.",
        fix="Install lora_prep again: pip install lora_prep",
    )
