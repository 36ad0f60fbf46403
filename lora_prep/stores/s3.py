"""One bucket of an S3-compatible service."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lora_prep.addresses import host_and_port
from lora_prep.errors import CredentialsError, LoraPrepError, StorageError
from lora_prep.model import StoredObject
from lora_prep.redaction import redacted
from lora_prep.stores.access import StoreAccess, make_client
from lora_prep.stores.capabilities import Capabilities
from lora_prep.stores.credentials import KeyInUse, key_errors, key_in_use, no_key
from lora_prep.stores.keys import ROOMS

__all__ = ["DataUrl", "S3Store"]

MIB = 1 << 20
SINGLE_PUT_BYTES = 64 * MIB
"""Up to here one PUT with Content-MD5, which every enforcing service checks; above, multipart."""
PART_BYTES = 32 * MIB  # equal parts: Cloudflare R2 takes no others
PARTS_AT_ONCE = 4
READ_ATTEMPTS = 3  # boto3 does not retry a body that was cut
CHUNK_BYTES = MIB
LONGEST_LIFE = timedelta(days=7)  # of a presigned URL: the end of signature version 4
MOMENT = timedelta(seconds=1)

KEY_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}
NOT_THERE = {"404", "NoSuchKey", "NotFound"}
TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}


@dataclass(frozen=True, slots=True)
class DataUrl:
    """A presigned URL: a password for one object until it expires."""

    url: str = field(repr=False)
    expires_at: datetime

    @property
    def host(self) -> str:
        """The server it points to, without port: safe to show."""
        return urlsplit(self.url).hostname or ""


class S3Store:
    """Puts, presigns, reads and deletes objects below one prefix of one bucket."""

    def __init__(self, access: StoreAccess, capabilities: Capabilities | None = None) -> None:
        """Open the bucket; what it was not seen to do is not relied on.

        Raises:
            CredentialsError, ConfigurationError: there is no client for it.
        """
        self.access = access
        self.capabilities = capabilities or Capabilities()
        self.client = make_client(access, checksums=self.capabilities.checksums)

    def key(self, relative: str) -> str:
        """Return the whole key of an object: the store's prefix and its own."""
        return f"{self.access.prefix}/{relative}" if self.access.prefix else relative

    def put_file(
        self,
        path: Path,
        key: str,
        *,
        sha256: str,
        content_type: str,
        on_bytes: Callable[[int], None] | None = None,
    ) -> StoredObject:
        """Upload a file; `on_bytes` is told the bytes sent since its last call, by any thread."""
        with self.errors("upload to"):
            self._put(path, key, sha256, content_type, on_bytes)
        return StoredObject(self.access.bucket, key, path.stat().st_size, sha256)

    def put_new(
        self,
        path: Path,
        key: str,
        *,
        sha256: str,
        content_type: str,
        on_bytes: Callable[[int], None] | None = None,
    ) -> bool:
        """Upload a file unless something lies at `key`; return whether it was uploaded.

        Where the bucket was seen to heed If-None-Match nothing is ever overwritten; elsewhere it is
        looked at before, and only somebody who writes in between could be.
        """
        if self.head(key) is not None:
            return False
        heeds = self.capabilities.conditional_put
        with self.errors("upload to"):
            try:
                with self._only_where_nothing_is(key) if heeds else nullcontext():
                    self._put(path, key, sha256, content_type, on_bytes)
            except Exception as error:
                if _code_of(error) in TAKEN:
                    return False
                raise
        return True

    def _put(
        self,
        path: Path,
        key: str,
        sha256: str,
        content_type: str,
        on_bytes: Callable[[int], None] | None,
    ) -> None:
        from boto3.s3.transfer import TransferConfig

        size = path.stat().st_size
        if size <= SINGLE_PUT_BYTES:
            self._put_once(path, key, sha256, content_type)
            if on_bytes:
                on_bytes(size)
            return
        self.client.upload_file(
            str(path),
            self.access.bucket,
            key,
            ExtraArgs={"ContentType": content_type, "Metadata": {"sha256": sha256}},
            Callback=on_bytes,
            Config=TransferConfig(
                multipart_threshold=PART_BYTES,
                multipart_chunksize=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            ),
        )

    @contextmanager
    def _only_where_nothing_is(self, key: str) -> Iterator[None]:
        """Add If-None-Match to an upload; for one in parts boto3 itself does not offer it."""

        def condition(params: dict[str, Any], **_: Any) -> None:
            if params.get("Key") == key:
                params["IfNoneMatch"] = "*"

        events = self.client.meta.events
        names = [
            f"provide-client-params.s3.{end}" for end in ("PutObject", "CompleteMultipartUpload")
        ]
        for name in names:
            events.register(name, condition)
        try:
            yield
        finally:
            for name in names:
                events.unregister(name, condition)

    def put_bytes(self, data: bytes, key: str, *, content_type: str) -> StoredObject:
        """Upload a small object whole."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self.errors("upload to"):
            self.client.put_object(
                Bucket=self.access.bucket,
                Key=key,
                Body=data,
                ContentMD5=_md5(data),
                ContentType=content_type,
                Metadata={"sha256": sha256},
            )
        return StoredObject(self.access.bucket, key, len(data), sha256)

    def presign(self, key: str, life: timedelta, *, at_least: timedelta = MOMENT) -> DataUrl:
        """Return a URL that reads one object without a key until it expires.

        It lives as long as was asked, 7 days at most, and no longer than the key it is signed with.

        Raises:
            CredentialsError: the key ends sooner than `at_least` from now, or there is none.
        """
        now = datetime.now(UTC)
        expires_at = now + min(life, LONGEST_LIFE)
        with self.errors("sign a URL for"):
            key_used = self.key_in_use()
            if key_used and key_used.ends_at:
                expires_at = min(expires_at, key_used.ends_at)
            if expires_at - now < at_least:
                raise _ends_too_soon(expires_at, at_least)
            url = self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.access.bucket, "Key": key},
                ExpiresIn=max(1, ceil((expires_at - now).total_seconds())),
            )
        return DataUrl(url, expires_at)

    def key_in_use(self) -> KeyInUse | None:
        """Return what may be shown of the key that signs; None when there is none."""
        return key_in_use(self.client._request_signer._credentials)  # type: ignore[attr-defined]

    def head(self, key: str) -> StoredObject | None:
        """Return the object at `key`, or None when there is none."""
        from botocore.exceptions import ClientError

        with self.errors("look into"):
            try:
                answer = self.client.head_object(Bucket=self.access.bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in NOT_THERE:
                    return None
                raise
        sha256 = answer.get("Metadata", {}).get("sha256")
        return StoredObject(
            self.access.bucket,
            key,
            answer["ContentLength"],
            sha256,
            etag=answer.get("ETag"),
            version_id=answer.get("VersionId"),
        )

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in chunks; a cut connection is an error, not a short read."""
        with self.errors("read from"):
            body = self.client.get_object(Bucket=self.access.bucket, Key=key)["Body"]
            yield from body.iter_chunks(CHUNK_BYTES)

    def read_at(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer at the object's end."""
        with self.errors("read from"):
            answer = self.client.get_object(
                Bucket=self.access.bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}"
            )
            return answer["Body"].read(length)

    def sha256(self, key: str) -> tuple[str, int]:
        """Read an object back whole and return its SHA-256 and length in bytes."""
        for attempt in range(READ_ATTEMPTS):
            digest, length = hashlib.sha256(), 0
            try:
                for chunk in self.read(key):
                    digest.update(chunk)
                    length += len(chunk)
            except StorageError:
                if attempt + 1 == READ_ATTEMPTS:
                    raise
            else:
                break
        return digest.hexdigest(), length

    def delete(self, key: str) -> None:
        """Delete an object with all its versions, and make sure that it is gone.

        One that is not there is no error.
        """
        with self.errors("delete from"):
            answer = self.client.delete_object(Bucket=self.access.bucket, Key=key)
            # A bucket that keeps versions has only hidden it, behind a marker of its own.
            if answer.get("DeleteMarker") or answer.get("VersionId"):
                self._delete_versions(key)
        if self.head(key) is not None:
            raise StorageError(
                f"An object in the bucket {self.access.bucket} could not be deleted.",
                why="It is still there after the deletion was accepted.",
                fix=f"Look at the bucket's rules and delete it by hand: {key}",
            )

    def listed(self, below: str) -> Iterator[tuple[StoredObject, datetime]]:
        """Yield every object whose key begins with `below`, and when it was put there."""
        pages = self.client.get_paginator("list_objects_v2")
        with self.errors("list"):
            for page in pages.paginate(Bucket=self.access.bucket, Prefix=self.key(below)):
                for one in page.get("Contents", []):
                    stored = StoredObject(
                        self.access.bucket, one["Key"], one["Size"], None, etag=one.get("ETag")
                    )
                    yield stored, one["LastModified"]

    def folders(self) -> Iterator[str]:
        """Yield the names that lead on below the store's prefix, as folders do."""
        pages = self.client.get_paginator("list_objects_v2")
        here = self.key("")
        with self.errors("list"):
            for page in pages.paginate(Bucket=self.access.bucket, Prefix=here, Delimiter="/"):
                for one in page.get("CommonPrefixes", []):
                    yield one["Prefix"].removeprefix(here).rstrip("/")

    def abort_uploads(self, *, older_than: timedelta) -> int:
        """Abort uploads in parts of ours that were cut; return how many."""
        until, aborted = datetime.now(UTC) - older_than, 0
        with self.errors("abort uploads in"):
            for key, upload_id, begun_at in list(self._uploads()):
                if begun_at < until:
                    self.client.abort_multipart_upload(
                        Bucket=self.access.bucket, Key=key, UploadId=upload_id
                    )
                    aborted += 1
        return aborted

    def _uploads(self) -> Iterator[tuple[str, str, datetime]]:
        pages = self.client.get_paginator("list_multipart_uploads")
        for room in ROOMS:
            for page in pages.paginate(Bucket=self.access.bucket, Prefix=self.key(room)):
                for one in page.get("Uploads", []):
                    yield one["Key"], one["UploadId"], one["Initiated"]

    def _delete_versions(self, key: str) -> None:
        pages = self.client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.access.bucket, Prefix=key):
            for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if one["Key"] == key:
                    self.client.delete_object(
                        Bucket=self.access.bucket, Key=key, VersionId=one["VersionId"]
                    )

    def _put_once(self, path: Path, key: str, sha256: str, content_type: str) -> None:
        with path.open("rb") as file:
            md5 = _md5(file.read())
            file.seek(0)
            self.client.put_object(
                Bucket=self.access.bucket,
                Key=key,
                Body=file,
                ContentMD5=md5,
                ContentType=content_type,
                Metadata={"sha256": sha256},
            )

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Turn boto's exceptions into ours at the door."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except key_errors() as error:
            what = f"Cannot {action} the bucket {self.access.bucket}: there is no S3 key."
            raise no_key(what, error) from error
        except (BotoCoreError, Boto3Error, ClientError) as error:
            raise self._converted(action, error) from error

    def _converted(self, action: str, error: Exception) -> LoraPrepError:
        response = getattr(error, "response", None) or {}
        code = str(response.get("Error", {}).get("Code", ""))
        where = host_and_port(self.access.endpoint_url or "https://s3.amazonaws.com")
        what = f"Cannot {action} the bucket {self.access.bucket} at {where}."
        if code in KEY_REFUSED:
            return CredentialsError(
                what,
                why=f"The server refused the key: {code}.",
                fix="Check the S3 key, and that it may do this in this bucket.",
            )
        return StorageError(
            what,
            why=f"{redacted(str(error))}",
            fix="Check the network and store.url, store.endpoint_url and store.region; try again.",
        )


def _ends_too_soon(expires_at: datetime, at_least: timedelta) -> CredentialsError:
    hours = at_least.total_seconds() / 3600
    return CredentialsError(
        f"The link to the data set would end at {expires_at:%Y-%m-%d %H:%M} UTC.",
        why="It ends with the S3 key that signs it, and a training may wait in a queue for "
        f"{hours:g} h before its photos are fetched.",
        fix="Renew the key, use one that does not end, or lower store.presign_margin_hours.",
    )


def _code_of(error: Exception) -> str:
    """Return the service's code of a failed upload; boto3 hides it in the error before."""
    for one in (error, error.__cause__, error.__context__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def _md5(data: bytes) -> str:
    # Content-MD5 guards a transfer; it is no signature.
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
