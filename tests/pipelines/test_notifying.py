"""A command of the user's own is told how a run ended; whatever it does, the run goes on."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lora_prep import errors
from lora_prep.errors import (
    ConfigurationError,
    DatasetError,
    LoraPrepError,
    RefusedBySystem,
    Unexpected,
)
from lora_prep.settings import Settings, home_folder, load_settings
from pipelines.notifying import SPOKEN, Notice, notice_of, notify
from pipelines.runs import new_run
from tests.cli.schemas import valid

KEY = "wsk-0123456789abcdef"
LORA = {
    "url": "s3://bucket/loras/r-1/r-1-0123.safetensors",
    "sha256": "0" * 64,
    "bytes": 1,
    "role": "single",
}
DONE = Notice("done", "r-1", "archived", (LORA,))


def program(folder: Path, code: str, timeout_s: float = 10) -> Settings:
    """Settings whose command runs some Python; two blanks show that no shell splits it."""
    path = folder / "tell  me.py"
    path.write_text(code)
    command = shlex.join([sys.executable, "-S", str(path)])
    return load_settings({"notify": {"command": command, "timeout_s": timeout_s}})


def told(folder: Path, notice: Notice) -> dict[str, Any]:
    """What the command gets on its stdin."""
    target = folder / "told.json"
    notify(
        notice,
        program(folder, f"import sys; open({str(target)!r}, 'w').write(sys.stdin.read())"),
    )
    message: dict[str, Any] = json.loads(target.read_text())
    return message


@pytest.fixture(autouse=True)
def _warnings_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)  # a command that ran in this process may have set it higher


def warning(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    return record.getMessage()


# ── what is told ──────────────────────────────────────────────────────────────────────────────


def test_the_command_gets_one_object(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    message = told(tmp_path, DONE)
    valid(message, "notification")
    assert message == {
        "schema": 1,
        "event": "done",
        "run": "r-1",
        "status": "archived",
        "loras": [{"url": LORA["url"], "sha256": LORA["sha256"]}],
        "error": None,
        "expires_at": None,
    }
    assert caplog.records == []


def test_a_notice_is_made_from_the_run_s_record(tmp_path: Path) -> None:
    run = new_run()
    assert notice_of(run, "failed") == Notice("failed", run.id)
    at = datetime(2026, 8, 1, tzinfo=UTC)
    lost = errors.NeedsAttention("Lost.", why="W.", fix="F.", candidates=("p-1",)).to_json()
    run.update(
        status="submitted",
        name="Ada Lovelace",
        report=str(run.report),
        error=lost,
        expires_at=at.isoformat(),
        loras=[LORA],
    )
    message = told(tmp_path, notice_of(run, "needs_attention"))
    valid(message, "notification")
    assert (message["status"], message["expires_at"]) == ("submitted", at.isoformat())
    assert message["error"] == {
        "code": "needs_attention",
        "message": "Lost.",
        "why": "W.",
        "fix": "F.",
    }
    assert "Lovelace" not in json.dumps(message)


def kinds(kind: type[LoraPrepError]) -> list[type[LoraPrepError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in kinds(one))]


@pytest.mark.parametrize("kind", kinds(LoraPrepError), ids=lambda kind: kind.code)
def test_no_error_names_a_person_a_folder_or_a_key(kind: type[LoraPrepError]) -> None:
    home = home_folder()
    error = kind(
        f"In {home}/runs/ada and /home/Ada/photos/1.jpg,",
        why=f"https://s3.test/x/data.zip?X-Amz-Signature={KEY} and 'C:\\Users\\Ada\\x' ~/Ada.",
        fix=f"Set api_key={KEY}; look at /api/v3 and s3://bucket/loras.",
    )
    message = Notice("failed", "r-1", error=error.to_json()).to_json((str(home), "/home/Ada", "/"))
    valid(message, "notification")
    text = json.dumps(message)
    for private in (KEY, "Ada", "ada", str(home), "photos/1.jpg"):
        assert private not in text
    assert message["error"]["code"] == kind.code
    if kind.code in SPOKEN:
        assert "s3://bucket/loras" in text
        assert "https://s3.test/x/data.zip?[hidden]" in text


def test_errors_about_folders_and_photos_keep_their_words() -> None:
    about_files = (ConfigurationError, DatasetError, RefusedBySystem, Unexpected)
    private = {kind.code for about in about_files for kind in kinds(about)}
    all_codes = {kind.code for kind in kinds(LoraPrepError)}
    assert all_codes - private - {LoraPrepError.code} == SPOKEN
    error = ConfigurationError("Ada is there twice.", why="Ada.", fix="Ada.")
    message = Notice("failed", "r-1", error=error.to_json()).to_json()
    assert "Ada" not in json.dumps(message)
    assert "lora-prep status r-1" in message["error"]["fix"]


def test_a_link_loses_its_signature() -> None:
    signed = {**LORA, "url": f"{LORA['url']}?X-Amz-Signature={KEY}"}
    message = Notice("done", "r-1", "archived", (signed,)).to_json()
    assert message["loras"][0]["url"] == LORA["url"]


# ── what the command does ─────────────────────────────────────────────────────────────────────


def test_without_a_command_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("was run"))
    notify(DONE, load_settings())


def test_what_it_writes_is_not_shown_and_our_keys_are_not_handed_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = ("WAVESPEED_API_KEY", "LORA_PREP_TRAINER__API_KEY", "LORA_PREP_ENGINE__DATABASE_URL")
    for name in ours:
        monkeypatch.setenv(name, f"postgresql://{KEY}@h")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    settings = program(
        tmp_path,
        "import os, sys; print('out'); sys.stderr.write('err');"
        "open('told', 'w').write(' '.join(os.environ))",
    )
    notify(DONE, settings)
    names = Path("told").read_text().split()
    assert not set(ours) & set(names)
    assert {"AWS_PROFILE", "LORA_PREP_HOME", "PATH"} <= set(names)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("command", ["no-such-command", "/", "./told.txt"])
def test_a_command_that_is_none_is_a_warning(
    command: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path("told.txt").write_text("no program")
    Path("told.txt").chmod(0o700)
    notify(DONE, load_settings({"notify": {"command": f"{command} --key={KEY}"}}))
    assert "was not told of the run r-1" in warning(caplog)
    assert KEY not in caplog.text


def test_one_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat > '{tmp_path}/told'\n")
    script.chmod(0o700)
    notify(DONE, load_settings({"notify": {"command": "~/tell"}}))
    assert json.loads((tmp_path / "told").read_text())["run"] == "r-1"


def test_one_that_fails_is_a_warning_with_its_last_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = program(
        tmp_path,
        f"import sys; sys.stderr.write('x' * 300_000 + '\\nno route, token={KEY}'); sys.exit(3)",
    )
    notify(DONE, load_settings({"notify": settings.notify.model_dump()}))
    assert "ended with status 3" in warning(caplog)
    assert KEY not in caplog.text


def test_one_that_reads_nothing_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    error = {"code": "storage", "message": "x" * 400, "why": "x" * 400, "fix": "x" * 400}
    many = Notice("failed", "r-1", "archived", (LORA,) * 2000, error)  # more than a pipe holds
    notify(many, load_settings({"notify": {"command": "true"}}))
    assert caplog.records == []


def lives(pid: int) -> bool:
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"  # one that nobody has reaped has ended
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_one_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = program(
        tmp_path,
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(2):\n"  # itself, its child and its grandchild
        "    if os.fork(): break\n"
        "open(f'pid-{os.getpid()}', 'w').close()\n"
        "time.sleep(60)\n",
        timeout_s=2.5,
    )
    began = time.monotonic()
    notify(DONE, settings)
    assert time.monotonic() - began < 10
    assert "longer than 2.5 s" in warning(caplog)
    pids = [int(path.name.removeprefix("pid-")) for path in Path().glob("pid-*")]
    assert len(pids) == 3
    deadline = time.monotonic() + 5
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(lives, pids))


@pytest.mark.slow
def test_one_that_leaves_a_child_behind_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = program(
        tmp_path,
        "import os, sys, time\n"
        "if os.fork():\n    sys.exit(1)\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "time.sleep(3)\n",
    )
    began = time.monotonic()
    notify(DONE, settings)
    assert time.monotonic() - began < 2.9
    assert "status 1" in warning(caplog)
