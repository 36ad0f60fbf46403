from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_prep.embedded import stop_services
from tests.embedded.helpers import processes_of


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own; whatever a test started there is gone when it ends."""
    yield tmp_path
    stop_services(tmp_path)
    assert processes_of(tmp_path) == []
