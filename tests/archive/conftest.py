from __future__ import annotations

from pathlib import Path

import pytest

from lora_prep.embedded import EmbeddedOptions, use_services
from lora_prep.stores import S3Store, StoreAccess


@pytest.fixture
def access(module_home: Path) -> StoreAccess:
    with use_services(module_home, EmbeddedOptions(rehearsal_rank=1)) as services:
        return StoreAccess(
            bucket=services.store_bucket,
            endpoint_url=services.store_endpoint_url,
            region=services.store_region,
            access_key=services.store_access_key,
            secret_key=services.store_secret_key,
        )


@pytest.fixture
def store(access: StoreAccess) -> S3Store:
    return S3Store(access)
