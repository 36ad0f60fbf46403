"""Make the pictures of the pages: each as it is drawn by the system's Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_prep.embedded import stop_services  # noqa: E402
from lora_prep.settings import load_settings  # noqa: E402
from lora_prep.trainers import State  # noqa: E402
from pipelines.backends import open_ledger  # noqa: E402
from pipelines.runs import Run  # noqa: E402
from tests.browser.browser import found_browser, opened_browser  # noqa: E402
from tests.browser.pages import mixed_folder, overseen, reviewed  # noqa: E402
from tests.cli.command import command  # noqa: E402
from tests.records import made, submitted  # noqa: E402
from tests.sample import SAMPLE_DATA  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SETTLE_MS, WAIT_MS = 500, 60_000
PLACE = Path(tempfile.gettempdir()) / "lora-prep"  # its path is seen
PAID = {"prediction_id": None, "price_usd": 4.0}
LOST = {
    "code": "needs_attention",
    "message": "It is not known whether the training was submitted.",
    "why": "The connection broke before an answer came, and the provider's list shows none.",
    "fix": "Look at the trainings of your account, and say which it is.",
    "retryable": True,
}
FEW = {
    "code": "dataset_too_small",
    "message": "7 of the 10 photos needed are usable.",
    "why": "5 are blurred, 2 show somebody else.",
    "fix": "Add photos, or look at the report.",
    "retryable": False,
}


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    review_pictures()
    dashboard_pictures()


def review_pictures() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = mixed_folder(Path(place) / "photos" / "ada")
        with reviewed(folder, {"LORA_PREP_HOME": f"{place}/home"}) as address:
            for scheme in ("light", "dark"):
                with page_of(address, scheme, DESK) as page:
                    decide(page)
                    take(page, f"review_{scheme}")
            with page_of(address, "light", DESK) as page:
                page.locator("#open-8").click()
                page.locator("#box").wait_for()
                page.keyboard.press("c")
                for _ in range(10):
                    page.keyboard.press("-")
                page.locator("#side .hand").wait_for()
                take(page, "review_large")
                page.locator("#uncrop").click()
                page.locator("#uncrop:disabled").wait_for()
                page.keyboard.press("Escape")
                page.locator("#open-16").click()
                page.locator("#compare").click()
                page.locator(".compare").wait_for()
                take(page, "review_compare")
            with page_of(address, "light", PHONE) as page:
                take(page, "review_phone")


def dashboard_pictures() -> None:
    """A batch of the sample people that really runs, beside runs as the chain leaves them."""
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(SAMPLE_DATA / "people", PLACE / "people")
    jobs = PLACE / "jobs.toml"
    jobs.write_text('[[job]]\nfolder = "people/*"\n')
    home = PLACE / "home"
    os.environ |= {
        "LORA_PREP_HOME": str(home),
        "LORA_PREP_TRAINER__MAX_MONTH_USD": "40",
        "LORA_PREP_EMBEDDED__REHEARSAL_S": "45",
    }
    home.mkdir()
    lost = leave_runs()
    cron = ["--cron", "0 2 * * *", "--tz", "Europe/Berlin", "--max-cost", "20"]
    subprocess.run(command("schedule", "add", "nightly", jobs, *cron), check=True)
    batch = subprocess.Popen(command("batch", "run", jobs))
    worker = subprocess.Popen(command("worker"))
    with overseen({}) as address:
        for scheme, size in (("light", DESK), ("dark", DESK), ("light", PHONE)):
            with page_of(address, scheme, size) as page:
                page.locator(".chip.working").nth(1).wait_for(timeout=WAIT_MS)
                page.get_by_text("train: processing").nth(1).wait_for(timeout=WAIT_MS)
                take(page, f"dashboard_{scheme if size is DESK else 'phone'}")
        with page_of(address, "light", DESK) as page:
            page.locator(f"#run-{lost.id}").click()
            page.locator("#do-found").click()
            page.locator("#typed").wait_for()
            take(page, "dashboard_question")
        batch.wait()
        with page_of(address, "light", DESK) as page:
            page.get_by_role("link", name="ada", exact=True).click()
            page.frame_locator("#report").get_by_role("heading").first.wait_for()
            take(page, "dashboard_run")
    worker.terminate()
    worker.wait()
    stop_services(home)
    shutil.rmtree(PLACE)


def leave_runs() -> Run:
    """Make runs of a provider that is nowhere; return the one whose submission was lost."""
    lost = made("submitting", name="cleo", error=LOST, training=PAID)
    submitted(lost, State.UNKNOWN)
    soon = (datetime.now(UTC) + timedelta(hours=20, minutes=30)).isoformat()
    dora = made("completed", name="dora", training=PAID, expires_at=soon)
    submitted(dora)
    open_ledger(load_settings()).completed(f"{dora.id}-1")
    for name in ("emil", "frida"):
        run = made("archived", name=name, training=PAID | {"prediction_id": f"p-{name}"})
        submitted(run)
        open_ledger(load_settings()).archived(f"{run.id}-1")
    made("failed", name="gustav", error=FEW)
    return lost


@contextmanager
def page_of(address: str, scheme: str, size: dict[str, int]) -> Iterator[Page]:
    executable = found_browser()
    if executable is None:
        sys.exit("There is no Chromium on this machine.")
    phone = size is PHONE
    options = {"viewport": size, "color_scheme": scheme, "has_touch": phone, "is_mobile": phone}
    with opened_browser(executable, device_scale_factor=2 if phone else 1, **options) as browser:
        page = browser.pages[0]
        page.goto(address)
        yield page


def decide(page: Page) -> None:
    """Make some decisions by hand, so that they are in the picture."""
    for index, key in ((2, "x"), (6, "k")):
        page.locator(f"#open-{index}").focus()
        page.keyboard.press(key)
        page.locator(f"#card-{index} .hand").wait_for()
    page.locator("#open-0").focus()


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(SETTLE_MS)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as shot:  # photos as PNG are ten times as large
        shot.convert("RGB").save(path.with_suffix(".jpg"), quality=85)
    path.unlink()
    print(path.with_suffix(".jpg").relative_to(ROOT))


if __name__ == "__main__":
    main()
