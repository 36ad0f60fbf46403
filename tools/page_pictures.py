"""Make the pictures of the pages: each as it is drawn by the system's Chromium."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.browser import found_browser, opened_browser  # noqa: E402
from tests.browser.pages import mixed_folder, reviewed  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SETTLE_MS = 500


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = mixed_folder(Path(place) / "photos" / "ada")
        with reviewed(folder, {"LORA_PREP_HOME": f"{place}/home"}) as address:
            for scheme in ("light", "dark"):
                with page_of(address, scheme, DESK) as page:
                    decide(page)
                    take(page, f"review_{scheme}")
                    page.locator("#open-8").click()
                    page.locator("#box").wait_for()
                    page.keyboard.press("c")
                    for _ in range(10):
                        page.keyboard.press("-")
                    page.locator("#side .hand").wait_for()
                    take(page, f"review_large_{scheme}")
                    page.locator("#uncrop").click()
                    page.locator("#uncrop:disabled").wait_for()
                    page.keyboard.press("Escape")
                    if scheme == "light":
                        page.locator("#open-16").click()
                        page.locator("#compare").click()
                        page.locator(".compare").wait_for()
                        take(page, "review_compare")
            with page_of(address, "light", PHONE) as page:
                take(page, "review_phone")
                page.locator("#open-8").click()
                page.locator("#box").wait_for()
                take(page, "review_large_phone")


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
