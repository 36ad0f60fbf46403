"""The store against a real S3 server: SeaweedFS, started by the embedded services."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lora_prep.errors import ConfigurationError, CredentialsError, StorageError
from lora_prep.stores import S3Store, StoreAccess, dataset_key, lora_key, preflight, sidecar_key
from tests.origin import closed_port

pytestmark = pytest.mark.slow

BODY = os.urandom(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "set.zip"
    path.write_bytes(BODY)
    return path


def test_a_bucket_that_keeps_versions_keeps_none_of_what_is_deleted(
    store: S3Store, file: Path
) -> None:
    bucket, client = "versions", store.client
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = S3Store(dataclasses.replace(store.access, bucket=bucket))
    for _ in range(2):
        kept.put_file(file, "a/set.zip", sha256=SHA256, content_type="application/zip")
    kept.put_file(file, "a/set.zip.other", sha256=SHA256, content_type="application/zip")
    kept.delete("a/set.zip")
    versions = client.list_object_versions(Bucket=bucket)
    left = [*versions.get("Versions", []), *versions.get("DeleteMarkers", [])]
    assert [one["Key"] for one in left] == ["a/set.zip.other"]


def test_a_url_lives_no_longer_than_the_key_that_signs_it(
    access: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=2)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "temporary-key-abcd",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "a-token",
        "AWS_CREDENTIAL_EXPIRATION": ends_at.isoformat(),
    }.items():
        monkeypatch.setenv(name, value)
    store = S3Store(dataclasses.replace(access, access_key=None, secret_key=None))
    key = store.key_in_use()
    assert key is not None
    assert (key.source, key.ending, key.temporary, key.ends_at) == ("env", "abcd", True, ends_at)
    assert store.presign("a.zip", timedelta(hours=24)).expires_at == ends_at
    assert store.presign("a.zip", timedelta(hours=1)).expires_at < ends_at
    with pytest.raises(CredentialsError, match="would end at"):
        store.presign("a.zip", timedelta(hours=24), at_least=timedelta(hours=3))
    monkeypatch.delenv("AWS_CREDENTIAL_EXPIRATION")  # nobody tells when it ends
    endless = S3Store(store.access)
    assert endless.presign("a.zip", timedelta(hours=24)).expires_at > ends_at


def test_no_key_at_all_is_a_credentials_error(
    access: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3Store(dataclasses.replace(access, access_key=None, secret_key=None))
    assert store.key_in_use() is None
    with pytest.raises(CredentialsError, match="no S3 key"):
        store.presign("a.zip", timedelta(hours=1))


def test_half_a_key_and_a_login_that_ended_are_credentials_errors(
    access: StoreAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = dataclasses.replace(access, access_key=None, secret_key=None)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "only-half")
        with pytest.raises(CredentialsError) as half:
            S3Store(ours)
    assert "AWS_SECRET_ACCESS_KEY" in half.value.why
    files = tmp_path / "config"
    files.write_text(
        "[profile login]\nsso_start_url = https://sso.test/start\nsso_region = us-east-1\n"
        "sso_account_id = 123456789012\nsso_role_name = one\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files))
    login = S3Store(dataclasses.replace(ours, profile="login"))
    with pytest.raises(CredentialsError) as ended:
        login.head("a/key")
    assert "aws sso login" in ended.value.fix
    found = {check.name: check for check in preflight(login)}
    assert found["key"].error is not None
    assert found["key"].error.code == "credentials"


def test_an_endpoint_of_the_aws_files_is_not_taken_for_aws(
    access: StoreAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "config"
    files.write_text("[profile theirs]\nendpoint_url = https://s3.test\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    theirs = dataclasses.replace(access, profile="theirs", region=None)
    with pytest.raises(ConfigurationError, match=r"lead to s3\.test"):
        S3Store(dataclasses.replace(theirs, endpoint_url=None))
    assert S3Store(theirs).head("a/key") is None  # the one of the settings wins
    for region in ("eu-central-1", "cn-north-1"):
        S3Store(StoreAccess("photos", region=region))


def test_a_missing_bucket_and_a_missing_object_are_storage_errors(
    access: StoreAccess, store: S3Store, file: Path
) -> None:
    with pytest.raises(StorageError):
        list(store.read("not/there"))
    elsewhere = S3Store(dataclasses.replace(access, bucket="no-such-bucket"))
    with pytest.raises(StorageError):
        list(elsewhere.read("x"))


def test_no_server_is_a_retryable_storage_error(
    access: StoreAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_prep.stores.access.TOTAL_ATTEMPTS", 1)
    nobody = f"http://127.0.0.1:{closed_port()}"
    store = S3Store(dataclasses.replace(access, endpoint_url=nobody))
    with pytest.raises(StorageError) as raised:
        store.head("x")
    assert raised.value.retryable


def test_an_unknown_profile_is_said_at_once(access: StoreAccess) -> None:
    with pytest.raises(CredentialsError, match="no-such-profile"):
        S3Store(dataclasses.replace(access, profile="no-such-profile"))


def test_keys_carry_run_ids_and_nothing_else() -> None:
    when = datetime(2026, 11, 22, tzinfo=UTC)
    assert dataset_key("r1", SHA256, when) == f"datasets/2026/r1/{SHA256[:16]}.zip"
    assert lora_key("r1", SHA256) == f"loras/r1/r1-{SHA256[:12]}.safetensors"
    assert sidecar_key("r1") == "loras/r1/lora.json"
    access = StoreAccess.from_url("s3://bucket/some/prefix/", region="eu-central-1")
    assert (access.bucket, access.prefix) == ("bucket", "some/prefix")
    assert StoreAccess.from_url("s3://bucket").prefix == ""
