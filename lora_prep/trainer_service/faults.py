"""Faults on request: what a network, a gateway or the trainer itself does wrong, by script.

    --fault drop-after-accept      once
    --fault status-503@result:3    three times, and only where results are asked for
    --fault list-lag:5             for 5 seconds each time

A fault spelled twice happens for each spelling. Counts begin anew with the process.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from lora_prep.errors import ConfigurationError

__all__ = ["FAULTS", "Fault", "FaultKind", "FaultScript", "Place", "parse_fault"]

Place = Literal["submit", "result", "list", "price", "output", "task", "webhook"]
"""Where a fault can strike: a kind of request, an accepted task, or a delivery."""
Counting = Literal["times", "always", "seconds", "seconds_once"]
"""What COUNT means: how many times (1 if not given); the same, but for ever if not given; seconds
each time for ever; seconds, once."""

API: Final[tuple[Place, ...]] = ("submit", "result", "list", "price")
LATE: Final = frozenset({"accept-late", "list-lag"})


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault that can be asked for: where it strikes, what its COUNT is, and what it does."""

    places: tuple[Place, ...]
    counting: Counting
    meaning: str


FAULTS: Final[Mapping[str, FaultKind]] = MappingProxyType(
    {
        "drop-before-accept": FaultKind(
            ("submit",), "times", "the connection breaks and nothing was accepted"
        ),
        "drop-after-accept": FaultKind(
            ("submit",), "times", "the connection breaks and the task was accepted"
        ),
        "accept-late": FaultKind(
            ("submit",), "seconds_once", "the connection breaks; the task is accepted later"
        ),
        "status-429": FaultKind(API, "times", "too many requests, with Retry-After: 1"),
        "status-500": FaultKind(API, "times", "an error of the server; nothing was done"),
        "status-503": FaultKind(API, "times", "unavailable; nothing was done"),
        "html": FaultKind(API, "times", "200 with a gateway's web page; nothing was done"),
        "envelope-error": FaultKind(
            API, "times", "200 whose envelope holds an error and no data; nothing was done"
        ),
        "slow": FaultKind(API, "seconds", "the work is done at once and the answer comes late"),
        "list-lag": FaultKind(("list",), "seconds", "a new task shows up in the list later"),
        "no-list-inputs": FaultKind(("list",), "always", "items without their inputs"),
        "refuse-list-inputs": FaultKind(
            ("list",), "always", "400 to a list request with include_inputs"
        ),
        "result-404": FaultKind(("result",), "times", "the prediction is said to be gone"),
        "unknown-status": FaultKind(("result",), "times", "a status that nobody documents"),
        "no-price": FaultKind(("price",), "always", "404 at /model/price, as on older servers"),
        "data-1402": FaultKind(("task",), "times", "the data URL cannot be fetched"),
        "empty-outputs": FaultKind(("task",), "times", "completed without any output"),
        "two-outputs": FaultKind(("task",), "times", "two files from a trainer of one"),
        "truncated-output": FaultKind(("output",), "times", "a download breaks off half way"),
        "expired-output": FaultKind(("output",), "times", "403, as after 7 days"),
        "no-range": FaultKind(("output",), "always", "Range is ignored, as by simple servers"),
        "duplicate-webhook": FaultKind(("webhook",), "times", "one delivery comes twice"),
    }
)
"""Every fault by its name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is to happen at some places. left: None is for ever; seconds: how long."""

    name: str
    places: tuple[Place, ...]
    left: int | None
    seconds: float = 0.0


def parse_fault(spelling: str) -> Fault:
    """Read NAME, NAME:COUNT, NAME@PLACE or NAME@PLACE:COUNT.

    >>> parse_fault("status-503@result:2")
    Fault(name='status-503', places=('result',), left=2, seconds=0.0)

    Raises:
        ConfigurationError: there is no such fault, or it does not fit.
    """
    head, colon, count = spelling.partition(":")
    name, at, place = head.partition("@")
    if (kind := FAULTS.get(name)) is None:
        raise _refused(spelling, f"The faults are {', '.join(FAULTS)}.")
    places = tuple(one for one in kind.places if one == place) if at else kind.places
    if not places:
        raise _refused(spelling, f"It strikes at {', '.join(kind.places)}.")
    try:
        number = float(count) if colon else 1.0
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _refused(spelling, "What follows the colon is a number above 0.")
    match kind.counting:
        case "seconds":
            return Fault(name, places, left=None, seconds=number)
        case "seconds_once":
            return Fault(name, places, left=1, seconds=number)
        case "always" if not colon:
            return Fault(name, places, left=None)
        case _:
            if not number.is_integer():
                raise _refused(spelling, "It happens a whole number of times.")
            return Fault(name, places, left=int(number))


class FaultScript:
    """The faults that are still to happen. Every method may be called from any thread."""

    def __init__(self, spellings: Iterable[str] = ()) -> None:
        """Read the spellings.

        Raises:
            ConfigurationError: one is none.
        """
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.list_is_complete = True  # an accepted task shows up in the list at once
        for spelling in spellings:
            self.add(spelling)

    def add(self, spelling: str) -> None:
        """Let one more fault happen; raises as `FaultScript` does."""
        fault = parse_fault(spelling)
        with self._lock:
            self._faults.append(fault)
            if fault.name in LATE:
                self.list_is_complete = False

    def take(self, name: str, place: Place) -> Fault | None:
        """Return the fault if it is to happen here and now, and count it."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.name == name and place in fault.places:
                    if fault.left == 1:
                        del self._faults[index]
                    elif fault.left is not None:
                        self._faults[index] = replace(fault, left=fault.left - 1)
                    return fault
        return None


def _refused(spelling: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no fault {spelling!r}.",
        why=why,
        fix="Spell it NAME, NAME:COUNT or NAME@PLACE:COUNT, as in status-503@result:2.",
    )
