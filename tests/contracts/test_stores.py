"""The same promises on every server: whatever it can do, nothing is lost and nothing is open."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from lora_prep.errors import CredentialsError, StorageError
from lora_prep.stores import (
    Capabilities,
    S3Store,
    StoreAccess,
    capabilities_of,
    check_fetchable,
)

pytestmark = pytest.mark.slow  # real servers

BODY = os.urandom(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
SEEN = {
    "seaweedfs": Capabilities(True, True, True, True, True),
    "juicefs": Capabilities(False, True, False, True, True),
    "rclone": Capabilities(False, True, False, False, False),
}
"""What each of them does; a server that learns something shows up here."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "set.zip"
    path.write_bytes(BODY)
    return path


def test_what_a_bucket_does_is_seen_and_remembered(
    kind: str, access: StoreAccess, tmp_path: Path
) -> None:
    assert capabilities_of(access, tmp_path) == SEEN[kind]
    elsewhere = dataclasses.replace(access, secret_key="wrong")  # would not get an answer
    assert capabilities_of(elsewhere, tmp_path) == SEEN[kind]
    assert capabilities_of(elsewhere, tmp_path, anew=True) == Capabilities()
    (kept,) = tmp_path.glob("*.json")
    kept.write_text("{")
    assert capabilities_of(access, tmp_path) == SEEN[kind]
    listed = S3Store(access).client.list_objects_v2(Bucket=access.bucket, Prefix="people/.lora")
    assert listed.get("KeyCount", 0) == 0


def test_put_head_read_back_delete(store: S3Store, file: Path) -> None:
    key = store.key("a/set.zip")
    assert store.head(key) is None
    stored = store.put_file(file, key, sha256=SHA256, content_type="application/zip")
    seen = store.head(key)
    assert seen is not None
    assert (seen.url, seen.size_bytes) == (stored.url, len(BODY))
    assert seen.sha256 == (SHA256 if store.capabilities.metadata else None)
    assert b"".join(store.read(key)) == BODY
    assert store.sha256(key) == (SHA256, len(BODY))
    store.delete(key)
    assert store.head(key) is None
    store.delete(key)  # what is gone can be deleted again


def test_a_large_file_goes_up_in_equal_parts_and_comes_back_whole(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_prep.stores.s3.SINGLE_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("lora_prep.stores.s3.PART_BYTES", 5 << 20)
    body = os.urandom(1 << 20) * 12
    path = tmp_path / "big"
    path.write_bytes(body)
    sha256, key = hashlib.sha256(body).hexdigest(), store.key("big")
    sent: list[int] = []
    store.put_file(path, key, sha256=sha256, content_type="x/y", on_bytes=sent.append)
    assert sum(sent) == len(body)
    assert store.sha256(key) == (sha256, len(body))
    store.delete(key)


def test_a_presigned_url_opens_one_object_for_anyone_until_it_expires(
    store: S3Store, file: Path
) -> None:
    key = store.key("b/set.zip")
    store.put_file(file, key, sha256=SHA256, content_type="application/zip")
    link = store.presign(key, timedelta(hours=24))
    check_fetchable(link.url)
    answer = httpx.get(link.url)
    assert (answer.content, answer.headers["Content-Type"]) == (BODY, "application/zip")
    assert "Signature" not in repr(link)
    bare, _, query = link.url.partition("?")
    spoilt = query[:-1] + ("0" if query[-1] != "0" else "1")
    for other in (bare, f"{bare}?{spoilt}", link.url.replace("/b/set.zip", "/c/set.zip")):
        with pytest.raises(StorageError, match="cannot be fetched"):
            check_fetchable(other)
    short = store.presign(key, timedelta(seconds=1))
    time.sleep(2.1)
    with pytest.raises(StorageError) as raised:
        check_fetchable(short.url)
    assert "Signature" not in str(raised.value)
    store.delete(key)


def test_a_url_lives_seven_days_at_most(store: S3Store, file: Path) -> None:
    key = store.key("c/set.zip")
    store.put_file(file, key, sha256=SHA256, content_type="application/zip")
    link = store.presign(key, timedelta(days=30))
    assert timedelta(0) <= datetime.now(UTC) + timedelta(days=7) - link.expires_at
    check_fetchable(link.url)
    store.delete(key)


def test_a_wrong_key_opens_nothing_and_no_key_is_told(access: StoreAccess, file: Path) -> None:
    wrong = S3Store(dataclasses.replace(access, secret_key="a-wrong-secret-key"))
    with pytest.raises(CredentialsError) as raised:
        wrong.put_file(file, "x", sha256=SHA256, content_type="a/b")
    assert "a-wrong-secret-key" not in str(raised.value)
    assert str(access.access_key) not in str(raised.value) + repr(access)


def test_a_damaged_transfer_is_refused(store: S3Store, file: Path) -> None:
    """Every server that checks keys checks Content-MD5: one PUT cannot store other bytes."""
    assert store.capabilities.md5


def test_cut_uploads_of_ours_are_aborted_and_nobody_else_s(access: StoreAccess) -> None:
    store = S3Store(dataclasses.replace(access, prefix=""))  # then the bucket may be shared
    bucket = access.bucket
    begun = {
        key: store.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        for key in ("datasets/2026/r-1/a.zip", "loras/r/r.safetensors", "theirs/film.mp4")
    }
    try:
        assert store.abort_uploads(older_than=timedelta(minutes=1)) == 0
        assert store.abort_uploads(older_than=timedelta(minutes=-1)) == 2
        assert store.abort_uploads(older_than=timedelta(minutes=-1)) == 0
        part = {"Bucket": bucket, "Key": "theirs/film.mp4", "UploadId": begun["theirs/film.mp4"]}
        store.client.upload_part(**part, PartNumber=1, Body=b"x")
    finally:
        store.client.abort_multipart_upload(
            Bucket=bucket, Key="theirs/film.mp4", UploadId=begun["theirs/film.mp4"]
        )


def test_folders_are_what_leads_on_below_the_prefix(store: S3Store, file: Path) -> None:
    keys = [store.key(key) for key in ("f/ada/1.jpg", "f/ada/2/3.jpg", "f/ben/1.jpg", "f/4.jpg")]
    for key in keys:
        store.put_file(file, key, sha256=SHA256, content_type="image/jpeg")
    below = S3Store(dataclasses.replace(store.access, prefix=store.key("f")))
    assert sorted(below.folders()) == ["ada", "ben"]
    etags = {str(stored.etag).strip('"') for stored, _ in below.listed("ada/")}  # rclone has none
    heads = [store.head(key) for key in keys[:2]]
    assert etags == {str(head.etag).strip('"') for head in heads if head}
    for key in keys:
        store.delete(key)
