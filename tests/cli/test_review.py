"""`lora-prep review` as a command: it serves until it is ended, then says what there is."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from lora_prep.selection import overrides_path
from tests.cli.command import SAMPLE_DATA, command, in_process
from tests.cli.schemas import valid

WAIT_S = 60


def test_what_cannot_be_reviewed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process(capsys, "review", "20260101t000000-abcdef", "--json")
    assert (done.status, done.error_code) == (2, "not_a_photo_folder")
    valid(done.json, "review")
    assert in_process(capsys, "review", str(SAMPLE_DATA), "--port", "x").status == 2


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended(ending: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(SAMPLE_DATA / "nine")
    server = subprocess.Popen(
        command("review", tmp_path / "photos", "--no-browser", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr
    found = None
    while not found:
        line = server.stderr.readline()
        assert line
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
    address = urlsplit(found[0])
    assert address.port
    asking = HTTPConnection("127.0.0.1", address.port, timeout=WAIT_S)
    asking.request("GET", "/")
    assert asking.getresponse().status == 403
    asking.close()

    server.send_signal(ending)
    printed, said = server.communicate(timeout=WAIT_S)

    assert server.returncode == 0, said
    answer = json.loads(printed)
    valid(answer, "review")
    home = Path(os.environ["LORA_PREP_HOME"])
    assert answer["overrides"] == str(overrides_path(home, SAMPLE_DATA / "nine"))
    assert (answer["usable"], answer["needed"], answer["selected"]) == (9, 10, 0)


@pytest.mark.slow
@pytest.mark.parametrize("page", [("review", SAMPLE_DATA / "nine"), ("dashboard",)])
def test_the_browser_is_opened_with_a_token_that_works_once(
    page: tuple[str | Path, ...], tmp_path: Path
) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o700)
    terminal, inside = pty.openpty()
    server = subprocess.Popen(
        command(*page),
        env=os.environ | {"BROWSER": str(browser)},
        stdout=inside,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(inside)
    assert server.stderr
    try:
        printed = next(filter(None, (re.search(r"http\S+", line) for line in server.stderr)))[0]
        until = time.monotonic() + WAIT_S
        while not opened.exists():
            assert time.monotonic() < until
            time.sleep(0.02)
        once = opened.read_text().strip()
        assert urlsplit(once)[:3] == urlsplit(printed)[:3]
        assert once != printed
        statuses = [httpx.get(url).status_code for url in (once, once, printed, printed)]
        assert statuses == [303, 403, 303, 303]
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(WAIT_S) == 0
        server.stderr.close()
        os.close(terminal)
