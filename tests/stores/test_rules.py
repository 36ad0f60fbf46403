"""Rules are added to those that are there, and a policy lets nobody delete an archive."""

from __future__ import annotations

import json

import pytest

from lora_prep.stores import S3Store, StoreAccess, lifecycle_state, merged_rules, policy
from lora_prep.stores.rules import set_lifecycle

PEOPLE = StoreAccess("photos", "people")
THEIRS = {
    "ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9},
}  # fmt: skip


def test_other_rules_stay_and_ours_are_replaced() -> None:
    once = merged_rules([THEIRS], PEOPLE)
    assert once[0] == THEIRS
    assert len(once) == 3
    assert merged_rules(once, PEOPLE) == once
    moved = merged_rules(once, StoreAccess("photos", ""))
    assert [rule["Filter"]["Prefix"] for rule in moved] == ["logs/", "datasets/", "loras/"]


@pytest.mark.slow
def test_a_bucket_says_what_it_deletes_by_itself(store: S3Store) -> None:
    store.client.create_bucket(Bucket="rules")
    bucket = S3Store(StoreAccess("rules", "people", *_reach(store)))
    assert lifecycle_state(bucket).covers is False
    assert lifecycle_state(bucket).rules == ()
    set_lifecycle(bucket, merged_rules([THEIRS], bucket.access))
    state = lifecycle_state(bucket)
    assert state.covers is True
    assert state.rules is not None
    assert state.rules[0]["ID"] == "theirs"
    other = S3Store(StoreAccess("rules", "elsewhere", *_reach(store)))
    assert lifecycle_state(other).covers is False


def _reach(store: S3Store) -> tuple[str | None, ...]:
    access = store.access
    return access.endpoint_url, access.region, None, access.access_key, access.secret_key


@pytest.mark.parametrize("endpoint_url", [None, "https://s3.example.com"])
def test_the_archive_cannot_be_deleted_with_the_key(endpoint_url: str | None) -> None:
    found = policy(StoreAccess("photos", "people", endpoint_url))
    assert isinstance(found, dict)
    for statement in found["Statement"]:
        actions, resources = statement["Action"], json.dumps(statement["Resource"])
        if statement["Effect"] == "Allow" and any("Delete" in action for action in actions):
            assert "loras" not in resources
            assert "people/datasets/*" in resources
        assert not any(word in json.dumps(actions) for word in ("Acl", "Policy", "PublicAccess"))


def test_other_services_get_the_command_or_the_token_they_know() -> None:
    b2 = policy(StoreAccess("photos", "people", "https://s3.us-west-004.backblazeb2.com"))
    assert isinstance(b2, list)
    assert b2[:3] == ["b2", "key", "create"]
    assert "people/" in b2
    gcs = policy(StoreAccess("photos", "", "https://storage.googleapis.com"))
    assert "gs://photos" in gcs
    r2 = policy(StoreAccess("photos", "", "https://acc.r2.cloudflarestorage.com"))
    assert isinstance(r2, dict)
    assert r2["resources"] == {"bucket": "photos"}
