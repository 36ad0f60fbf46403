"""Work on several things side by side, one per core, with the results in their own order."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import cache
from typing import TypeVar

__all__ = ["core_count", "free_memory", "side_by_side"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
LARGE_BYTES = 12 * 2**20
"""Given back when freed: more than a crop of 1700 px square in Pillow's four bytes a pixel, so that
most of them and the models' tensors come from the heap again and again. Measured on two cores, CPU
and peak of 100 photos: 6 MB 0.161 s and 253 MB, 12 MB 0.151 s and 258 MB, 18 MB 0.143 s and 282 MB.
"""

TRIMMED_BYTES = 40 * 2**20
"""What may lie free at the end of the heap. Every 4 kB that is given back and asked for again costs
a page fault: with 6 and 30 MB instead of these two it was a tenth of the CPU."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def core_count() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def side_by_side(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 0,
    on_done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return `function` of every item, in the items' order.

    workers: threads, 0 is one per core; decoders and models work outside the interpreter's lock.
    `on_done` is told in the calling thread how many are done. The first exception ends it: what
    has not begun is not begun, and Ctrl-C waits for what is in hand only.
    """
    _set_up_heap()
    pool = ThreadPoolExecutor(workers or core_count())
    try:
        tasks = [pool.submit(function, item) for item in items]
        for done, task in enumerate(as_completed(tasks), start=1):
            task.result()
            if on_done:
                on_done(done)
        return [task.result() for task in tasks]
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _set_up_heap() -> None:
    """Let threads share one heap that gives large pieces back.

    By itself glibc gives every thread a heap of its own, each grows to its own peak, and with the
    first large picture that is freed it begins to keep them: 60 MB more.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, 1)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES)


def free_memory() -> None:
    """Give memory that is not used any more back to the system.

    glibc keeps what was freed in small pieces, after a folder of photos some 100 MB: this asks it
    to look through them. Elsewhere it does nothing.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
