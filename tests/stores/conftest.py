from __future__ import annotations

from collections.abc import Iterator

import pytest

from lora_prep.embedded import EmbeddedOptions, Services, stop_services, use_services
from lora_prep.stores import S3Store, StoreAccess

QUICK = EmbeddedOptions(rehearsal_rank=1, rehearsal_blocks=1, rehearsal_s=0)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The embedded services, started once for all tests of the stores."""
    home = tmp_path_factory.mktemp("stores-home")
    with use_services(home, QUICK) as running:
        yield running
    stop_services(home)


@pytest.fixture
def access(services: Services) -> StoreAccess:
    return StoreAccess(
        bucket=services.store_bucket,
        prefix="people",
        endpoint_url=services.store_endpoint_url,
        region=services.store_region,
        access_key=services.store_access_key,
        secret_key=services.store_secret_key,
    )


@pytest.fixture
def store(access: StoreAccess) -> S3Store:
    return S3Store(access)
