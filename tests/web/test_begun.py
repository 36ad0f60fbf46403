"""Commands that outlive the dashboard: real ones, ended in every way."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from lora_prep.errors import TemporaryError
from lora_prep.web import begun as module
from lora_prep.web.begun import Begun, Commands
from tests.cli.command import command
from tests.records import made, submitted

pytestmark = pytest.mark.slow  # it starts processes

WAIT_S = 60


def until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture
def children() -> Callable[[], list[psutil.Process]]:
    """Return what tells the children that a test has made: other tests leave theirs behind."""
    before = set(psutil.Process().children())
    return lambda: [one for one in psutil.Process().children() if one not in before]


def ended(commands: Commands, run: str) -> Begun:
    until(lambda: commands.going_on == 0)
    found = commands.of(run)
    assert found
    return found


def test_of_two_at_once_one_is_begun() -> None:
    commands, together = Commands(), threading.Barrier(4)

    def begin(_: int) -> bool:
        together.wait()
        try:
            return bool(commands.begin("a-run", ["--version"]))
        except TemporaryError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(begin, range(4))) == 1
    assert ended(commands, "a-run").status == 0


def test_what_ends_a_command_does_not_wait_for_it(
    children: Callable[[], list[psutil.Process]],
) -> None:
    """A training that is gone on with takes hours: giving it up must not."""
    commands = Commands()
    long = ["dashboard", "--no-browser"]
    commands.begin("a-run", long)
    with pytest.raises(TemporaryError, match="Another command goes on"):
        commands.begin("a-run", ["--version"])
    short = commands.begin("a-run", ["cancel", "--help"])
    with pytest.raises(TemporaryError):
        commands.begin("a-run", ["cancel", "--help"])  # once is enough
    until(lambda: commands.going_on == 1)
    (left,) = children()
    assert left.cmdline()[-2:] == long
    left.kill()
    last = ended(commands, "a-run")
    assert (last.words, last.status) == (short.words, 0)  # the last one is what is shown


def test_many_commands_leave_no_process_and_no_file_open(
    children: Callable[[], list[psutil.Process]],
) -> None:
    this, commands = psutil.Process(), Commands()
    files, threads = this.num_fds(), threading.active_count()
    for number in range(8):
        commands.begin(f"run{number}", ["--version"])
    until(lambda: commands.going_on == 0)
    until(lambda: threading.active_count() <= threads)
    assert children() == []  # zombies would be among them
    assert this.num_fds() <= files
    assert all((one := commands.of(f"run{number}")) and one.said for number in range(8))


def test_a_module_of_ours_is_not_looked_for_where_the_dashboard_stands() -> None:
    Path("lora_prep.py").write_text("raise SystemExit('of the photos folder')")
    commands = Commands()
    commands.begin("a-run", ["--version"])
    assert ended(commands, "a-run").status == 0


def test_what_cannot_be_begun_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    files = psutil.Process().num_fds()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TemporaryError, match="could not be begun"):
        Commands().begin("a-run", ["--version"])
    assert psutil.Process().num_fds() <= files


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"one\ntwo\n", "one\ntwo"),
        (b"", ""),
        (b"a \xff\xfe\n\x1b[31mred\n", "a \ufffd\ufffd\n\\x1b[31mred"),
        (b"x" * 9_000_000, "x" * module.MOST_BYTES),
        (b"first\n" + b"line\n" * 1_000_000, "line\n" * (module.MOST_BYTES // 5 - 2) + "line"),
    ],
    ids=["lines", "nothing", "no UTF-8", "one long line", "many lines"],
)
def test_the_end_of_what_was_said_is_shown(written: bytes, shown: str, tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+b") as file:
        subprocess.run([sys.executable, "-c", _CAT], stdout=file, input=written, check=True)
        assert module._end_of(file) == shown


_CAT = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_what_was_begun_goes_on_whatever_ends_the_dashboard(ending: signal.Signals) -> None:
    run = made("submitted", name="ada")
    submitted(run)
    server = subprocess.Popen(
        command("dashboard", "--no-browser"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal of its own, so to speak: all in it get the signal
    )
    try:
        assert server.stderr
        found = re.search(r"http://\S+", server.stderr.readline())
        assert found
        with httpx.Client(base_url=found[0].partition("/?")[0]) as browser:
            page = html.unescape(browser.get(found[0], follow_redirects=True).text)
            headers = re.search(r"hx-headers='{\"(.*?)\": \"(.*?)\"}'", page)
            assert headers
            answer = browser.post(f"/runs/{run.id}/cancel", headers={headers[1]: headers[2]})
            assert answer.status_code == 200
            assert not run.is_cancelled  # it has just been begun
            os.killpg(server.pid, ending)
            server.wait(WAIT_S)
    finally:
        server.kill()
        server.communicate()
    until(lambda: run.is_cancelled)
