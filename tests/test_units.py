"""The units in docs/units are what systemd and launchd take, and they start the worker."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

UNITS = Path(__file__).parents[1] / "docs" / "units"
SERVICE = UNITS / "lora-prep-worker.service"
PROGRAM = "/opt/lora-prep/bin/lora-prep"


def agent() -> dict[str, Any]:
    loaded: dict[str, Any] = plistlib.loads((UNITS / "com.lora-prep.worker.plist").read_bytes())
    return loaded


# ── systemd ───────────────────────────────────────────────────────────────────────────────────


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here: the service is read, but not verified")
    text = SERVICE.read_text()
    assert text.count(PROGRAM) == 1
    # The program is not installed here, and whether it is there is part of what is verified.
    there = shutil.which("true")
    unit = tmp_path / SERVICE.name
    unit.write_text(text.replace(PROGRAM, str(there)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_stops_in_order_and_is_shut_in() -> None:
    lines = re.findall(r"^(\w+)=(.*)$", SERVICE.read_text(), re.MULTILINE)
    given = dict(lines)
    assert given["ExecStart"] == f"{PROGRAM} worker"
    assert given["Restart"] == "on-failure"
    assert given["KillSignal"] == "SIGTERM"
    assert int(given["TimeoutStopSec"]) >= 60
    assert given["EnvironmentFile"] == "/etc/lora-prep/worker.env"
    assert given["NoNewPrivileges"] == "yes"
    assert given["ProtectSystem"] == "strict"
    assert given["CapabilityBoundingSet"] == ""
    assert not any(re.search("KEY|SECRET|TOKEN|PASSWORD", value) for _, value in lines)


# ── launchd ───────────────────────────────────────────────────────────────────────────────────


def test_launchd_is_given_an_agent_that_comes_back() -> None:
    given = agent()
    assert given["Label"] == "com.lora-prep.worker"
    assert given["KeepAlive"] == {"SuccessfulExit": False}
    assert given["ExitTimeOut"] >= 60
    assert given["Umask"] == 0o077
    assert "EnvironmentVariables" not in given  # the file is readable by every account


def test_the_agent_starts_the_worker_with_the_keys_of_its_file(tmp_path: Path) -> None:
    program = tmp_path / ".local" / "bin" / "lora-prep"
    settings = tmp_path / ".config" / "lora-prep"
    for folder in (program.parent, settings, tmp_path / "Library" / "Logs"):
        folder.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$@" "$WAVESPEED_API_KEY" "$PWD"\necho wrong >&2\n')
    program.chmod(0o700)
    (settings / "worker.env").write_text("# a comment\nWAVESPEED_API_KEY='a & b'\n")
    done = subprocess.run(
        agent()["ProgramArguments"], env={"HOME": str(tmp_path)}, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    log = (tmp_path / "Library" / "Logs" / "lora-prep-worker.log").read_text()
    assert log == f"worker a & b {settings}\nwrong\n"
