"""Run `lora-prep` as its user does: in a process of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lora_prep.cli.dispatch import dispatch

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.stdout)
        return value

    @property
    def error_code(self) -> str:
        """The code of the four-line error that stderr ends with; asserts that it has that form."""
        lines = self.stderr.splitlines()[-4:]
        assert len(lines) == 4, self.stderr
        assert all(line.strip() for line in lines)
        assert lines[3].startswith("[")
        assert lines[3].endswith("]")
        return lines[3][1:-1]


def lora_prep(*arguments: str | Path, timeout_s: float = 120, **environment: str) -> Done:
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def in_process(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Done:
    """Run a command without a process of its own: quick, for what ends before any work."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        status = dispatch([str(argument) for argument in arguments])
    finally:
        root.handlers[:] = handlers  # a command sets up logging for its process: here it is ours
        root.setLevel(level)
    printed = capsys.readouterr()
    return Done(status, printed.out, printed.err)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "lora_prep", *map(str, arguments)]
