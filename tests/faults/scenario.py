"""What happens in one run of the campaign, drawn from its seed and from nothing else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random
from typing import Literal

from lora_prep.trainer_service.faults import FAULTS, Place

__all__ = ["COMBINATIONS", "LONG", "SHORT", "Kill", "Race", "Scenario", "draw"]

Race = Literal["one client", "two runs", "same run", "two homes"]
"""two runs: of the same zip and parameters, for the ledger's second guard; same run: resumed twice
at the same moment; two homes: so it is, by two machines with a copy of its folder and one ledger,
where nothing but the ledger's first guard stands between them."""

WITHHOLD_INPUTS = {"no-list-inputs", "refuse-list-inputs"}
DELAY_THE_LIST = {"list-lag", "accept-late"}

NAMES = [name for name, kind in FAULTS.items() if kind.places != ("webhook",)]
COMBINATIONS: list[tuple[str, ...]] = [
    (),
    *((name,) for name in NAMES),
    *itertools.combinations(NAMES, 2),
]
"""Nothing, every fault alone, every pair: seed n takes the n-th, and so on round and round."""

COLD = 100_000
"""From this seed on clients are `lora-prep run` on photos, each in a Python of its own."""

SHORT = [*range(1 + len(NAMES)), *range(1 + len(NAMES), len(COMBINATIONS), 11), COLD + 8]
"""The seeds of the short version: every fault alone, every eleventh pair, and one cold."""

LONG = [*range(2 * len(COMBINATIONS) + 60), *range(COLD, COLD + 12)]
"""The seeds of the long version: above 500, every fault alone and every pair at least twice."""

STATUSES = ("uploaded", "submitting", "submitted", "completed", "archived")
# Files whose lines a client is killed at, and about how many of each one life runs (measured).
LINES = {
    "pipelines/steps.py": 21,
    "pipelines/submitting.py": 75,
    "pipelines/following.py": 35,
    "pipelines/uploading.py": 35,
    "pipelines/archiving.py": 50,
    "pipelines/cleaning.py": 15,
    "pipelines/runs.py": 430,
    "trainers/submit.py": 60,
    "trainers/reconcile.py": 40,
    "trainers/ledger.py": 130,
    "trainers/database.py": 280,
    "lora_prep/database.py": 190,
    "trainers/client.py": 160,
    "trainers/exchange.py": 250,
    "trainers/wait.py": 40,
    "archive/keep.py": 60,
    "archive/download.py": 35,
    "stores/s3.py": 145,
}
TIMES = {
    "submit": (1, 2),
    "result": (1, 2, 3),
    "list": (1, 2),
    "price": (1,),
    "output": (1, 2, 3),
    "task": (1,),
    "webhook": (1,),
}  # fmt: skip
SECONDS: dict[tuple[str, Place], tuple[float, ...]] = {
    ("slow", "submit"): (0.2, 1.5),  # 1.5: longer than a client waits for an answer
    ("slow", "result"): (0.2,),
    ("slow", "list"): (0.2,),
    ("slow", "price"): (0.2,),
    ("accept-late", "submit"): (0.2, 0.8),
    ("list-lag", "list"): (0.5, 1.5),
}


@dataclass(frozen=True)
class Kill:
    """kill -9, `after_s` after something is seen from outside, or at the `line`-th line of a file.

    at: "start", "accepted" (the service's counter has changed), "status <of run.json>", or a file.
    """

    at: str
    after_s: float = 0.0
    line: int = 0

    def __str__(self) -> str:
        if self.line:
            return f"{self.at} line {self.line}"
        return f"{self.at} +{self.after_s:.3f} s"


@dataclass(frozen=True)
class Scenario:
    """One run of the campaign. kills: of each client, one for each of its first lives."""

    seed: int
    names: tuple[str, ...]
    faults: tuple[str, ...]
    race: Race
    kills: tuple[tuple[Kill, ...], ...]

    def __str__(self) -> str:
        kills = " | ".join(", ".join(map(str, one)) or "none" for one in self.kills)
        return (
            f"seed {self.seed}: {' '.join(self.faults) or 'no fault'}; {self.race}; kills: {kills}"
        )

    @property
    def cold(self) -> bool:
        """Whether it begins with photos, by the command line in a Python of its own."""
        return self.seed >= COLD

    @property
    def refused(self) -> int:
        """How many tasks fail because their data URL could not be fetched; they cost nothing."""
        return int("data-1402" in self.names)

    @property
    def without_result(self) -> int:
        """How many tasks are paid for and end without a LoRA: the next run is free to train."""
        # Both faults strike the first task, which then fails before it can complete.
        return int("empty-outputs" in self.names and not self.refused)

    @property
    def accepted(self) -> int:
        """How many tasks the service must have accepted in the end: one, and those that failed."""
        return 1 + self.refused + self.without_result

    @property
    def may_need_its_owner(self) -> bool:
        """Whether the trainer's list may be unable to tell what became of a lost submission."""
        return bool({*self.names} & (WITHHOLD_INPUTS | DELAY_THE_LIST))

    @property
    def late_s(self) -> float:
        """How long the trainer may take to accept what it got, and to list what it accepted."""
        late = [fault for fault in self.faults if fault.startswith(("accept-late", "list-lag"))]
        return sum(float(fault.partition(":")[2]) for fault in late)


def draw(seed: int) -> Scenario:
    """Return the run of a seed."""
    random = Random(seed)
    names = COMBINATIONS[seed % len(COMBINATIONS)]
    faults = tuple(_spelled(name, random) for name in names)
    races: list[Race] = ["one client", "two runs"]
    if seed < COLD:
        races += ["same run", "two homes"]
    race = random.choice(races)
    clients = 1 if race == "one client" else 2
    most = 3 if clients == 1 else 2
    kills = tuple(
        tuple(_kill(random, cold=seed >= COLD) for _ in range(random.randint(clients == 1, most)))
        for _ in range(clients)
    )
    return Scenario(seed, names, faults, race, kills)


def _kill(random: Random, *, cold: bool) -> Kill:
    match random.choice(["start", "accepted", "status", *(["line", "line"] * (not cold))]):
        case "start":
            return Kill("start", after_s=random.uniform(0, 12 if cold else 1.5))
        case "accepted":
            return Kill("accepted", after_s=random.uniform(0, 0.15))
        case "status":
            return Kill(f"status {random.choice(STATUSES)}", after_s=random.uniform(0, 0.08))
        case _:
            file = random.choice(list(LINES))
            return Kill(file, line=random.randint(1, LINES[file]))


def _spelled(name: str, random: Random) -> str:
    kind = FAULTS[name]
    place = random.choice(kind.places)
    at = f"@{place}" if len(kind.places) > 1 else ""
    match kind.counting:
        case "always":
            return f"{name}{at}"
        case "times":
            return f"{name}{at}:{random.choice(TIMES[place])}"
        case _:
            return f"{name}{at}:{random.choice(SECONDS[name, place])}"
