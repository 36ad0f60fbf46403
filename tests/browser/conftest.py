from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.browser.browser import found_browser, opened_browser
from tests.browser.pages import FOREIGN, mixed_folder, reviewed

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

WAIT_MS = 15_000  # the machine may be busy


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that the photos are looked at once."""
    return tmp_path_factory.mktemp("analysed")


@pytest.fixture
def home(own_place: None, analysed: Path) -> Path:
    home = Path(os.environ["LORA_PREP_HOME"])
    home.mkdir(mode=0o700)
    (home / "cache").symlink_to(analysed)
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mixed_folder(tmp_path / "ada")


@pytest.fixture
def address(folder: Path, home: Path) -> Iterator[str]:
    with reviewed(folder, {}) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """One for all tests of a file: it takes seconds to start."""
    executable = found_browser()
    if executable is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with opened_browser(executable, args=[f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"]) as one:
        yield one


@pytest.fixture
def browse(browser: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Return what opens an address in a new page, which may not complain in its console."""
    complaints: list[str] = []
    pages: list[Page] = []

    def heard(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    def browse(
        address: str,
        *,
        may_fail: bool = False,
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
    ) -> Page:
        page = browser.new_page()
        pages.append(page)
        page.set_default_timeout(WAIT_MS)
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        if not may_fail:
            page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield browse
    for page in pages:
        page.close()
    browser.clear_cookies()
    assert complaints == []
