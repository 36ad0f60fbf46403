"""How numbers are said to people: a time, and how far something is."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["amount", "is_amount", "span"]

DAY_S, HOUR_S, MINUTE_S = 86400, 3600, 60


def span(seconds: float | None) -> str:
    """Return a time in the two units that count; "-" where none is known.

    >>> span(93784), span(61)
    ('1 d 2 h', '1 min 1 s')
    """
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    days, hours = divmod(whole // HOUR_S, DAY_S // HOUR_S)
    if days:
        return f"{days} d {hours} h"
    minutes = whole // MINUTE_S % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def amount(done: int | None, total: int | None, unit: str) -> str:
    """Return how far an event is, in its unit; "" where that is not known.

    >>> amount(3, 16, "items"), amount(5_700_000, None, "bytes")
    ('3 of 16', '6 MB')
    """
    if done is None:
        return ""
    match unit:
        case "s":
            return span(done)
        case "bytes":
            return f"{done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB"
        case _:
            return f"{done}{f' of {total}' if total else ''}"


def is_amount(value: Any) -> bool:
    """Whether what a file holds is a number that can be said, or None for an unknown one.

    >>> is_amount(None), is_amount(4.2), is_amount(float("nan")), is_amount("4")
    (True, True, False, False)
    """
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
