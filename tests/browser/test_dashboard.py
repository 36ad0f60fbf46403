"""The dashboard in a real browser, beside commands that really run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from lora_prep.embedded import stop_services
from lora_prep.trainers import State
from pipelines.runs import Run, all_runs
from tests.browser.browser import faults, narrow
from tests.browser.pages import FOREIGN, overseen, serving
from tests.cli.command import command, lora_prep
from tests.records import LOST, made, submitted
from tests.sample import SAMPLE_DATA

pytestmark = pytest.mark.slow

WAIT_S = 60
LATER_MS = 60_000  # what a whole stage takes on a busy machine


@pytest.fixture
def home(own_place: None) -> Iterator[Path]:
    home = Path(os.environ["LORA_PREP_HOME"])
    home.mkdir(mode=0o700)
    yield home
    stop_services(home)


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    with overseen({}) as address:
        yield address


def a_run_that_was_killed(home: Path) -> Run:
    """Return a rehearsal whose command was killed while it waited for the training."""
    words = command("run", SAMPLE_DATA / "people" / "ada", "--json")
    environment = os.environ | {"LORA_PREP_EMBEDDED__REHEARSAL_S": "1"}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + WAIT_S
    while True:
        found = [run for run in all_runs() if run.record().get("status") == "submitted"]
        if found:
            break
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return found[0]


def test_a_batch_is_watched_from_its_beginning_to_its_end(
    address: str, browse: Callable[..., Page], home: Path, tmp_path: Path
) -> None:
    for person in ("ada", "ben"):
        shutil.copytree(SAMPLE_DATA / "people" / person, tmp_path / "people" / person)
    jobs = tmp_path / "jobs.toml"
    jobs.write_text('[[job]]\nfolder = "people/*"\n')
    page = browse(address)
    expect(page.locator("#runs")).to_contain_text("There is no run yet.")
    environment = os.environ | {"LORA_PREP_EMBEDDED__REHEARSAL_S": "4"}
    batch = subprocess.Popen(
        command("batch", "run", str(jobs)), env=environment, stdout=subprocess.DEVNULL
    )
    ada = page.get_by_role("row").filter(has=page.get_by_role("link", name="ada", exact=True))
    expect(ada.locator(".chip.working")).to_be_visible(timeout=LATER_MS)
    expect(ada).to_contain_text("train: processing", timeout=LATER_MS)
    expect(page.locator("#summary")).to_have_text("2 working")
    card = page.get_by_role("article", name="Batch jobs.toml")
    expect(card).to_contain_text("2 of 2 archived", timeout=LATER_MS)  # without being asked
    assert batch.wait(WAIT_S) == 0
    expect(page.locator("#said")).to_have_text("Nothing needs you")

    card.get_by_role("link").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="ben", exact=True).click()
    expect(page.locator("#summary .chip.archived")).to_be_visible()
    expect(page.locator(".log")).to_contain_text("in the bucket, verified and read back")
    report = page.frame_locator("#report")
    expect(report.get_by_role("heading", level=1)).to_have_text("ben")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="contact sheet").click()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 500
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="open alone").click()
    expect(opened.value.get_by_role("heading", level=1)).to_have_text("ben")


def test_a_run_is_gone_on_with_by_keys_alone(
    address: str, browse: Callable[..., Page], home: Path
) -> None:
    run = a_run_that_was_killed(home)
    page = browse(address)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator(f"#run-{run.id}").focus()
    page.keyboard.press("Enter")
    go_on, dialog = page.locator("#do-resume"), page.get_by_role("dialog")
    go_on.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("Nothing is paid again.")
    expect(dialog).to_contain_text(f"lora-prep resume {run.id}")
    expect(page.locator("#ask-close")).to_be_focused()  # nothing happens by a second Enter
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(go_on).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#ask-close")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#ask-do")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#begun")).to_contain_text(f"lora-prep resume {run.id} goes on")
    expect(page.locator("#begun")).to_contain_text("is done", timeout=LATER_MS)
    expect(page.locator("#summary .chip.archived")).to_be_visible()
    expect(page.frame_locator("#report").get_by_role("heading", level=1)).to_have_text("ada")
    assert run.record()["status"] == "archived"
    assert lora_prep("status", "--json").json["runs"] == []


def test_what_a_dashboard_has_begun_outlives_it(
    browse: Callable[..., Page], home: Path, tmp_path: Path
) -> None:
    run = a_run_that_was_killed(home)
    with overseen({}) as address:
        page = browse(address, may_fail=True)
        page.locator(f"#run-{run.id}").click()
        page.locator("#do-resume").click()
        page.locator("#ask-do").click()
        expect(page.locator("#begun")).to_contain_text("goes on")
    expect(page.get_by_role("alert")).to_contain_text("is not running any more")
    until = time.monotonic() + WAIT_S
    while run.record()["status"] != "archived":
        assert time.monotonic() < until, run.record()
        time.sleep(0.1)


def test_giving_up_and_archiving_again_by_mouse(
    address: str, browse: Callable[..., Page], home: Path
) -> None:
    run = a_run_that_was_killed(home)
    page = browse(address)
    page.get_by_role("link", name="ada", exact=True).click()
    page.get_by_role("button", name="Give up…").click()
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("button", name="Give up…").click()
    page.get_by_role("dialog").get_by_role("button", name="Give up").click()
    expect(page.locator("#summary .chip.cancelled")).to_be_visible(timeout=LATER_MS)
    expect(page.locator("#begun")).to_contain_text("is done", timeout=LATER_MS)
    assert run.is_cancelled
    page.get_by_role("button", name="Go on…").click()
    page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    expect(page.locator("#summary .chip.archived")).to_be_visible(timeout=LATER_MS)
    (lora,) = run.record()["loras"]
    page.get_by_role("button", name="Archive again…").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive again").click()
    expect(page.locator("#begun")).to_contain_text("--from archive is done", timeout=LATER_MS)
    assert run.record()["loras"] == [lora]


def test_other_pages_cannot_ask_for_changes(
    address: str, browse: Callable[..., Page], home: Path
) -> None:
    run = made("submitted", name="ada", training={"prediction_id": "p-1"})
    own = urlsplit(address)
    page = browse(address)
    expect(page.locator("#summary")).to_be_visible()
    form = (
        f'<form method="post" action="http://{own.netloc}/runs/{run.id}/cancel"><button>go</button>'
    )
    other = page.context.new_page()
    with serving(form) as foreign:
        other.goto(foreign)
        with other.expect_navigation() as went:
            other.get_by_role("button").click()
    assert went.value
    assert went.value.status == 403
    for address, status in {
        f"http://{FOREIGN}:{own.port}/?{own.query}": 403,
        f"http://localhost:{own.port}/runs/{run.id}": 403,  # the cookie is the address's own
        f"http://{own.netloc}/runs/..%2f..%2frun.json": 404,
        f"http://{own.netloc}/runs/%2e%2e/report": 404,
        f"http://{own.netloc}/runs/{run.id}/report": 404,
    }.items():
        answer = other.goto(address)
        assert answer
        assert answer.status == status
    assert not run.is_cancelled


def test_a_report_can_do_nothing(address: str, browse: Callable[..., Page], home: Path) -> None:
    """Whatever comes into it: file names are hostile input."""
    run = made("archived", name="ada")
    run.report.write_text(
        "<h1>ada</h1><script>top.location = 'http://127.0.0.1:9/'</script>"
        "<img src='http://127.0.0.1:9/x.png' onerror=\"document.title = 'owned'\">"
        f"<form method='post' action='/runs/{run.id}/archive'><button>go</button></form>"
        "<a id='out' href='http://127.0.0.1:9/' target='_top'>out</a>"
    )
    page = browse(address, may_fail=True)  # what is blocked is said in the console
    page.get_by_role("link", name="ada", exact=True).click()
    report = page.frame_locator("#report")
    expect(report.get_by_role("heading")).to_have_text("ada")
    report.get_by_role("button").click()
    report.locator("#out").click()
    page.wait_for_timeout(500)
    expect(page.locator("#summary")).to_be_visible()
    assert urlsplit(page.url).path == f"/runs/{run.id}"
    assert page.title() == "archived: ada · lora_prep"


def test_long_words_leave_the_short_ones_beside_them_whole(
    address: str, browse: Callable[..., Page]
) -> None:
    error, training = LOST | {"message": "/photos" * 40}, {"prediction_id": "p", "price_usd": 4}
    submitted(made("submitted", name="ada", error=error, training=training))
    page = browse(address, width=1280)
    provider = page.get_by_role("cell", name="submitted", exact=True)
    rectangles = """cell => {
        const text = new Range(); text.selectNodeContents(cell); return text.getClientRects().length
    }"""
    assert provider.evaluate(rectangles) == 1  # one for each line
    assert narrow(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    scheme: str, width: int, address: str, browse: Callable[..., Page], home: Path
) -> None:
    lost = made(
        "submitting", name="ada", error=LOST, training={"prediction_id": None, "price_usd": 4.0}
    )
    submitted(lost, State.UNKNOWN)
    made("archived", name="ben")
    made("failed", name="cleo", error=LOST)
    line = {"time": "2026-11-26T02:00:00+00:00", "stage": "train", "message": "processing"}
    (lost.path / "events.jsonl").write_text(json.dumps(line) + "\n")
    jobs = home / "jobs.toml"
    jobs.write_text(f'[[job]]\nfolder = "{SAMPLE_DATA}/people/*"\n')
    added = lora_prep("schedule", "add", "nightly", jobs, "--cron", "0 2 * * *")
    assert added.status == 0, added.stderr
    page = browse(address, scheme=scheme, width=width)
    expect(page.get_by_role("article", name="Schedule nightly")).to_be_visible()
    found = {"overview": faults(page)}
    assert narrow(page)
    page.get_by_role("link", name="ada", exact=True).click()
    found["run"] = faults(page)
    assert narrow(page)
    page.locator("#do-found").click()
    expect(page.locator("#typed")).to_be_focused()
    found["question"] = faults(page)
    assert narrow(page)
    assert found == {"overview": [], "run": [], "question": []}
