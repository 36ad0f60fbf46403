from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_prep.stores import S3Store, StoreAccess, capabilities_of
from tests.contracts.servers import SERVERS, server


@pytest.fixture(scope="module", params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def access(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAccess]:
    with server(kind, tmp_path_factory.mktemp(kind)) as running:
        yield running


@pytest.fixture
def store(access: StoreAccess, tmp_path: Path) -> S3Store:
    """The store as a run opens it: with what the bucket was seen to do."""
    return S3Store(access, capabilities_of(access, tmp_path))
