"""What only some commands need is loaded when they need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # servers and databases


def test_the_room_loads_neither_sqlalchemy_nor_httpx() -> None:
    statement = "import lora_prep.trainers, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", statement],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert {"sqlalchemy", "httpx"} & set(done.stdout.split()) == set()
