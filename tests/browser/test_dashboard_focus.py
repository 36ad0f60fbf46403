"""What the dashboard reads out, and where the focus is, while the page changes by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipelines.runs import Run
from tests.browser.pages import overseen
from tests.records import LOST, in_hand, made

pytestmark = pytest.mark.slow


@pytest.fixture
def address(own_place: None) -> Iterator[str]:
    Path(os.environ["LORA_PREP_HOME"]).mkdir(mode=0o700)
    with overseen({}) as address:
        yield address


def say(run: Run, message: str) -> None:
    line = {"time": datetime.now(UTC).isoformat(), "stage": "train", "message": message}
    with (run.path / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_an_end_is_read_out_and_progress_is_not(address: str, browse: Callable[..., Page]) -> None:
    run = made("submitted", name="ada", training={"prediction_id": "p-1"})
    page = browse(address)
    with in_hand(run):
        page.locator(f"#run-{run.id}").click()
        for number in range(2):
            say(run, f"step {number}")
            expect(page.locator("#summary")).to_contain_text(f"step {number}")
        expect(page.locator("#said")).to_have_text("")  # the page was opened: nothing has changed
    expect(page.locator("#said")).to_have_text("Waiting")
    page.locator("#do-cancel").click()
    page.locator("#ask-do").click()
    expect(page.locator("#said")).to_have_text("Cancelled, cancel is done")


def test_the_focus_stays_where_it_is_and_comes_back_to_what_asked(
    address: str, browse: Callable[..., Page]
) -> None:
    run = made("submitted", name="ada", training={"prediction_id": "p-1"})
    page = browse(address)
    page.locator(f"#run-{run.id}").focus()
    made("failed", name="ben", error=LOST)
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator(f"#run-{run.id}")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#do-cancel").evaluate("one => one.click()")  # as Safari: without the focus
    expect(page.locator("#ask-close")).to_be_focused()
    say(run, "another line")
    expect(page.locator("#summary")).to_contain_text("another line")  # the button is another one
    page.keyboard.press("Escape")
    expect(page.locator("#do-cancel")).to_be_focused()
