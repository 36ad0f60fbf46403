"""A folder is reviewed in a real browser, by keys and by mouse, and `run` obeys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from lora_prep.embedded import stop_services
from lora_prep.selection import Override, overrides_path, read_overrides
from tests.browser.browser import faults, narrow
from tests.browser.pages import FOREIGN, reviewed, serving
from tests.cli.command import lora_prep

pytestmark = pytest.mark.slow

THIRD, NEAR, NO_FACE = 2, 20, 21
WAIT_S = 10


def saved(home: Path, folder: Path, wanted: Callable[[list[Override]], bool]) -> list[Override]:
    """Return what is decided, once it is what is waited for."""
    until = time.monotonic() + WAIT_S
    while True:
        decided = list(read_overrides(overrides_path(home, folder)).values())
        if wanted(decided):
            return decided
        assert time.monotonic() < until, decided
        time.sleep(0.05)


def test_by_keys_alone_and_then_run(
    browse: Callable[..., Page], address: str, folder: Path, home: Path, tmp_path: Path
) -> None:
    page = browse(address)
    expect(page.locator("#summary .count")).to_have_text("17 of 10 needed")
    page.keyboard.press("Tab")  # to the photos, past everything else
    expect(page.locator(".skip")).to_be_focused()
    page.locator("#open-0").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"#open-{THIRD}")).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator("#summary .count")).to_have_text("16 of 10 needed")
    expect(page.locator(f"#card-{THIRD} .state")).to_have_text("Left out")
    expect(page.locator(f"#open-{THIRD}")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("ada_03.jpg: Left out, by hand.")
    page.keyboard.press("u")
    expect(page.locator("#summary .count")).to_have_text("17 of 10 needed")
    page.keyboard.press("x")
    expect(page.locator("#summary .count")).to_have_text("16 of 10 needed")

    page.locator("#filter-left_out").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#filter-left_out")).to_have_attribute("aria-current", "true")
    expect(page.locator("#filter-left_out")).to_be_focused()
    expect(page.locator("#grid .card.kept")).to_have_count(0)
    page.locator("#filter-all").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#open-0")).to_be_visible()

    page.locator(f"#open-{THIRD}").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("#large-name")).to_have_text("ada_01.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#large-name")).to_have_text("ada_02.jpg")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#large-name")).to_have_text("ada_01.jpg")
    page.keyboard.press("c")
    expect(page.locator("#box")).to_be_focused()
    for _ in range(60):
        page.keyboard.press("-")
    page.keyboard.press("Shift+ArrowDown")
    by_hand = saved(home, folder, lambda all_of: any(one.crop for one in all_of))
    (crop,) = [one.crop for one in by_hand if one.crop]
    assert crop.width == 512  # never below the limit
    expect(page.locator("#box")).to_be_focused()
    expect(page.locator("#side .hand")).to_be_visible()
    page.keyboard.press("k")
    expect(page.locator("#large-keep-0")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#open-0")).to_be_focused()
    assert len(saved(home, folder, lambda all_of: len(all_of) == 2)) == 2
    try:
        ran = lora_prep("run", folder, "--json", LORA_PREP_EMBEDDED__REHEARSAL_S="0")
        assert ran.status == 0, ran.stderr
    finally:
        stop_services(home)
    photos = {one["file"]: one for one in ran.json["inspection"]["photos"]}
    assert photos["ada_03.jpg"]["verdict"] == "left_out"
    assert photos["ada_03.jpg"]["reasons"][0]["code"] == "overridden"
    assert photos["ada_01.jpg"]["crop"] == crop.to_json()
    manifest = json.loads((home / "runs" / ran.json["run"] / "manifest.json").read_text())
    assert manifest["overrides"][photos["ada_01.jpg"]["sha256"]]["verdict"] == "keep"
    assert len(manifest["overrides"]) == 2


def test_by_mouse_alone_and_then_prepare(
    browse: Callable[..., Page], address: str, folder: Path, home: Path, tmp_path: Path
) -> None:
    page = browse(address)
    page.locator(f"#grid-out-{THIRD}").click()
    expect(page.locator("#summary .count")).to_have_text("16 of 10 needed")
    page.locator(f"#grid-out-{THIRD}").click()  # again: it is taken back
    expect(page.locator("#summary .count")).to_have_text("17 of 10 needed")
    expect(page.locator(f"#grid-keep-{NO_FACE}")).to_be_disabled()

    page.get_by_role("link", name="Near duplicate").click()
    expect(page.locator("#grid .card")).to_have_count(1)
    page.go_back()
    expect(page.locator("#filter-all")).to_have_attribute("aria-current", "true")
    page.get_by_role("link", name="Alike").click()
    expect(page.locator("#filter-alike")).to_have_attribute("aria-current", "true")

    page.locator("#open-1").click()
    box = page.locator("#box .crop")
    before = drawn(page)
    drag(page, page.locator("#box .handle.se"), -150, -100)
    smaller = drawn(page)
    assert smaller[:2] == before[:2]
    assert smaller[2] < before[2]
    drag(page, box, 0, 500)  # as far as the face lets it
    lower = drawn(page)
    assert lower[2] == smaller[2]
    assert lower[1] > smaller[1]
    (one,) = saved(home, folder, lambda all_of: crop_of(all_of) == lower)
    assert one.verdict is None

    page.locator("#large-undo").click()
    saved(home, folder, lambda all_of: crop_of(all_of) == smaller)
    page.locator("#uncrop").click()
    saved(home, folder, lambda all_of: not all_of)
    expect(page.locator("#uncrop")).to_be_disabled()
    assert drawn(page) == before

    page.locator("#compare").click()
    expect(page.locator("#large-name")).to_contain_text("alike")
    page.locator(f"#alike-keep-{NEAR}").click()
    expect(page.locator(f"#alike-what-{NEAR} .state")).to_have_text("Kept")
    expect(page.locator("#alike-what-1 .state")).to_have_text("Left out")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dialog")).to_be_hidden()
    done = lora_prep("prepare", folder, "-o", tmp_path / "ada.zip", "--json")
    assert done.status == 0, done.stderr
    photos = {one["file"]: one for one in done.json["inspection"]["photos"]}
    assert photos["near_duplicate_of_ada_02.jpg"]["verdict"] == "kept"
    assert photos["ada_02.jpg"]["verdict"] == "left_out"


def drag(page: Page, what: Any, across: int, down: int) -> None:
    place = what.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across / 2, y + down / 2)
    page.mouse.move(x + across, y + down)
    page.mouse.up()
    page.wait_for_load_state("networkidle")


def drawn(page: Page) -> list[int]:
    """Return the crop box as it is drawn: left, top and side; it is square and in the picture."""
    crop = page.locator("#box .crop")
    expect(crop).to_have_attribute("width", page.locator("#crop-side").input_value())
    left, top, width, height = (
        int(crop.get_attribute(name) or -1) for name in ("x", "y", "width", "height")
    )
    assert width == height >= 512
    editor = page.locator("#editor")
    assert 0 <= left <= int(editor.get_attribute("data-width") or 0) - width
    assert 0 <= top <= int(editor.get_attribute("data-height") or 0) - height
    return [left, top, width]


def crop_of(decided: list[Override]) -> list[int] | None:
    crops = [one.crop for one in decided if one.crop]
    return [int(crops[0].x), int(crops[0].y), int(crops[0].width)] if crops else None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(
    scheme: str, width: int, browse: Callable[..., Page], address: str
) -> None:
    page = browse(address, scheme=scheme, width=width)
    page.locator(f"#grid-out-{THIRD}").click()
    expect(page.locator(f"#card-{THIRD} .hand")).to_be_visible()
    found = {"grid": faults(page)}
    page.locator("#open-1").click()
    page.locator("#box").focus()
    found["large"] = faults(page)
    assert narrow(page)
    page.locator("#compare").click()
    expect(page.locator(".compare")).to_be_visible()
    found["compare"] = faults(page)
    compared = page.locator(".compare > li")
    tops = compared.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert tops.count(tops[0]) == (len(tops) if width == 1280 else 2)  # so many side by side
    assert narrow(page, ".compare")
    page.locator("#close").click()
    page.locator(f"#open-{NO_FACE}").click()
    found["no face"] = faults(page)
    page.locator("#close").click()
    assert narrow(page)
    assert found == {"grid": [], "large": [], "compare": [], "no face": []}


def test_where_the_focus_is_can_be_seen(browse: Callable[..., Page], address: str) -> None:
    page = browse(address)
    page.locator("#open-0").focus()
    seen = set()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert width >= 2
        if page.evaluate("document.activeElement.className") == "skip":
            break
    assert {"filter-all", "undo"} & seen


def test_other_pages_cannot_ask_for_changes(
    browse: Callable[..., Page], address: str, folder: Path, home: Path
) -> None:
    own = urlsplit(address)
    page = browse(address)
    expect(page.locator("#summary")).to_be_visible()
    form = (
        f'<form method="post" action="http://{own.netloc}/photos/0/verdict">'
        '<input name="verdict" value="leave_out"><button>go</button></form>'
    )
    other = page.context.new_page()
    with serving(form) as foreign:
        other.goto(foreign)
        with other.expect_navigation() as went:
            other.get_by_role("button").click()
    assert went.value
    assert went.value.status == 403
    rebound = other.goto(f"http://{FOREIGN}:{own.port}/?{own.query}")
    assert rebound
    assert rebound.status == 403
    plain = other.goto(f"http://{own.netloc.replace('127.0.0.1', 'localhost')}/")
    assert plain
    assert plain.status == 403  # the cookie is the address's own
    assert saved(home, folder, lambda all_of: not all_of) == []


def test_the_page_says_when_nothing_is_saved_any_more(
    browse: Callable[..., Page], folder: Path, home: Path
) -> None:
    with reviewed(folder, {}) as address:
        page = browse(address, may_fail=True)
        path = overrides_path(home, folder)
        path.parent.mkdir()
        path.write_text("[[")
        page.locator("#grid-out-0").click()
        expect(page.get_by_role("alert")).to_contain_text("Not saved.")
        expect(page.locator("#card-0 .state")).to_have_text("Kept")
