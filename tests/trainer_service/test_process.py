"""The service as a process: start, keys, kill, continue, stop, and the end of its parent."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from .helpers import (
    SUBMIT,
    WAIT_S,
    DataServer,
    ServiceProcess,
    StartService,
    child_environment,
    zip_of_images,
)

pytestmark = pytest.mark.slow  # each test starts processes
MODULE = "lora_prep.trainer_service"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(*arguments: str, folder: Path, **options: str) -> list[str]:
    command = [sys.executable, "-m", MODULE, "--state-folder", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=WAIT_S, env=child_environment(**options)
    )
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr.splitlines()


def wait_until_gone(process_id: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return  # dead; whoever adopted it has not taken notice yet
        time.sleep(0.05)
    raise AssertionError("still there")


def test_a_killed_service_continues_its_tasks(
    start_service: StartService, data_server: DataServer, tmp_path: Path
) -> None:
    url = data_server.url(zip_of_images(10))
    first = start_service("--seconds=60")
    api = first.api()
    waiting = [api.submit(url) for _ in range(5)]  # one more than there are workers
    api.wait(waiting[0], "processing")
    first.process.kill()
    first.process.wait()
    leftover = tmp_path / "state" / "downloads" / "photos"
    leftover.write_bytes(b"as if the system could not hide the name of a download")

    api = start_service("--seconds=0").api()
    assert [api.wait(task_id)["status"] for task_id in waiting] == ["completed"] * 5
    stats = api.stats()
    assert (stats["accepted"], stats["completed"], stats["failed"]) == (5, 5, 0)
    assert len(list((tmp_path / "state" / "outputs").iterdir())) == 5
    assert not leftover.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_fast_with_a_task_in_hand_which_continues_later(
    start_service: StartService, data_server: DataServer, number: signal.Signals
) -> None:
    first = start_service()
    api = first.api()
    task_id = api.submit(f"{data_server.origin}/hang?X-Amz-Signature=topsecret")
    api.wait(task_id, "processing")
    began = time.monotonic()
    first.process.send_signal(number)
    status = first.process.wait(WAIT_S)
    assert time.monotonic() - began < 2
    assert status == (130 if number == signal.SIGINT else -signal.SIGTERM)

    data_server.released.set()
    data_server.url(zip_of_images(10), "/hang")
    second = start_service("--seconds=0")
    assert second.api().wait(task_id)["status"] == "completed"
    data_server.released.clear()
    for service in (first, second):
        assert "topsecret" not in service.log.read_text()
        assert "Traceback" not in service.log.read_text()


def test_without_a_key_in_the_environment_one_is_made_and_kept(
    start_service: StartService, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    first = start_service("--seconds=0", key=None)
    first.api()  # wait for it
    key = (state / "api_key").read_text()
    assert len(key) == 64
    assert str(state / "api_key") in first.log.read_text()
    assert key not in first.log.read_text()
    assert first.api(key).http.get("/_service/stats").status_code == 200
    assert first.api("wrong").http.get("/_service/stats").status_code == 401
    assert mode(state) == 0o700
    files = [path for path in state.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"api_key", "link_secret", "tasks.sqlite"}
    assert {mode(path) for path in files} == {0o600}

    first.process.terminate()
    first.process.wait()
    second = start_service("--seconds=0", key=None)
    assert second.api(key).http.get("/_service/stats").status_code == 200


def test_the_signature_of_a_data_url_goes_when_the_task_ends(
    start_service: StartService, data_server: DataServer, tmp_path: Path
) -> None:
    service = start_service("--seconds=0")
    service.api().train(data_server.url(zip_of_images(10)))
    service.process.terminate()  # which also writes the journal into the table
    service.process.wait()
    table = (tmp_path / "state" / "tasks.sqlite").read_bytes()
    assert data_server.origin.encode() in table
    assert b"topsecret" not in table


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_disk_that_fills_fails_the_task_and_is_told_before_it_can_be_written(
    start_service: StartService, data_server: DataServer, tmp_path: Path
) -> None:
    limit = 20_000  # bytes a file: the photos fit; the LoRA does not, nor the table's next change
    service = start_service("--seconds=0")
    api = service.api()
    data_server.released.clear()
    data_server.url(zip_of_images(10), "/hang")
    task_id = api.submit(f"{data_server.origin}/hang")
    api.wait(task_id, "processing")
    assert (tmp_path / "state" / "tasks.sqlite-wal").stat().st_size > limit
    _, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (limit, hard))
    data_server.released.set()
    told = api.wait(task_id)
    data_server.released.clear()
    assert (told["status"], told["code"]) == ("failed", 5000)
    assert "File too large" in told["error"]
    assert list((tmp_path / "state" / "outputs").iterdir()) == []
    deadline = time.monotonic() + WAIT_S  # the client hears of it before the log does
    while "its state could not be written" not in service.log.read_text():
        assert time.monotonic() < deadline

    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert api.prediction(task_id) == told  # and now it is written
    service.process.kill()
    service.process.wait()
    again = start_service("--seconds=0").api().prediction(task_id)
    assert {**again, "urls": ""} == {**told, "urls": ""}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_off_loopback_it_does_not_start_without_a_key(host: str, tmp_path: Path) -> None:
    what, why, fix, code = refused("--host", host, folder=tmp_path)
    assert host in what
    assert "reach that address" in why
    assert "--keys-file" in fix
    assert code == "[configuration]"


def test_a_host_that_is_a_name_is_refused(tmp_path: Path) -> None:
    assert "example.org" in refused("--host", "example.org", folder=tmp_path)[0]


def test_several_keys_come_from_a_file(start_service: StartService, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# two people\nfirst-key\n\n  second-key \n")
    service = start_service("--keys-file", str(file), "--seconds=0")
    service.api("first-key").submit("http://127.0.0.1:9/a.zip")
    counted = [service.api(key).stats()["accepted"] for key in ("first-key", "second-key")]
    assert counted == [1, 0]
    assert service.api("test-key").http.get("/_service/stats").status_code == 401
    assert "2 in the file" in service.log.read_text()


@pytest.mark.parametrize("content", [None, "", "# none\n", "\udcff"])
def test_a_keys_file_without_a_key_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content.encode(errors="surrogateescape"))
    what, _, fix, code = refused("--keys-file", str(file), folder=tmp_path / "state")
    assert str(file) in what
    assert "one key a line" in fix
    assert code == "[configuration]"


def test_a_restart_later_keeps_the_counts_and_drops_what_expired(
    start_service: StartService, data_server: DataServer, tmp_path: Path
) -> None:
    first = start_service("--seconds=0")
    done = first.api().train(data_server.url(zip_of_images(10)))
    first.process.kill()
    first.process.wait()
    later = start_service("--seconds=0", f"--clock-offset-s={7 * 86400 + 60}").api()
    assert later.http.get(f"/api/v3/predictions/{done['id']}/result").status_code == 404
    assert later.list()["total"] == 0
    assert list((tmp_path / "state" / "outputs").iterdir()) == []
    stats = later.stats()
    assert (stats["accepted"], stats["completed"]) == (1, 1)


def test_faults_are_scripted_on_the_command_line(start_service: StartService) -> None:
    service = start_service("--seconds=0", "--fault=status-503@submit:2", "--fault", "list-lag:9")
    api = service.api()
    codes = [
        api.http.post(SUBMIT, json={"data": "http://127.0.0.1:9/a.zip"}).status_code
        for _ in range(3)
    ]
    assert codes == [503, 503, 200]
    assert api.stats()["consistent"] is False
    assert "Traceback" not in service.log.read_text()


def test_the_serve_command_passes_on_what_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key\nb-key\n")
    given = {
        "port": "0",
        "keys-file": str(tmp_path / "keys"),
        "public-url": "https://trainer.test",
        "tasks-at-once": "1",
        "price-usd": "2.5",
        "balance-usd": "10",
        "clock-offset-s": "60",
        "fault": "status-503@submit",
    }
    command = [sys.executable, "-m", "lora_prep", "serve"]
    command += [text for name, value in given.items() for text in (f"--{name}", value)]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        environment = child_environment(LORA_PREP_HOME=str(tmp_path / "home"))
        process = subprocess.Popen(command, stderr=stderr, env=environment)
    try:
        api = ServiceProcess(process, log).api("b-key")
        body = {"data": "http://127.0.0.1:9/a.zip", "steps": 4000}
        assert api.http.post(SUBMIT, json=body).status_code == 503
        submitted = api.http.post(SUBMIT, json=body).json()["data"]
        assert submitted["urls"]["get"].startswith("https://trainer.test/")
        created_at = datetime.fromisoformat(submitted["created_at"])
        assert 50 < (created_at - datetime.now(UTC)).total_seconds() < 70
        assert api.http.get("/api/v3/balance").json()["data"]["balance"] in {0.0, 10.0}
    finally:
        process.kill()
        process.wait()


def test_a_fault_that_is_none_is_refused_with_all_there_are(tmp_path: Path) -> None:
    what, why, _, code = refused("--fault=chaos", folder=tmp_path)
    assert "chaos" in what
    assert "drop-after-accept" in why
    assert code == "[configuration]"


def test_links_begin_with_the_public_url(
    start_service: StartService, data_server: DataServer
) -> None:
    service = start_service("--seconds=0", "--public-url=https://trainer.test/")
    done = service.api().train(data_server.url(zip_of_images(10)))
    assert done["urls"]["get"].startswith("https://trainer.test/api/v3/")
    assert done["outputs"][0].startswith("https://trainer.test/outputs/")


def test_one_service_works_on_a_state_folder(start_service: StartService, tmp_path: Path) -> None:
    start_service().api()
    what, why, _, code = refused(folder=tmp_path / "state")
    assert "task table" in what
    assert "locked" in why
    assert code == "[configuration]"


def test_a_taken_port_is_told(start_service: StartService, tmp_path: Path) -> None:
    port = start_service().api().base_url.rpartition(":")[2]
    what, why, fix, _ = refused("--port", port, folder=tmp_path / "other")
    assert port in what
    assert "in use" in why
    assert "--port" in fix


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvicorn.py").write_text("raise ModuleNotFoundError('gone', name='uvicorn')")
    search = os.pathsep.join([str(hidden), child_environment()["PYTHONPATH"]])
    lines = refused(folder=tmp_path / "state", PYTHONPATH=search)
    assert "uvicorn is not installed" in lines[1]
    assert 'pip install "lora_prep[local]"' in lines[2]
    assert lines[3] == "[missing_dependency]"


@pytest.mark.parametrize(
    "arguments", [["--rank=0"], ["--blocks=41"], ["--seconds=nan"], ["--port=x"]]
)
def test_arguments_out_of_range_are_refused(arguments: list[str], tmp_path: Path) -> None:
    assert "argument --" in refused(*arguments, folder=tmp_path)[-1]


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    start = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', *sys.argv[1:]])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    arguments = [MODULE, "--exit-with-parent", "--state-folder", str(tmp_path / "state")]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        parent = subprocess.Popen(
            [sys.executable, "-c", start, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=child_environment(),
        )
    with parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + WAIT_S
        while "trainer service" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        parent.kill()
    wait_until_gone(child)
