"""The short version of the fault campaign; `make bench` runs the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lora_prep.trainer_service.faults import FAULTS
from tests.faults.scenario import COMBINATIONS, SHORT, draw

ROOT = Path(__file__).parents[2]


def test_a_seed_says_everything_and_the_faults_are_all_there() -> None:
    assert [draw(seed) for seed in SHORT] == [draw(seed) for seed in SHORT]
    alone = {draw(seed).names for seed in SHORT}
    assert {(name,) for name in FAULTS if name != "duplicate-webhook"} <= alone
    assert len(COMBINATIONS) == len({frozenset(names) for names in COMBINATIONS})
    drawn = [draw(seed) for seed in range(len(COMBINATIONS))]
    assert {one.race for one in drawn} == {"one client", "two runs", "same run", "two homes"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_is_killed_and_whatever_breaks_one_task_is_accepted_and_archived() -> None:
    """In a process of its own, which is not kept from the network and has not imported much."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "short"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
