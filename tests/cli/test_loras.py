"""lora check, convert and use; status; and that no command takes another one's word."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.runs import Run, new_run
from tests.archive.fault_origin import Status, fault_origin
from tests.archive.lora_files import lora
from tests.cli.command import in_process
from tests.cli.schemas import valid

GOOD = lora(rank=4, blocks=40)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    path.write_bytes(GOOD)
    return path


def test_check_says_what_a_file_is(file: Path, capsys: Capture) -> None:
    done = in_process(capsys, "lora", "check", file, "--json")
    assert done.status == 0
    valid(done.json, "lora-check")
    assert done.json["sha256"] == hashlib.sha256(GOOD).hexdigest()
    assert (done.json["rank"], done.json["blocks"], done.json["model"]) == (4, 40, "Wan 14B")
    assert (done.json["complete"], done.json["modules"]) == (True, ["self_attn.q"])
    told = in_process(capsys, "lora", "check", file).stdout
    assert "spelling      diffusion_model" in told
    assert "alpha         -" in told


def test_check_refuses_what_is_not_whole(file: Path, capsys: Capture) -> None:
    file.write_bytes(GOOD[:-1])
    done = in_process(capsys, "lora", "check", file, "--json")
    assert (done.status, done.error_code) == (8, "lora_invalid")
    valid(done.json, "lora-check")
    done = in_process(capsys, "lora", "check", file.parent)
    assert (done.status, done.error_code) == (2, "configuration")


def test_check_of_a_link_reads_a_range_and_shows_no_signature(capsys: Capture) -> None:
    with fault_origin(GOOD) as server:
        done = in_process(capsys, "lora", "check", f"{server.url}/x?Signature=abc", "--json")
    assert done.status == 0, done.stderr
    valid(done.json, "lora-check")
    assert (done.json["complete"], done.json["sha256"], done.json["rank"]) == (False, None, 4)
    assert done.json["bytes"] == len(GOOD)
    assert server.ranges == ["bytes=0-262143"]
    assert "abc" not in done.stdout + done.stderr
    assert "were not read" in done.stderr


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Status(403), "archive_failed"),
        (Status(200, body=b"<html>Not found</html>"), "lora_invalid"),
        (Status(206, {"Content-Range": "bytes 5-9/99"}), "archive_failed"),
    ],
)
def test_check_of_a_link_to_something_else(answer: Status, code: str, capsys: Capture) -> None:
    with fault_origin(GOOD, answer) as server:
        done = in_process(capsys, "lora", "check", f"{server.url}/x?Signature=abc")
    assert (done.status, done.error_code) == (8, code)
    assert "abc" not in done.stderr


def test_a_long_header_is_read_in_two_ranges(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_prep.archive.remote.FIRST_BYTES", 100)
    with fault_origin(GOOD) as server:
        done = in_process(capsys, "lora", "check", f"{server.url}/x")
    assert done.status == 0
    assert server.ranges[0] == "bytes=0-99"
    assert len(server.ranges) == 2


def test_convert_writes_another_spelling(file: Path, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "y.safetensors"
    words = ["lora", "convert", file, "--to", "lora_unet", "-o", output]
    done = in_process(capsys, *words, "--json")
    assert done.status == 0
    valid(done.json, "lora-convert")
    assert (done.json["from"], done.json["to"]) == ("diffusion_model", "lora_unet")
    assert done.json["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    checked = in_process(capsys, "lora", "check", output, "--json").json
    assert (checked["spelling"], checked["alpha"]) == ("lora_unet", 4.0)
    again = in_process(capsys, *words)
    assert (again.status, again.error_code) == (2, "configuration")
    back = in_process(
        capsys, "lora", "convert", output, "--to", "diffusion_model", "-o", tmp_path / "z"
    )
    assert "multiplied in, exactly" in back.stderr


def submitted(expires_in: timedelta | None, **facts: object) -> Run:
    run = new_run()
    expires_at = expires_in and (datetime.now(UTC) + expires_in).isoformat()
    values = {"status": "completed", "training": {"prediction_id": "p"}, **facts}
    run.update(expires_at=expires_at, **values)
    return run


def test_status_lists_what_expires_first(capsys: Capture) -> None:
    later = submitted(timedelta(days=6), name="ben")
    soon = submitted(timedelta(hours=5), name="ada")
    waiting = submitted(None, status="submitted")
    over = submitted(None, status="archived")
    done = in_process(capsys, "status", "--json")
    assert done.status == 0
    valid(done.json, "status")
    assert [row["run"] for row in done.json["runs"]] == [soon.id, later.id, waiting.id]
    assert [row["soon"] for row in done.json["runs"]] == [True, False, False]
    told = in_process(capsys, "status")
    assert "4 h 59 min !" in told.stdout.splitlines()[1]
    assert "lora-prep sweep" in told.stderr
    one = in_process(capsys, "status", over.id, "--json").json
    assert [row["status"] for row in one["runs"]] == ["archived"]
    soon.update(status="archived")
    assert "lora-prep resume RUN" in in_process(capsys, "status").stderr  # also with days left
    missing = in_process(capsys, "status", "20260101t000000-abcdef")
    assert (missing.status, missing.error_code) == (2, "configuration")


def test_status_of_a_new_home_is_empty_and_starts_nothing(capsys: Capture) -> None:
    done = in_process(capsys, "status", "--json")
    assert (done.status, done.json["runs"]) == (0, [])


def test_archive_is_a_command_and_a_group(capsys: Capture) -> None:
    for words, says in (
        (["archive"], "PREDICTION"),
        (["archive", "verify", "x"], "archive verify --help"),
    ):
        done = in_process(capsys, *words)
        assert (done.status, done.error_code) == (2, "configuration")
        assert says in done.stderr
