"""The system's Chromium, headless, driven by Playwright and never run as root."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

NOBODY = 65534
AXE = Path(__file__).with_name("axe.min.js")
NAMES = ("chromium", "chromium-browser", "google-chrome")


def found_browser() -> str | None:
    """Where the system's browser lies, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened_browser(executable: str, **options: Any) -> Iterator[BrowserContext]:
    """Yield a browser with a profile of its own, in its sandbox.

    Chromium has a sandbox only for an ordinary user: where the tests run as root it is started as
    nobody, who owns the profile.
    """
    from playwright.sync_api import Error, sync_playwright

    folder = Path(tempfile.mkdtemp(prefix="browser-"))
    try:
        profile = folder / "profile"
        profile.mkdir()
        started = folder / "chromium"
        words = [executable]
        if os.geteuid() == 0:
            for path in (folder, profile):
                os.chown(path, NOBODY, NOBODY)
            words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
        home = f"export HOME={shlex.quote(str(profile))} TMPDIR={shlex.quote(str(folder))}"
        started.write_text(f'#!/bin/sh\ncd /\n{home}\nexec {shlex.join(words)} "$@"\n')
        started.chmod(started.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        with sync_playwright() as playwright:
            launch = partial(
                playwright.chromium.launch_persistent_context,
                profile,
                executable_path=started,
                headless=True,
                **options,
            )
            try:
                context = launch(chromium_sandbox=True)
            except Error as error:
                if "sandbox" not in error.message:
                    raise
                context = launch(chromium_sandbox=False)  # the container's kernel allows none
            try:
                yield context
            finally:
                context.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def faults(page: Page) -> list[str]:
    """Return what axe finds on a page.

    It comes by the debugger, so that the page's policy may forbid every script, as it should.
    """
    page.evaluate(f"{AXE.read_text(encoding='utf-8')}; 0")
    result = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in result["violations"]
        for node in one["nodes"]
    ]


def narrow(page: Page, part: str = "html") -> bool:
    """Whether nothing has to be scrolled sideways on a page, or in a part of it."""
    fits: bool = page.locator(part).evaluate("one => one.scrollWidth <= one.clientWidth")
    return fits
