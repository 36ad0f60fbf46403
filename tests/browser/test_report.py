"""The report opens from disk in a real browser: it asks for nothing, and axe finds nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Request

from lora_prep.embedded import stop_services
from tests.browser.browser import faults, narrow
from tests.browser.pages import mixed_folder
from tests.cli.command import lora_prep
from tests.sample import SAMPLE_DATA

pytestmark = pytest.mark.slow

ADA, BEN = (SAMPLE_DATA / "people" / name for name in ("ada", "ben"))
STATUS = {"complete": 0, "failed": 3, "two people": 3}
PARTS = {
    "complete": ["loras", "coverage", "kept", "left-out", "timeline"],
    "failed": ["coverage", "spare", "left-out"],
    "two people": ["people", "coverage", "spare", "left-out"],
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """One report of each kind, where any user may read it: the browser is nobody."""
    place = tmp_path_factory.mktemp("reports").resolve()
    complete, both = mixed_folder(place / "ada"), place / "both"
    shutil.copyfile(min(BEN.iterdir()), complete / "visitor.jpg")
    both.mkdir()
    for person in (ADA, BEN):
        for photo in sorted(person.iterdir())[:6]:
            shutil.copyfile(photo, both / photo.name)
    folders = {"complete": complete, "failed": SAMPLE_DATA / "nine", "two people": both}
    with tempfile.TemporaryDirectory() as readable:
        Path(readable).chmod(0o755)
        made = {kind: Path(readable) / f"{kind}.html" for kind in folders}
        try:
            for kind, folder in folders.items():
                done = lora_prep(
                    "run",
                    folder,
                    "--json",
                    LORA_PREP_HOME=str(place / "home"),
                    XDG_CONFIG_HOME=str(place / "config"),
                    LORA_PREP_EMBEDDED__REHEARSAL_S="0",
                )
                assert done.status == STATUS[kind], done.stderr
                shutil.copyfile(done.json["report"], made[kind])
                made[kind].chmod(0o644)
        finally:
            stop_services(place / "home")
        yield made


@pytest.fixture
def asked(browser: BrowserContext) -> Iterator[list[str]]:
    """What the browser asks for from here on, but for the pictures that are in the page."""
    urls: list[str] = []

    def heard(request: Request) -> None:
        urls.append(request.url)

    browser.on("request", heard)
    yield urls
    browser.remove_listener("request", heard)


@pytest.mark.parametrize("kind", STATUS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_is_asked_for(
    kind: str,
    scheme: str,
    width: int,
    reports: dict[str, Path],
    asked: list[str],
    browse: Callable[..., Page],
) -> None:
    address = reports[kind].as_uri()
    page = browse(address, scheme=scheme, width=width)
    sections = page.locator("main > section")
    assert sections.evaluate_all("all => all.map(one => one.id)") == PARTS[kind]
    assert page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
    assert page.locator("script").count() == 0
    page.wait_for_load_state("networkidle")
    assert asked == [address]
    assert narrow(page)
    assert faults(page) == []
