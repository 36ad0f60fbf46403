"""How an archived LoRA is used: links that live as long as is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lora_prep.archive import inference_loras
from lora_prep.model import Lora, LoraFacts, StoredObject
from lora_prep.stores import S3Store, StoreAccess

FACTS = LoraFacts("0" * 64, 9, "diffusion_model", 4, "F16", 40, 800, rehearsal=False)


def test_the_end_of_the_links_is_that_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=2)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "temporary-key-abcd",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "a-token",
        "AWS_CREDENTIAL_EXPIRATION": ends_at.isoformat(),
    }.items():
        monkeypatch.setenv(name, value)
    store = S3Store(StoreAccess("photos", endpoint_url="http://127.0.0.1:9"))
    lora = Lora(FACTS, "high_noise", StoredObject("photos", "a/b", 9, None), path=None)
    found = inference_loras(store, [lora], timedelta(hours=24))
    assert found.expires_at == ends_at
    assert "X-Amz-Signature" in found.fields["high_noise_loras"][0]["path"]
    assert "Signature" not in repr(found)
