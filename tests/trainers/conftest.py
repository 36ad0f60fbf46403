"""A desk at a provider of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainers.desk import Desk
from tests.trainers.provider import (
    provider,
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with provider() as served:
        desk = Desk(served, tmp_path)
        with desk.client:
            yield desk
