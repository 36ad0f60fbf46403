"""Ctrl-C, kill -9 and dead servers on the way: nothing is lost, nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lora_prep.embedded import services_status
from tests.cli.command import SAMPLE_DATA, command, lora_prep
from tests.cli.schemas import valid

pytestmark = pytest.mark.slow
ADA = SAMPLE_DATA / "people" / "ada"
LONG = {"LORA_PREP_EMBEDDED__REHEARSAL_S": "6"}


def wait_for(home: Path, status: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the newest run's record once it says `status`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in sorted((home / "runs").glob("*/run.json"), reverse=True)[:1]:
            record: dict[str, Any] = json.loads(path.read_text())
            if record.get("status") == status:
                return record
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"never {status}")


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, env=os.environ | LONG, start_new_session=True,
    )  # fmt: skip


def told_to_the_end(answer: dict[str, Any]) -> None:
    """Assert that the report shows the photos and the LoRA, whichever process ended the run."""
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert page.count("Crop 00") >= 16
    assert answer["loras"][0]["sha256"] in page
    assert answer["training"]["prediction_id"] in page


def objects(home: Path) -> list[str]:
    """The keys in the bucket."""
    from lora_prep.embedded import EmbeddedOptions, use_services
    from lora_prep.stores import S3Store, StoreAccess

    with use_services(home, EmbeddedOptions(rehearsal_s=6)) as services:
        store = S3Store(
            StoreAccess(
                services.store_bucket, "", services.store_endpoint_url, services.store_region, None,
                services.store_access_key, services.store_secret_key,
            )
        )  # fmt: skip
        listed = store.client.list_objects_v2(Bucket=services.store_bucket)
        return [entry["Key"] for entry in listed.get("Contents", [])]


def test_ctrl_c_stops_the_waiting_and_resume_takes_it_up(home: Path) -> None:
    process = start("run", ADA, "--json")
    record = wait_for(home, "submitted", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    stdout, stderr = process.communicate(timeout=20)
    prediction = record["training"]["prediction_id"]
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "interrupted"
    assert json.loads(stdout)["training"]["prediction_id"] == prediction
    assert f"lora-prep resume {record['run']}" in stderr
    assert "Traceback" not in stderr
    assert any(key.endswith(".zip") for key in objects(home))  # the training needs it still

    status = services_status(home)
    assert status is not None
    supervisor = psutil.Process(status.supervisor_pid)
    family = {supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))}
    ours = {
        candidate.pid
        for candidate in psutil.process_iter(["cmdline"])
        if str(home) in " ".join(candidate.info["cmdline"] or [])
    }
    assert ours <= family

    archived = lora_prep("resume", record["run"], "--json", **LONG)
    assert archived.status == 0, archived.stderr
    valid(archived.json, "resume")
    assert archived.json["run"] == record["run"]
    assert archived.json["status"] == "archived"
    assert not any(key.endswith(".zip") for key in objects(home))
    told_to_the_end(archived.json)


def test_a_run_outlives_the_death_of_its_servers_and_their_supervisor(home: Path) -> None:
    process = start("run", ADA, "--json")
    wait_for(home, "submitted", process)
    status = services_status(home)
    assert status is not None
    os.kill(status.server_pids["trainer"], signal.SIGKILL)
    os.kill(status.server_pids["store"], signal.SIGKILL)
    time.sleep(1)
    os.kill(status.supervisor_pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["status"] == "archived"


def test_kill_9_while_waiting_loses_nothing(home: Path) -> None:
    process = start("run", ADA)
    record = wait_for(home, "submitted", process)
    process.kill()
    process.communicate()
    archived = lora_prep("archive", record["training"]["prediction_id"], "--json", **LONG)
    assert archived.status == 0, archived.stderr
    assert archived.json["run"] == record["run"]
    told_to_the_end(archived.json)
