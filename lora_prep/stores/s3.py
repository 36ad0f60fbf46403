"""One bucket of an S3-compatible service."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit

from lora_prep.addresses import host_and_port
from lora_prep.errors import CredentialsError, LoraPrepError, StorageError
from lora_prep.model import StoredObject
from lora_prep.redaction import redacted
from lora_prep.stores.access import StoreAccess, make_client

__all__ = ["DataUrl", "S3Store"]

MIB = 1 << 20
SINGLE_PUT_BYTES = 64 * MIB
"""Up to here one PUT with Content-MD5, which every enforcing service checks; above, multipart."""
PART_BYTES = 32 * MIB  # equal parts: Cloudflare R2 takes no others
PARTS_AT_ONCE = 4
READ_ATTEMPTS = 3  # boto3 does not retry a body that was cut
CHUNK_BYTES = MIB

KEY_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}
NOT_THERE = {"404", "NoSuchKey", "NotFound"}


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

    def __init__(self, access: StoreAccess) -> None:
        self.access = access
        self._client = make_client(access)

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
        from boto3.s3.transfer import TransferConfig

        size = path.stat().st_size
        with self._errors("upload to"):
            if size <= SINGLE_PUT_BYTES:
                self._put_once(path, key, sha256, content_type)
                if on_bytes:
                    on_bytes(size)
            else:
                self._client.upload_file(
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
        return StoredObject(self.access.bucket, key, size, sha256)

    def put_bytes(self, data: bytes, key: str, *, content_type: str) -> StoredObject:
        """Upload a small object whole."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self._errors("upload to"):
            self._client.put_object(
                Bucket=self.access.bucket,
                Key=key,
                Body=data,
                ContentMD5=_md5(data),
                ContentType=content_type,
                Metadata={"sha256": sha256},
            )
        return StoredObject(self.access.bucket, key, len(data), sha256)

    def presign(self, key: str, life: timedelta) -> DataUrl:
        """Return a URL that reads one object without a key until it expires."""
        expires_at = datetime.now(UTC) + life
        with self._errors("sign a URL for"):
            url = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.access.bucket, "Key": key},
                ExpiresIn=max(1, ceil(life.total_seconds())),
            )
        return DataUrl(url, expires_at)

    def head(self, key: str) -> StoredObject | None:
        """Return the object at `key`, or None when there is none."""
        from botocore.exceptions import ClientError

        with self._errors("look into"):
            try:
                answer = self._client.head_object(Bucket=self.access.bucket, Key=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in NOT_THERE:
                    return None
                raise
        sha256 = answer.get("Metadata", {}).get("sha256")
        return StoredObject(self.access.bucket, key, answer["ContentLength"], sha256)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in chunks; a cut connection is an error, not a short read."""
        with self._errors("read from"):
            body = self._client.get_object(Bucket=self.access.bucket, Key=key)["Body"]
            yield from body.iter_chunks(CHUNK_BYTES)

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
        """Delete an object and make sure that it is gone; one that is not there is no error."""
        with self._errors("delete from"):
            self._client.delete_object(Bucket=self.access.bucket, Key=key)
        if self.head(key) is not None:
            raise StorageError(
                f"An object in the bucket {self.access.bucket} could not be deleted.",
                why="It is still there after the deletion was accepted.",
                fix=f"Look at the bucket's rules and delete it by hand: {key}",
            )

    def _put_once(self, path: Path, key: str, sha256: str, content_type: str) -> None:
        with path.open("rb") as file:
            md5 = _md5(file.read())
            file.seek(0)
            self._client.put_object(
                Bucket=self.access.bucket,
                Key=key,
                Body=file,
                ContentMD5=md5,
                ContentType=content_type,
                Metadata={"sha256": sha256},
            )

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Turn boto's exceptions into ours at the door."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except NoCredentialsError as error:
            raise CredentialsError(
                f"Cannot {action} the bucket {self.access.bucket}: there is no S3 key.",
                why="Neither the environment nor the AWS files hold one.",
                fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or store.profile.",
            ) from error
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


def _md5(data: bytes) -> str:
    # Content-MD5 guards a transfer; it is no signature.
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
