"""Paying from the dashboard: what was shown and agreed to is what the command pays, or nothing."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lora_prep.embedded import stop_services
from lora_prep.settings import home_folder, load_settings
from lora_prep.trainer_service.options import ServiceOptions
from lora_prep.web.dashboard_app import Board, dashboard_app
from lora_prep.web.guarded import Tokens
from pipelines.runs import all_runs
from tests.cli.command import SAMPLE_DATA, lora_prep
from tests.pipelines.conftest import NOW, Paid
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS
from tests.web.asking import asking

pytestmark = pytest.mark.slow

WAIT_S = 60


@pytest.fixture
def trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Paid, ServiceOptions]]:
    options = replace(OPTIONS, price_usd=2, balance_usd=50)
    monkeypatch.setenv("WAVESPEED_API_KEY", KEY)
    for name, value in NOW.items():
        monkeypatch.setenv(f"LORA_PREP_TRAINER__{name.upper()}", str(value))
    with running_service(tmp_path / "service", options=options) as service:
        monkeypatch.setenv("LORA_PREP_TRAINER__BASE_URL", service.api.base_url)
        yield Paid(service), options
    stop_services(home_folder())


@pytest.fixture
def page() -> Iterator[httpx.Client]:
    with closing(Board(load_settings())) as board:
        yield asking(dashboard_app(board, Tokens()))


def done(page: httpx.Client, run: str) -> str:
    """Return what is said of a run's command, once it has ended."""
    until = time.monotonic() + WAIT_S
    while " goes on" in (said := page.get(f"/runs/{run}/now").text):
        assert time.monotonic() < until, said
        time.sleep(0.1)
    return said


def test_a_price_that_has_risen_since_it_was_shown_is_not_paid(
    trainer: tuple[Paid, ServiceOptions], page: httpx.Client
) -> None:
    paid, options = trainer
    asked = lora_prep("run", SAMPLE_DATA / "people" / "ada", "--steps", "1000")
    assert asked.status == 9, asked.stderr  # nobody was there to agree
    (run,) = all_runs()
    question = page.get(f"/runs/{run.id}/ask/resume").text
    assert "Go on for 2 USD" in question
    agreed = dict(re.findall(r'name="(agreed)" value="(.*?)"', question))

    object.__setattr__(options, "price_usd", 3.5)
    assert page.post(f"/runs/{run.id}/resume", data=agreed).status_code == 200
    said = html.unescape(done(page, run.id))
    assert "has ended with exit status 9" in said
    assert "It costs 3.5 USD, and 2 of 2 USD are left." in said
    assert paid.accepted == 0

    question = page.get(f"/runs/{run.id}/ask/resume").text
    assert "more than the limit of 2 USD" in question
    agreed = dict(re.findall(r'name="(agreed)" value="(.*?)"', question))
    assert agreed == {"agreed": "3.5"}
    assert page.post(f"/runs/{run.id}/resume", data={}).status_code == 200  # no price, no payment
    assert "has ended with exit status 9" in done(page, run.id)
    assert paid.accepted == 0
    assert page.post(f"/runs/{run.id}/resume", data=agreed).status_code == 200
    assert "is done" in done(page, run.id)
    assert paid.accepted == 1
    assert run.record()["status"] == "archived"
