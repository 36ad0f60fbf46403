"""A good copy is never replaced by a bad one, here or in the bucket; on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_prep.archive import TrainingFacts, archive_lora
from lora_prep.embedded import EmbeddedOptions, use_services
from lora_prep.errors import LoraInvalid, ResultExpired
from lora_prep.model import Lora, Prediction, PredictionStatus
from lora_prep.stores import S3Store, StoreAccess
from tests.archive.lora_files import lora
from tests.origin import Answer, Origin, origin

pytestmark = pytest.mark.slow
FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, None, 10, "0")
GOOD = lora(rank=2, blocks=2)


@pytest.fixture
def store(module_home: Path) -> S3Store:
    with use_services(module_home, EmbeddedOptions(rehearsal_rank=1)) as services:
        return S3Store(
            StoreAccess(
                bucket=services.store_bucket,
                endpoint_url=services.store_endpoint_url,
                region=services.store_region,
                access_key=services.store_access_key,
                secret_key=services.store_secret_key,
            )
        )


def archived(server: Origin, run_id: str, store: S3Store, folder: Path) -> Lora:
    links = (f"{server.url}/x_high_noise.safetensors", f"{server.url}/x_low_noise.safetensors")
    prediction = Prediction("p1", "model", PredictionStatus.COMPLETED, links)
    loras = archive_lora(prediction, FACTS, run_id=run_id, store=store, folder=folder)
    assert [lora.role for lora in loras] == ["high_noise", "low_noise"]
    return loras[0]


def test_a_good_local_copy_is_used_even_when_the_link_is_dead(
    store: S3Store, tmp_path: Path
) -> None:
    with origin(Answer(200, GOOD)) as server:
        first = archived(server, "r1", store, tmp_path)
    with origin(Answer(404)) as dead:
        again = archived(dead, "r1", store, tmp_path)
        assert dead.requests == []
    assert again.object == first.object


def test_a_bad_download_never_takes_the_place_of_a_good_copy(
    store: S3Store, tmp_path: Path
) -> None:
    with origin(Answer(200, GOOD), Answer(200, b"<html>no</html>")) as server:
        with pytest.raises(LoraInvalid):
            archived(server, "r2", store, tmp_path)
    assert (tmp_path / "1.safetensors").read_bytes() == GOOD
    assert not (tmp_path / "2.safetensors").exists()
    (tmp_path / "1.safetensors").write_bytes(b"damaged")
    with origin(Answer(200, GOOD)) as server:
        archived(server, "r2", store, tmp_path)
    assert (tmp_path / "1.safetensors").read_bytes() == GOOD


def test_wrong_bytes_of_the_right_length_in_the_bucket_are_mended(
    store: S3Store, tmp_path: Path
) -> None:
    with origin(Answer(200, GOOD)) as server:
        first = archived(server, "r3", store, tmp_path)
        store.put_bytes(bytes(len(GOOD)), first.object.key, content_type="x/y")
        archived(server, "r3", store, tmp_path)
    assert b"".join(store.read(first.object.key)) == GOOD


def test_an_expired_link_without_a_copy_is_said(store: S3Store, tmp_path: Path) -> None:
    with origin(Answer(410)) as dead, pytest.raises(ResultExpired):
        archived(dead, "r4", store, tmp_path)
