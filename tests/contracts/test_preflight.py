"""What the doctor finds on each server, and that it leaves nothing behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lora_prep.model import Check
from lora_prep.stores import S3Store, StoreAccess, preflight
from tests.contracts.servers import OPEN, server
from tests.origin import closed_port

pytestmark = pytest.mark.slow  # real servers

NAMES = [
    "service", "key", "server", "bucket", "write", "abilities", "link", "expiry", "parts", "delete",
    "reach", "versions", "lock", "lifecycle",
]  # fmt: skip


def looked_at(store: S3Store, *, deep: bool = False) -> dict[str, Check]:
    found = list(preflight(store, deep=deep, local_trainer=True))
    assert [check.name for check in found] == NAMES
    return {check.name: check for check in found}


def outcomes(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.outcome for name, check in found.items()}


def test_a_good_bucket_passes_and_nothing_is_left_in_it(store: S3Store) -> None:
    found = looked_at(store, deep=True)
    assert outcomes(found) == {
        **dict.fromkeys(NAMES, "ok"), "reach": "skipped", "lifecycle": "warn",
    }  # fmt: skip
    assert list(store.listed("")) == []
    assert store.access.secret_key is not None
    assert store.access.secret_key not in " ".join(check.found for check in found.values())


def test_what_takes_seconds_is_left_to_deep(store: S3Store) -> None:
    found = looked_at(store)
    assert (found["expiry"].outcome, found["parts"].outcome) == ("skipped", "skipped")
    assert "--deep" in found["parts"].fix


def test_the_first_failure_ends_it_with_the_error_of_a_run(access: StoreAccess) -> None:
    nobody = f"http://127.0.0.1:{closed_port()}"
    cases = {
        "server": dataclasses.replace(access, endpoint_url=nobody),
        "bucket": dataclasses.replace(access, bucket="no-such-bucket"),
    }
    for name, wrong in cases.items():
        found = looked_at(S3Store(wrong))
        failed = found[name].error
        assert failed is not None
        assert failed.code == "storage"
        assert set(outcomes(found).values()) == {"ok", "fail", "skipped"}
        assert found["write"].outcome == "skipped"
    refused = looked_at(S3Store(dataclasses.replace(access, secret_key="wrong-secret-key")))
    (failed,) = (check.error for check in refused.values() if check.error)
    assert failed.code == "credentials"
    assert "check both halves" in failed.fix


def test_a_key_that_may_list_its_prefix_alone_passes(store: S3Store) -> None:
    def asked(model: Any, **_: Any) -> None:
        # Refused by AWS to a key of `store policy`: it names no prefix.
        assert model.name != "HeadBucket"

    store.client.meta.events.register("before-call.s3", asked)
    assert looked_at(store)["bucket"].outcome == "ok"


def test_what_the_bucket_does_not_tell_is_not_offered(kind: str, store: S3Store) -> None:
    offered = "lora-prep store lifecycle" in looked_at(store)["lifecycle"].fix
    assert offered is (kind == "seaweedfs")


def test_a_hosted_trainer_needs_a_public_address(store: S3Store) -> None:
    found = {check.name: check for check in preflight(store)}
    assert found["reach"].outcome == "fail"
    assert "not https" in found["reach"].found


def test_a_public_bucket_stops_it(tmp_path: Path) -> None:
    with server(OPEN, tmp_path) as access:
        store = S3Store(access)
        found = looked_at(store)
        assert found["link"].outcome == "fail"
        assert "is public" in found["link"].found
        assert (found["delete"].outcome, found["reach"].outcome) == ("ok", "skipped")
        assert list(store.listed("")) == []


def test_no_key_is_the_first_thing_that_is_said(
    access: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = looked_at(S3Store(dataclasses.replace(access, access_key=None, secret_key=None)))
    assert found["key"].outcome == "fail"
    assert found["bucket"].outcome == "skipped"
