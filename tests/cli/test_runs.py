"""runs, status, cancel and runs prune, on records as the chain leaves them; nothing is launched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lora_prep.events import Event, ignore
from lora_prep.settings import home_folder, load_settings
from lora_prep.trainers import State
from pipelines.backends import open_ledger
from pipelines.looking import Looker
from pipelines.runs import Run, new_run, run_by_id
from tests.cli.command import Done, command, in_process
from tests.cli.schemas import valid
from tests.records import LOST, in_hand, made, submitted

Capture = pytest.CaptureFixture[str]


def rows_of(done: Done, schema: str = "runs") -> list[dict[str, Any]]:
    assert done.status == 0, done.stderr
    valid(done.json, schema)
    rows: list[dict[str, Any]] = done.json["runs"]
    return rows


# ── runs and status ───────────────────────────────────────────────────────────────────────────


def test_what_needs_attention_comes_first_and_what_has_ended_last(capsys: Capture) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    archived = made("archived", training={"prediction_id": "p", "price_usd": 4})
    going = made("submitted", name="ben", training={"prediction_id": "p2"})
    expiring = made("completed", expires_at=soon, training={"prediction_id": "p3"})
    lost = made("submitting", error=LOST, training={"prediction_id": None})
    made(None).update(opened=None)
    looked_at = made("prepared", name="only prepared")
    looked_at.update(opened=None)
    rows = rows_of(in_process(capsys, "runs", "--json"))
    assert [row["run"] for row in rows[:3]] == [expiring.id, lost.id, going.id]
    assert [row["needs_attention"] for row in rows[:3]] == [True, True, False]
    assert (rows[0]["soon"], rows[0]["stage"]) == (True, "archive")
    assert rows[1]["error"]["code"] == "needs_attention"
    ended = {row["run"]: row for row in rows[3:]}
    assert (ended[archived.id]["provider_state"], ended[archived.id]["price_usd"]) == (
        "archived",
        4,
    )
    unfinished = rows_of(in_process(capsys, "status", "--json"), "status")
    assert [row["run"] for row in unfinished] == [expiring.id, lost.id, going.id]
    told = in_process(capsys, "status")
    assert told.stdout.splitlines()[1].startswith(f"! {expiring.id}")
    assert "needs you" in told.stderr


def test_a_run_that_was_broken_off_before_it_was_submitted_is_unfinished(capsys: Capture) -> None:
    broken = [made("created"), made("inspected"), made("prepared"), made(None)]
    rows = rows_of(in_process(capsys, "status", "--json"), "status")
    assert {row["run"] for row in rows} == {run.id for run in broken}
    assert {row["stage"] for row in rows} == {"prepare", "upload", None}


def test_what_a_batch_planned_is_unfinished_once_somebody_agreed(capsys: Capture) -> None:
    from pipelines.engine import Client
    from pipelines.train import Task

    agreed, planned = made("planned"), made("planned")
    assert rows_of(in_process(capsys, "status", "--json"), "status") == []
    client = Client(load_settings())
    client.enqueue(Task(agreed.id, yes=True))
    client.close()
    (row,) = rows_of(in_process(capsys, "status", "--json"), "status")
    assert (row["run"], row["stage"]) == (agreed.id, "upload")
    rows = rows_of(in_process(capsys, "runs", "--json"))
    assert {row["run"] for row in rows} == {agreed.id, planned.id}
    (row,) = rows_of(in_process(capsys, "status", planned.id, "--json"), "status")
    assert row["stage"] is None


def test_the_ledger_says_what_the_provider_has(capsys: Capture) -> None:
    run = made("submitted", training={"prediction_id": "p"})
    lost = made("submitting", training={"prediction_id": None})
    submitted(run)
    (row,) = rows_of(in_process(capsys, "status", run.id, "--json"), "status")
    assert row["provider_state"] == "submitted"
    submitted(lost, State.UNKNOWN)
    (row,) = rows_of(in_process(capsys, "status", lost.id, "--json"), "status")
    assert (row["provider_state"], row["needs_attention"]) == ("unknown", True)
    told = in_process(capsys, "status", lost.id).stdout
    assert f"lora-prep resolve {lost.id}" in told


def test_what_a_process_has_in_hand_needs_nobody(capsys: Capture) -> None:
    run = made("submitted", error=LOST, training={"prediction_id": "p"})
    with in_hand(run):
        (row,) = rows_of(in_process(capsys, "status", "--json"), "status")
        assert (row["held"], row["needs_attention"]) == (True, False)
        assert in_process(capsys, "status").stdout.splitlines()[1].startswith(f"> {run.id}")
    (row,) = rows_of(in_process(capsys, "status", "--json"), "status")
    assert (row["held"], row["needs_attention"]) == (False, True)


def test_the_table_fits_100_columns_whatever_the_names_are(capsys: Capture) -> None:
    later = (datetime.now(UTC) + timedelta(days=6, hours=23)).isoformat()
    names = ["ada", "x" * 300, "日本語" * 20, "two\nlines\x1b[31m", "[red]"]
    for name in names:
        training = {"prediction_id": "p" * 32, "price_usd": 1234.5}
        made("submitting", name=name, expires_at=later, training=training, error=LOST)
    from rich.cells import cell_len

    told = in_process(capsys, "runs")
    lines = told.stdout.splitlines()
    assert len(lines) == 1 + len(names)
    assert max(map(cell_len, lines)) <= 100
    assert "\x1b" not in told.stdout
    assert len({line.index("submitting") for line in lines[1:] if line.isascii()}) == 1


def test_one_run_is_told_in_full(capsys: Capture) -> None:
    run = made(
        "submitted", name="ada", error=LOST, training={"prediction_id": "pred", "price_usd": 4}
    )  # fmt: skip
    run.listener(ignore)(Event("train", "processing", done=192, unit="s"))
    told = in_process(capsys, "status", run.id).stdout
    for words in (run.id, "ada", "submitted", "train", "pred", "4 USD", "Lost.", "W.",
                  "train: processing, 3 min 12 s (0 s ago)", "lora-prep resume"):  # fmt: skip
        assert words in told
    (row,) = rows_of(in_process(capsys, "status", run.id, "--json"), "status")
    assert row["last_event"]["message"] == "processing"
    assert row["elapsed_s"] >= 0


def test_the_time_of_a_run_ends_with_what_stopped_it(capsys: Capture) -> None:
    stopped = made("inspected", error=LOST)
    begun = datetime.now(UTC) - timedelta(hours=5)
    run = stopped.path.rename(stopped.path.with_name(f"{begun:%Y%m%dt%H%M%S}-abcdef"))
    at = (begun + timedelta(seconds=90)).timestamp()
    os.utime(run / "run.json", (at, at))
    (row,) = rows_of(in_process(capsys, "status", "--json"), "status")
    assert 89 <= row["elapsed_s"] <= 91


def test_the_last_event_is_read_from_the_end_of_a_large_file() -> None:
    run = made("submitted")
    path = run.path / "events.jsonl"
    line = json.dumps({"time": "2026-01-01T00:00:00+00:00", "stage": "train", "message": "old"})
    path.write_text(f"{line}\n" * 200_000)
    assert (run.last_said() or {})["message"] == "old"
    with path.open("a") as file:
        file.write(line.replace("old", "new") + "\n" + line[:40])  # the last is being written
    began = time.perf_counter()
    assert (run.last_said() or {})["message"] == "new"
    assert time.perf_counter() - began < 0.05
    path.write_bytes(b"\xff\xfe{" * 9000)
    assert run.last_said() is None
    path.unlink()
    assert run.last_said() is None


def test_a_damaged_record_hides_no_other(capsys: Capture) -> None:
    good, bad = made("submitted"), made("submitted")
    (bad.path / "run.json").write_text("{")
    made("completed", expires_at="some day")
    (new := made("submitted")).update(training="none")
    (new.path / "run.json").write_text("[1]")
    assert [row["run"] for row in rows_of(in_process(capsys, "runs", "--json"))] == [good.id]
    assert in_process(capsys, "status", bad.id).status == 2


def test_records_that_did_not_change_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = made("submitted"), made("submitted")
    looker = Looker(load_settings())
    looker.rows()
    read: list[str] = []
    record = Run.record
    monkeypatch.setattr(Run, "record", lambda run: read.append(run.id) or record(run))
    other.update(status="completed")
    read.clear()
    assert {row.run: row.status for row in looker.rows()} == {
        run.id: "submitted", other.id: "completed",
    }  # fmt: skip
    assert read == [other.id]


def test_unknown_runs_are_usage_errors(capsys: Capture) -> None:
    for words in (
        ["status", "20260101t000000-abcdef"],
        ["status", "../../etc"],
        ["status", "nobody", "--watch"],
        ["cancel", "nobody"],
        ["cancel"],
        ["runs", "nobody"],
    ):
        done = in_process(capsys, *words)
        assert (done.status, done.error_code) == (2, "configuration"), words
    assert not (home_folder() / "lora_prep.sqlite").exists()


def test_looking_at_an_empty_home_makes_nothing(capsys: Capture) -> None:
    for words in (["runs"], ["status"], ["runs", "prune"]):
        done = in_process(capsys, *words, "--json")
        assert (done.status, done.json["runs"]) == (0, [])
        valid(done.json, "-".join(words))
    assert [path.name for path in home_folder().iterdir()] == []


@pytest.mark.slow
def test_the_engine_is_not_loaded_to_look(capsys: Capture) -> None:
    run = made("submitted", training={"prediction_id": "p"})
    submitted(run)
    code = (
        "import sys; from lora_prep.cli.dispatch import dispatch\n"
        "for words in (['runs'], ['status'], ['cancel', sys.argv[1]]):\n"
        "    assert dispatch(words) == 0\n"
        "heavy = {'dbos', 'onnxruntime', 'boto3', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, run.id], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_living_executor_has_in_hand_what_its_workflow_says(capsys: Capture) -> None:
    from pipelines.engine import Client
    from pipelines.train import Task

    run, other = made("submitted"), made("submitted")
    client = Client(load_settings())
    try:
        here = client.executors.enter("m1")
        client.enqueue(Task(run.id), here)
        client.enqueue(Task(other.id))  # for a worker; none is there
        rows = {row["run"]: row for row in rows_of(in_process(capsys, "runs", "--json"))}
        assert (rows[run.id]["held"], rows[other.id]["held"]) == (True, False)
        client.executors.leave(here)
        assert not any(row["held"] for row in rows_of(in_process(capsys, "runs", "--json")))
    finally:
        client.close()


def test_runs_of_other_machines_are_known_by_their_ids(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.engine import Client
    from pipelines.train import Task

    monkeypatch.setattr("pipelines.known.is_shared", lambda settings: True)
    monkeypatch.setattr(Client, "progress", lambda client, flow: {"stage": "poll"})
    mine, theirs, over = made("submitted", name="ada"), new_run(), new_run()
    submitted(theirs)
    client = Client(load_settings())
    try:
        there = client.executors.enter("m2")
        for run, queue in ((mine, there), (theirs, there), (over, "train")):
            client.enqueue(Task(run.id), queue)
        client.cancel(over.id)
        rows = {row["run"]: row for row in rows_of(in_process(capsys, "runs", "--json"))}
        assert {run: row["here"] for run, row in rows.items()} == {
            mine.id: True, theirs.id: False, over.id: False,
        }  # fmt: skip
        row = rows[theirs.id]
        assert (row["name"], row["status"], row["held"]) == (None, "queued", True)
        assert (row["provider_state"], row["price_usd"]) == ("submitted", 4)
        assert row["elapsed_s"] >= 0
        assert rows[over.id]["status"] == "cancelled"
        unfinished = rows_of(in_process(capsys, "status", "--json"), "status")
        assert {row["run"] for row in unfinished} == {mine.id, theirs.id}
        (row,) = rows_of(in_process(capsys, "status", theirs.id, "--json"), "status")
        assert row["stage"] == "train"
        done = in_process(capsys, "cancel", theirs.id, "--json")
        valid(done.json, "cancel")
        assert (done.json["stopped"], done.json["training"]) == (True, "submitted")
        assert not theirs.path.exists()
        assert pruned(capsys, "--older-than", "1", "--yes")["runs"] == []
    finally:
        client.close()


def test_what_another_machine_did_with_a_run_of_this_one_counts(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.engine import Client, Flow
    from pipelines.train import Task

    monkeypatch.setattr("pipelines.known.is_shared", lambda settings: True)
    monkeypatch.setattr(Client, "progress", lambda client, flow: {"stage": "archive"})
    done, going, given_up = made("prepared"), made("prepared"), made("prepared")
    client = Client(load_settings())
    try:
        for run in (done, going, given_up):
            client.enqueue(Task(run.id))
        client.cancel(given_up.id)
    finally:
        client.close()
    flows = Client.flows

    def as_executed(client: Client, *runs: str, unfinished: bool = False) -> list[Flow]:
        told = {
            done.id: {"status": "SUCCESS", "answer": {"status": "archived"}, "executor_id": "m2-1"},
            going.id: {"status": "PENDING", "executor_id": "m2-1"},
        }
        found = [replace(flow, **told.get(flow.run, {})) for flow in flows(client, *runs)]
        return [flow for flow in found if not (unfinished and flow.finished)]

    monkeypatch.setattr(Client, "flows", as_executed)
    rows = {row["run"]: row for row in rows_of(in_process(capsys, "runs", "--json"))}
    assert {run: row["status"] for run, row in rows.items()} == {
        done.id: "archived", going.id: "prepared", given_up.id: "cancelled",
    }  # fmt: skip
    assert rows[going.id]["stage"] == "archive"
    (row,) = rows_of(in_process(capsys, "status", "--json"), "status")
    assert row["run"] == going.id


# ── watching ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_PREP_ENGINE__LOOK_S", "0.02")


@pytest.mark.usefixtures("quick")
def test_a_run_is_watched_to_its_end_a_line_per_change(capsys: Capture) -> None:
    run = made("submitted", name="ada", training={"prediction_id": "p"})
    say = run.listener(ignore)

    def train() -> None:
        for seconds in range(3):
            say(Event("train", "processing", done=seconds, unit="s"))
            time.sleep(0.1)
        say(Event("archive", "reading back"))
        time.sleep(0.1)
        run.update(status="archived")

    training = threading.Thread(target=train)
    training.start()
    done = in_process(capsys, "status", run.id, "--watch")
    training.join()
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert len([line for line in lines if "train: processing" in line]) == 1
    assert any("archive: reading back" in line for line in lines)
    assert lines[-1].startswith(f"{run.id}  ada  archived")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("words", [["runs"], ["status"]])
def test_ctrl_c_ends_the_watching_and_is_no_failure(
    words: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made("submitted")
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        run.update(status="archived")
        if looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("lora_prep.cli.runs.time.sleep", sleep)
    done = in_process(capsys, *words, "--watch")
    assert done.status == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["train", "archived"]
    looks = 0
    done = in_process(capsys, *words, "--watch", "--json")  # one object, of the last look
    assert [row["status"] for row in rows_of(done)] == ["archived"] * (words == ["runs"])


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_terminal_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    run = made("submitted", name="ada")
    run.listener(ignore)(Event("train", "processing"))
    ours, theirs = pty.openpty()
    words = command("status", run.id, "--watch")
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | {"COLUMNS": "100", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    screen, ended = b"", False
    while True:
        try:
            screen += os.read(ours, 4096)
        except OSError:
            break
        if b"processing" in screen and not ended:
            run.update(status="archived")
            ended = True
    os.close(ours)
    assert process.wait(30) == 0
    assert b"archived" in screen
    assert b"PERSON" in screen


# ── cancel ────────────────────────────────────────────────────────────────────────────────────


def cancelled(capsys: Capture, run: Run) -> dict[str, Any]:
    done = in_process(capsys, "cancel", run.id, "--json")
    assert done.status == 0, done.stderr
    valid(done.json, "cancel")
    return done.json


@pytest.mark.parametrize("state", [None, State.SUBMITTED, State.UNKNOWN])
def test_cancel_says_what_may_still_be_billed_and_leaves_the_ledger(
    state: State | None, capsys: Capture
) -> None:
    run = made("submitting" if state else "prepared")
    prediction = None
    if state:
        run.update(training={"prediction_id": None})
        prediction = submitted(run, state)
    before = open_ledger(load_settings()).of_run(run.id)
    said = {None: "none", State.SUBMITTED: "submitted", State.UNKNOWN: "may_be_submitted"}[state]
    for _ in range(2):  # once more changes nothing
        answer = cancelled(capsys, run)
        assert (answer["training"], answer["stopped"]) == (said, False)
        assert answer["prediction_id"] == (prediction if state is State.SUBMITTED else None)
    assert open_ledger(load_settings()).of_run(run.id) == before
    told = in_process(capsys, "cancel", run.id)
    assert ("billed" in told.stdout, f"lora-prep resume {run.id}" in told.stderr) == (True, True)
    assert rows_of(in_process(capsys, "status", "--json"), "status") == []
    (row,) = rows_of(in_process(capsys, "runs", "--json"))
    assert (row["status"], row["needs_attention"]) == ("cancelled", False)


def test_cancel_stops_the_workflow_and_the_next_one_takes_it_back(capsys: Capture) -> None:
    from pipelines.engine import Client
    from pipelines.train import Task

    run = made("created")
    client = Client(load_settings())
    try:
        client.enqueue(Task(run.id))
        assert cancelled(capsys, run)["stopped"] is True
        assert [flow.status for flow in client.flows(run.id)] == ["CANCELLED"]
        assert run.is_cancelled
        client.enqueue(Task(run.id))
        assert not run.is_cancelled
    finally:
        client.close()


def test_what_has_ended_cannot_be_cancelled(capsys: Capture) -> None:
    for status in ("archived", "failed"):
        done = in_process(capsys, "cancel", made(status).id)
        assert (done.status, done.error_code) == (2, "configuration")
        assert status in done.stderr


# ── prune ─────────────────────────────────────────────────────────────────────────────────────


def pruned(capsys: Capture, *words: str) -> dict[str, Any]:
    done = in_process(capsys, "runs", "prune", *words, "--json")
    valid(done.json, "runs-prune")
    assert done.status == 0, done.stderr
    return done.json


def test_only_what_ended_long_ago_is_pruned(capsys: Capture) -> None:
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    archived = made("archived", days_ago=91, name="ada")
    (archived.path / "crops").mkdir()
    (archived.path / "crops" / "1.jpg").write_bytes(b"x" * 2_000_000)
    failed = made("failed", days_ago=100)
    looked_at = made("prepared", days_ago=95)
    looked_at.update(opened=None)
    os.utime(looked_at.path / "run.json", (time.time() - 95 * 86400,) * 2)
    given_up = made("prepared", days_ago=99)
    given_up.mark_cancelled()
    stay = [
        made("archived", days_ago=89),
        made("submitted", days_ago=200, training={"prediction_id": "p"}),
        made("prepared", days_ago=200),
        made("failed", days_ago=91, expires_at=later),  # came broken; the provider has it still
    ]
    refused = in_process(capsys, "runs", "prune", "--json")
    assert (refused.status, refused.error_code) == (9, "declined")
    valid(refused.json, "runs-prune")
    assert [row["run"] for row in refused.json["runs"]] == [
        failed.id, given_up.id, looked_at.id, archived.id,
    ]  # fmt: skip
    assert archived.path.exists()
    answer = pruned(capsys, "--yes")
    assert all(row["removed"] for row in answer["runs"])
    assert answer["freed_bytes"] > 2_000_000
    for run in (archived, failed, looked_at, given_up):
        assert not run.path.exists()
    for run in stay:
        assert run.path.exists()
    assert not (home_folder() / "pruned").exists()
    assert pruned(capsys, "--yes")["runs"] == []


def test_a_cancelled_training_that_may_go_on_is_kept(capsys: Capture) -> None:
    young, old = (made("submitted", training={"prediction_id": None}) for _ in range(2))
    for run, days_ago in ((young, 10), (old, 20)):
        run.mark_cancelled()
        os.utime(run.path / "run.json", (time.time() - days_ago * 86400,) * 2)
    submitted(young)
    open_ledger(load_settings())
    answer = pruned(capsys, "--older-than", "5", "--yes")
    assert [row["run"] for row in answer["runs"]] == [old.id]
    assert run_by_id(young.id)


def test_what_somebody_has_in_hand_is_not_pruned(capsys: Capture) -> None:
    run = made("archived", days_ago=100)
    with in_hand(run):
        assert pruned(capsys, "--yes")["runs"] == []
    assert pruned(capsys, "--yes")["runs"][0]["removed"]


def test_the_engine_forgets_what_is_pruned_and_the_ledger_does_not(capsys: Capture) -> None:
    from pipelines.engine import Client
    from pipelines.train import Task

    run = made("archived", training={"prediction_id": "p"})
    prediction = submitted(run)
    os.utime(run.path / "run.json", (time.time() - 100 * 86400,) * 2)
    client = Client(load_settings())
    try:
        client.enqueue(Task(run.id))
        client.cancel(run.id)
        assert pruned(capsys, "--yes")["runs"]
        assert client.flows(run.id) == []
    finally:
        client.close()
    kept = open_ledger(load_settings()).of_run(run.id)
    assert kept is not None
    assert kept.prediction_id == prediction


def test_how_long_runs_are_kept_is_a_setting(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made("archived", days_ago=100)
    monkeypatch.setenv("LORA_PREP_ENGINE__KEEP_DAYS", "0")
    answer = pruned(capsys, "--yes")
    assert (answer["older_than_days"], answer["runs"]) == (None, [])
    monkeypatch.setenv("LORA_PREP_ENGINE__KEEP_DAYS", "101")
    assert pruned(capsys, "--yes")["runs"] == []
    for words in (["--older-than", "0"], ["--older-than", "-3"], ["--older-than", "soon"]):
        done = in_process(capsys, "runs", "prune", *words)
        assert (done.status, done.error_code) == (2, "configuration")
    assert [row["run"] for row in pruned(capsys, "--older-than", "99", "--yes")["runs"]] == [run.id]


def test_a_removal_that_was_cut_off_is_finished_by_the_next(capsys: Capture) -> None:
    left = home_folder() / "pruned" / "20260101t000000-abcdef"
    left.mkdir(parents=True)
    (left / "1.jpg").write_bytes(b"x")
    made("archived", days_ago=100)
    pruned(capsys, "--yes")
    assert not left.exists()
