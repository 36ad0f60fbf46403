"""Open backends: the embedded store for real, and the embedded trainer or one that is paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.backends import Backends
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS, Api, RunningService

QUICK = {
    "embedded": {"rehearsal_rank": 1, "rehearsal_blocks": 1, "rehearsal_s": 0},
    "archive": {"retry_min_s": 0.02, "retry_max_s": 0.05},
}
NOW = {
    "poll_min_s": 0.02, "poll_max_s": 0.05, "fresh_s": 0.3, "margin_s": 0.1, "look_every_s": 0.02,
    "submit_timeout_s": 1, "too_many_s": 0.05, "too_many_total_s": 10, "requests_per_minute": 60000,
}  # fmt: skip


@dataclass(frozen=True)
class Paid:
    """A trainer that is not the embedded one: what it is asked for counts."""

    service: RunningService

    @property
    def api(self) -> Api:
        return self.service.api

    @property
    def accepted(self) -> int:
        return int(self.api.stats()["accepted"])

    @contextmanager
    def backends(self, *, store: str = "embedded", **trainer: Any) -> Iterator[Backends]:
        wanted = {"base_url": self.api.base_url, "api_key": KEY, **NOW, **trainer}
        sections = {**QUICK, "trainer": wanted, "store": {"url": store}}
        with steps.connect(load_settings(sections)) as opened:
            yield opened


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    (module_home / "lora_prep.sqlite").unlink(missing_ok=True)  # every test pays anew
    return module_home


@pytest.fixture
def backends(home: Path) -> Iterator[Backends]:
    """The embedded store and the embedded trainer."""
    with steps.connect(load_settings(QUICK)) as opened:
        yield opened


@pytest.fixture
def paid(home: Path, tmp_path: Path) -> Iterator[Callable[..., Paid]]:
    with ExitStack() as stack:

        def start(*faults: str, price_usd: float = 0) -> Paid:
            options = replace(OPTIONS, price_usd=price_usd, balance_usd=100)
            folder = tmp_path / "service"
            service = stack.enter_context(running_service(folder, *faults, options=options))
            return Paid(service)

        yield start
