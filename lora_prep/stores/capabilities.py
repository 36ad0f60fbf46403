"""What a bucket really does, found out with a few small objects and remembered.

Services differ, and change: what is sent to one depends on what it was seen to do, and never on
what somebody wrote about it. The probe lies below `<prefix>/.lora_prep/` and is deleted at the end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_prep.stores.access import StoreAccess, make_client
from lora_prep.stores.keys import PROBES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Capabilities", "capabilities_of", "probe"]

FRESH = timedelta(days=30)  # a service that learns something is noticed within a month
PROBE_BYTES = 1024
UNKNOWN = {"NotImplemented", "InvalidArgument"}  # it does not know the header


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a bucket was seen to do.

    checksums: a wrong CRC32 is refused; md5: a wrong Content-MD5 is refused; conditional_put:
    If-None-Match keeps an object from being overwritten; ranges: a part is answered with 206 and
    the right bytes; metadata: what is put beside an object comes back.
    """

    checksums: bool = False
    md5: bool = False
    conditional_put: bool = False
    ranges: bool = False
    metadata: bool = False


def capabilities_of(access: StoreAccess, folder: Path, *, anew: bool = False) -> Capabilities:
    """Return what a bucket does, from `folder` where it was probed within a month.

    A bucket that cannot be probed (no permission there, no network) gets none of them, and is
    asked again the next time.

    Raises:
        CredentialsError, ConfigurationError: there is no client for it.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"{access.endpoint_url or 'aws'}|{access.bucket}|{access.prefix}"
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
    if not anew and (known := _read(path)):
        return known
    try:
        found = probe(make_client(access), access)
    except (BotoCoreError, ClientError):
        return Capabilities()
    _write(path, found)
    return found


def probe(client: S3Client, access: StoreAccess) -> Capabilities:
    """Find out what a bucket does; raises botocore's errors when it takes nothing at all."""
    name = f"{PROBES}probe-{secrets.token_hex(8)}"
    where: dict[str, Any] = {
        "Bucket": access.bucket,
        "Key": f"{access.prefix}/{name}" if access.prefix else name,
    }
    body, other = os.urandom(PROBE_BYTES), os.urandom(PROBE_BYTES)
    client.put_object(
        **where, Body=body, ContentMD5=_md5(body), Metadata={"probe": "yes"}, ContentType="x/probe"
    )
    try:
        head = client.head_object(**where)
        return Capabilities(
            checksums=_refused(
                lambda: client.put_object(**where, Body=other, ChecksumCRC32=_crc32(body))
            ),
            md5=_refused(lambda: client.put_object(**where, Body=other, ContentMD5=_md5(body))),
            conditional_put=_refused(
                lambda: client.put_object(**where, Body=other, IfNoneMatch="*")
            ),
            ranges=_has_ranges(client, where),
            metadata=head.get("Metadata", {}).get("probe") == "yes",
        )
    finally:
        _remove(client, where)


def _refused(attempt: Callable[[], object]) -> bool:
    """Whether the service refuses what it should; one that does not know the header does not."""
    from botocore.exceptions import ClientError

    try:
        attempt()
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code")
        return status in {400, 409, 412} and code not in UNKNOWN
    return False


def _has_ranges(client: S3Client, where: dict[str, Any]) -> bool:
    """Whether the last byte can be had alone. What lies there now is one of two bodies."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        whole = client.get_object(**where)["Body"].read()
        answer = client.get_object(**where, Range=f"bytes={PROBE_BYTES - 1}-")
        part = answer["Body"].read()
    except (BotoCoreError, ClientError):  # such as a checksum of the whole beside a part
        return False
    return bool(answer["ResponseMetadata"]["HTTPStatusCode"] == 206 and part == whole[-1:])


def _remove(client: S3Client, where: dict[str, Any]) -> None:
    """Delete the probe; where that is not allowed it stays: a kilobyte of noise."""
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(BotoCoreError, ClientError):
        client.delete_object(**where)


def _read(path: Path) -> Capabilities | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if datetime.now(UTC) - datetime.fromisoformat(kept["probed_at"]) > FRESH:
            return None
        return Capabilities(**kept["capabilities"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: Capabilities) -> None:
    """Remember it; where that cannot be, it is probed again the next time."""
    kept: dict[str, Any] = {
        "probed_at": datetime.now(UTC).isoformat(),
        "capabilities": asdict(found),
    }
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(path)


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _crc32(data: bytes) -> str:
    from zlib import crc32

    return base64.b64encode(crc32(data).to_bytes(4, "big")).decode()
