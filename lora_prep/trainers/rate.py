"""A token bucket: bursts up to `burst` requests, `per_minute` of them in the long run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """Spaces the requests of all threads that share it.

    >>> TokenBucket(per_minute=600, burst=2).wait_s()
    0.0
    """

    def __init__(
        self, *, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Take a token and return how long to wait before it may be used, s."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
            self._at = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._per_s)
