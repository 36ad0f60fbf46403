"""Many people from the command line: batches, schedules, the worker; with real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.command import SAMPLE_DATA, Done, command, in_process, lora_prep
from tests.cli.schemas import valid
from tests.pipelines.conftest import NOW, Paid
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS

PEOPLE = SAMPLE_DATA / "people"
QUICK = {"EMBEDDED__REHEARSAL_RANK": 1, "EMBEDDED__REHEARSAL_BLOCKS": 1, "ENGINE__LOOK_S": 0.1}


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    for name, value in QUICK.items():
        monkeypatch.setenv(f"LORA_PREP_{name}", str(value))
    for name in ("lora_prep.sqlite", "lora_prep.sqlite-wal", "lora_prep.sqlite-shm"):
        (module_home / name).unlink(missing_ok=True)
    return module_home


@pytest.fixture
def trainer(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Paid]:
    """A trainer of 2 USD for 1,000 steps, which every command of the test uses.

    The test's parameter are its faults.
    """
    faults: tuple[str, ...] = getattr(request, "param", ())
    options = replace(OPTIONS, price_usd=2, balance_usd=50)
    monkeypatch.setenv("WAVESPEED_API_KEY", KEY)
    for name, value in NOW.items():
        monkeypatch.setenv(f"LORA_PREP_TRAINER__{name.upper()}", str(value))
    with running_service(tmp_path / "service", *faults, options=options) as service:
        monkeypatch.setenv("LORA_PREP_TRAINER__BASE_URL", service.api.base_url)
        yield Paid(service)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A folder of two people, and a jobs file beside it."""
    shutil.copytree(PEOPLE, tmp_path / "people")
    jobs = tmp_path / "jobs.toml"
    jobs.write_text('[defaults]\nsteps = 1000\n\n[[job]]\nfolder = "people/*"\n')
    return jobs


def of(done: Done, name: str) -> dict[str, object]:
    return next(job for job in done.json["jobs"] if job["name"] == name)


@pytest.mark.slow
def test_one_failure_stops_no_other_and_only_what_is_new_is_trained_again(
    home: Path, people: Path
) -> None:
    shutil.copytree(SAMPLE_DATA / "nine", people.parent / "people" / "nine")
    first = lora_prep("batch", "run", people, "--json")
    assert first.status == 3  # of the worst
    valid(first.json, "batch-run")
    assert [(job["name"], job["status"], job["exit"]) for job in first.json["jobs"]] == [
        ("ada", "archived", 0),
        ("ben", "archived", 0),
        ("nine", "failed", 3),
    ]
    assert of(first, "nine")["error"]["code"] == "dataset_too_small"  # type: ignore[index]
    assert first.json["price_usd"] == 0

    (people.parent / "people" / "ben" / "ben_01.jpg").unlink()
    second = lora_prep("batch", "run", people, "--json")
    valid(second.json, "batch-run")
    assert [job["work"] for job in second.json["jobs"]] == ["nothing", "train", "failed"]
    assert of(second, "ada")["run"] == of(first, "ada")["run"]
    assert of(second, "ben")["run"] != of(first, "ben")["run"]
    assert of(second, "ben")["loras"] != of(first, "ben")["loras"]

    status = lora_prep("batch", "status", people, "--json")
    valid(status.json, "batch-status")
    assert [job["run"] for job in status.json["jobs"][:2]] == [
        of(second, "ada")["run"],
        of(second, "ben")["run"],
    ]
    again = lora_prep("batch", "run", people, "--json", "--again")
    assert [job["work"] for job in again.json["jobs"]] == ["train", "train", "failed"]
    assert of(again, "ada")["run"] != of(first, "ada")["run"]


@pytest.mark.slow
def test_a_budget_is_for_all_and_nobody_pays_unasked(
    trainer: Paid, people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = lora_prep("batch", "run", people, "--json")
    assert (refused.status, refused.error_code) == (9, "declined")
    assert trainer.accepted == 0

    some = lora_prep("batch", "run", people, "--json", "--yes", "--max-cost", "3")
    assert some.status == 9
    valid(some.json, "batch-run")
    assert [(job["work"], job["status"]) for job in some.json["jobs"]] == [
        ("train", "archived"),
        ("over_budget", "over_budget"),
    ]
    assert (some.json["price_usd"], some.json["budget_usd"]) == (2, 3)
    assert trainer.accepted == 1

    rest = lora_prep("batch", "run", people, "--json", "--yes", "--max-cost", "3")
    assert rest.status == 0
    assert [job["work"] for job in rest.json["jobs"]] == ["nothing", "train"]
    assert trainer.accepted == 2


@pytest.mark.slow
def test_a_batch_that_is_killed_goes_on_and_pays_each_once(trainer: Paid, people: Path) -> None:
    words = ("batch", "run", people, "--yes", "--max-cost", "4")
    process = subprocess.Popen(
        command(*words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: trainer.accepted >= 1)
    process.kill()
    process.wait()
    done = lora_prep(*words, "--json")  # what was paid before does not count once more
    assert done.status == 0, done.stderr
    assert [job["status"] for job in done.json["jobs"]] == ["archived", "archived"]
    assert trainer.accepted == 2


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [("slow@result:4",)], indirect=True)
def test_a_batch_that_waits_for_another_process_takes_over_when_that_one_dies(
    trainer: Paid, people: Path, tmp_path: Path
) -> None:
    words = command("batch", "run", people, "--yes")
    with (tmp_path / "second").open("w") as out:
        first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: trainer.accepted == 2)
        # While it waits for two slow answers: frozen in a transaction it would keep SQLite's lock.
        time.sleep(1.5)
        first.send_signal(signal.SIGSTOP)  # it lives, and has both in hand
        second = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: "to do" in (tmp_path / "second").read_text())
            time.sleep(2)
            assert second.poll() is None
            first.kill()
            first.wait()
            assert second.wait(60) == 0, (tmp_path / "second").read_text()
        finally:
            first.kill()
            second.kill()
    assert trainer.accepted == 2


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_soon_and_says_how_to_go_on(trainer: Paid, people: Path) -> None:
    process = subprocess.Popen(
        command("batch", "run", people, "--yes", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: trainer.accepted >= 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"lora-prep batch run {people}" in said
    assert lora_prep("batch", "run", people, "--yes").status == 0
    assert trainer.accepted == 2


@pytest.mark.slow
def test_a_worker_does_what_commands_ask_for_and_ends_when_told(
    trainer: Paid, people: Path, tmp_path: Path
) -> None:
    with worker(tmp_path / "worker.log") as process:
        run = lora_prep(
            "run", people.parent / "people" / "ada", "--yes", "--steps", "1000", "--json"
        )
        assert run.status == 0, run.stderr
        valid(run.json, "run")
        assert "The worker does it" in run.stderr
        assert "submitted as" in run.stderr  # it shows what the worker does
        again = lora_prep("resume", run.json["run"], "--from", "archive")
        assert again.status == 0, again.stderr  # nothing is paid: nobody has to agree
        assert "costs" not in again.stderr
        second = lora_prep("worker")
        assert (second.status, second.error_code) == (75, "temporary")
        batch = lora_prep("batch", "run", people, "--yes", "--json")
        assert [job["work"] for job in batch.json["jobs"]] == ["nothing", "train"]
        assert batch.status == 0, batch.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert trainer.accepted == 2
    assert unfinished(Path(os.environ["LORA_PREP_HOME"])) == 0


@pytest.mark.slow
def test_ctrl_c_stops_the_watching_and_not_the_worker(
    trainer: Paid, people: Path, tmp_path: Path
) -> None:
    with worker(tmp_path / "worker.log"):
        watching = subprocess.Popen(
            command("run", people.parent / "people" / "ben", "--yes", "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: trainer.accepted >= 1)
        watching.send_signal(signal.SIGINT)
        printed, said = watching.communicate(timeout=60)
        assert watching.returncode == 130
        run = json.loads(printed)["run"]
        assert f"lora-prep status {run} --watch" in said
        record = Path(os.environ["LORA_PREP_HOME"]) / "runs" / run / "run.json"
        until(lambda: json.loads(record.read_text())["status"] == "archived")
    assert trainer.accepted == 1


@pytest.mark.slow
def test_a_command_whose_worker_stops_goes_on_itself(
    trainer: Paid, people: Path, tmp_path: Path
) -> None:
    with worker(tmp_path / "worker.log") as process:
        run = subprocess.Popen(
            command("run", people.parent / "people" / "ben", "--yes", "--json"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: trainer.accepted >= 1)
        process.kill()
        process.wait()
        _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert trainer.accepted == 1


@pytest.mark.slow
def test_a_schedule_fires_each_slot_once_with_two_workers(
    home: Path, people: Path, tmp_path: Path
) -> None:
    """Two homes on one database, as two machines have them; both know the jobs file."""
    shared = {"LORA_PREP_ENGINE__DATABASE_URL": f"sqlite:///{tmp_path}/shared.sqlite"}
    other = tmp_path / "other"
    added = lora_prep(
        *("schedule", "add", "often", people, "--cron", "* * * * * *", "--json"), **shared
    )
    assert added.status == 0, added.stderr
    valid(added.json, "schedule-add")
    shutil.copytree(home / "schedules", other / "schedules")
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with (
        worker(logs[0], **shared),
        worker(logs[1], LORA_PREP_HOME=str(other), **shared),
    ):
        until(lambda: len(fired(*logs)) >= 4, 90)
        assert lora_prep("schedule", "remove", "often", **shared).status == 0
    lora_prep("store", "down", LORA_PREP_HOME=str(other))
    slots = fired(*logs)
    assert len(slots) == len(set(slots))


@pytest.mark.slow
def test_a_schedule_trains_what_is_new(home: Path, people: Path, tmp_path: Path) -> None:
    assert lora_prep("schedule", "add", "nightly", people, "--cron", "0 2 * * *").status == 0
    now = lora_prep("schedule", "run-now", "nightly", "--json")
    assert now.status == 0, now.stderr
    valid(now.json, "schedule-run-now")
    assert [job["status"] for job in now.json["jobs"]] == ["archived", "archived"]
    again = lora_prep("schedule", "run-now", "nightly", "--json")
    assert [job["work"] for job in again.json["jobs"]] == ["nothing", "nothing"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_trained_at_night_is_told_and_leaves_one_run(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(SAMPLE_DATA / "nine", tmp_path / "people" / "nine")
    jobs, told, script = (tmp_path / name for name in ("jobs.toml", "told", "command.py"))
    jobs.write_text('[[job]]\nfolder = "people/*"\n')
    script.write_text(f"import sys\nopen({str(told)!r}, 'a').write(sys.stdin.read())\n")
    assert lora_prep("schedule", "add", "few", jobs, "--cron", "* * * * * *").status == 0
    before = set((home / "runs").glob("*"))
    with worker(tmp_path / "log", LORA_PREP_NOTIFY__COMMAND=f"{sys.executable} {script}"):
        until(lambda: told.exists() and len(told.read_text().splitlines()) >= 2)
        assert lora_prep("schedule", "remove", "few").status == 0
    notices = [json.loads(line) for line in told.read_text().splitlines()]
    assert {notice["event"] for notice in notices} == {"failed"}
    assert {notice["error"]["code"] for notice in notices} == {"dataset_too_small"}
    assert "nine" not in told.read_text()
    assert len(set((home / "runs").glob("*")) - before) <= 2  # the last one, and one begun


def test_schedules_are_added_listed_paused_resumed_and_removed(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*words: str | Path) -> Done:
        return in_process(capsys, "schedule", *words, "--json")

    added = say("add", "nightly", people, "--cron", "0 2 * * *", "--tz", "Europe/Berlin")
    assert added.status == 0
    valid(added.json, "schedule-add")
    assert added.json["schedule"]["zone"] == "Europe/Berlin"
    (listed,) = say("list").json["schedules"]
    assert listed["next"] is not None
    assert listed["jobs"] == str(people)
    paused = say("pause", "nightly")
    valid(paused.json, "schedule-pause")
    assert paused.json["schedule"]["next"] is None
    resumed = say("resume", "nightly")
    valid(resumed.json, "schedule-resume")
    assert not resumed.json["schedule"]["paused"]
    valid(say("list").json, "schedule-list")
    removed = say("remove", "nightly")
    valid(removed.json, "schedule-remove")
    assert say("list").json["schedules"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("add", "n", "jobs.toml", "--cron", "61 2 * * *"),
        ("add", "n", "jobs.toml", "--cron", "0 2 * * *", "--tz", "Berlin"),
        ("add", "n", "jobs.toml", "--cron", "0 2 * * *", "--missed", "all"),
        ("add", "Ada Lovelace", "jobs.toml", "--cron", "0 2 * * *"),
        ("add", "n", "missing.toml", "--cron", "0 2 * * *"),
        ("pause", "nobody"),
        ("run-now", "nobody"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_at_once(
    words: tuple[str, ...], people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chdir(people.parent)
    done = in_process(capsys, "schedule", *words)
    assert (done.status, done.error_code) == (2, "configuration")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--at-once", "0"),
        ("--at-once", "-2"),
        ("--max-cost", "nan"),
        ("--max-cost", "inf"),
        ("--max-cost", "-3"),
    ],
)
def test_a_budget_that_limits_nothing_is_refused(
    home: Path, people: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]
) -> None:
    done = in_process(capsys, "batch", "run", people, *wrong)
    assert (done.status, done.error_code) == (2, "configuration")
    assert wrong[0] in done.stderr


def test_a_batch_that_was_never_run_has_no_status(
    people: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process(capsys, "batch", "status", people, "--json")
    valid(done.json, "batch-status")
    assert done.json["jobs"] == []


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def worker(log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command("worker"), stdout=out, stderr=out, env=os.environ | environment
        )
    try:
        until(lambda: b"working" in log.read_bytes() or process.poll() is not None)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


def fired(*logs: Path) -> list[str]:
    return [slot for log in logs for slot in re.findall(r"schedule often, (.*?):", log.read_text())]


def until(true: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def unfinished(home: Path) -> int:
    with sqlite3.connect(home / "lora_prep.sqlite") as database:
        rows = "SELECT count(*) FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')"
        return int(database.execute(rows).fetchone()[0])
