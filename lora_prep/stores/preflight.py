"""Everything a run will ask of a bucket, tried on a kilobyte: one line a check."""

from __future__ import annotations

import email.utils
import os
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import CredentialsError, LoraPrepError, StorageError
from lora_prep.model import Check
from lora_prep.redaction import redacted
from lora_prep.stores.capabilities import Capabilities, probe
from lora_prep.stores.keys import PROBES
from lora_prep.stores.reach import check_fetchable, check_public
from lora_prep.stores.rules import lifecycle_state
from lora_prep.stores.s3 import S3Store
from lora_prep.stores.services import service_of

__all__ = ["preflight"]

CLOCK_WARN_S, CLOCK_FAIL_S = 60.0, 600.0  # S3 refuses what is signed 15 minutes off
AWS_ENDPOINT = "https://s3.amazonaws.com"
WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
ADVICE = {
    403: "The key may not see the bucket. Give it ListBucket: lora-prep store policy",
    404: "There is no such bucket: make it, or correct store.url.",
    301: "The bucket is in another region: set store.region.",
    400: "The service does not take the request: check store.region and store.endpoint_url.",
}
SOURCES = {
    "env": "the environment",
    "shared-credentials-file": "the AWS credentials file",
    "config-file": "the AWS configuration file",
    "explicit": "lora-prep's own server",
    "sso": "an AWS login",
    "assume-role": "a role of the AWS files",
    "iam-role": "this machine's role",
    "container-role": "this container's role",
}
"""Where a key comes from: botocore's word, and one for people."""
ABILITIES = {
    "checksums": "refuses a wrong checksum",
    "md5": "refuses a damaged upload",
    "conditional_put": "refuses to overwrite",
    "ranges": "sends parts of a file",
    "metadata": "keeps notes on a file",
}
PART_BYTES = 5 << 20  # the least that AWS takes


def preflight(
    store: S3Store, *, deep: bool = False, local_trainer: bool = False
) -> Iterator[Check]:
    """Yield what was found, in the order in which a run would meet it; the first failure ends it.

    deep: also a link that expires, and an upload in parts. local_trainer: the trainer is on this
    machine, so that the bucket may be, too.
    """
    key = store.key(f"{PROBES}doctor-{secrets.token_hex(8)}.zip")
    looks: dict[str, Callable[[], Check]] = {
        "service": lambda: _service(store),
        "key": lambda: _key(store),
        "server": lambda: _server(store),
        "bucket": lambda: _bucket(store),
        "write": lambda: _put(store, key),
        "abilities": lambda: _abilities(store),
        "link": lambda: _link(store, key),
        "expiry": lambda: _expiry(store, key) if deep else _not_deep("expiry"),
        "parts": lambda: _parts(store, f"{key}.parts") if deep else _not_deep("parts"),
        "delete": lambda: _delete(store, key),
        "reach": lambda: _reach(store, local_trainer=local_trainer),
        "versions": lambda: _versions(store),
        "lock": lambda: _lock(store),
        "lifecycle": lambda: _lifecycle(store),
    }
    done: list[str] = []
    failed = ""
    for name, look in looks.items():
        left_behind = name == "delete" and "write" in done
        if failed and not left_behind:
            yield Check(name, "skipped", f"Not looked at, since {failed} failed.")
            continue
        check = _tried(name, look)
        if check.outcome == "fail":
            failed = failed or name
        else:
            done.append(name)
        yield check


def _not_deep(name: str) -> Check:
    return Check(name, "skipped", "Not looked at.", "lora-prep doctor --deep does.")


def _tried(name: str, look: Callable[[], Check]) -> Check:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return look()
    except LoraPrepError as error:
        return Check.failed(name, error)
    except (BotoCoreError, ClientError) as error:
        why = redacted(str(error))
        wrapped = StorageError("The bucket refuses it.", why=why, fix="Look at the key's rights.")
        return Check.failed(name, wrapped)


def _service(store: S3Store) -> Check:
    access = store.access
    service = service_of(access.endpoint_url)
    place = host_and_port(access.endpoint_url or AWS_ENDPOINT)
    region = store.client.meta.region_name
    what = f"{service.name} at {place}, region {region}, {service.addressing} style, {access.url}"
    return Check("service", "ok", " ".join([f"{what}.", *service.traps]))


def _key(store: S3Store) -> Check:
    with store.errors("sign for"):
        used = store.key_in_use()
    if used is None:
        return Check.failed(
            "key",
            CredentialsError(
                "There is no S3 key.",
                why="Neither the environment nor the AWS files hold one.",
                fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or store.profile.",
            ),
        )
    words = f"...{used.ending}, from {SOURCES.get(used.source, used.source)}"
    if not used.temporary:
        return Check("key", "ok", f"{words}. It does not expire.")
    end = f"expires {used.ends_at:%Y-%m-%d %H:%M} UTC" if used.ends_at else "nobody tells how long"
    return Check(
        "key",
        "warn",
        f"{words}, for a time: {end}.",
        "Links die with it. A key that does not expire is safer.",
    )


def _server(store: S3Store) -> Check:
    """Reach the server without a key and compare clocks."""
    import httpx

    url = store.access.endpoint_url or AWS_ENDPOINT
    try:
        answer = httpx.head(url, timeout=10, trust_env=not is_loopback(url))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(
            f"The server {host_and_port(url)} does not answer.",
            why=f"{type(error).__name__}: {redacted(str(error)).rstrip('.')}.",
            fix="Check the network and store.endpoint_url.",
        ) from error
    try:
        told = email.utils.parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return Check("server", "ok", "It answers, and does not tell the time.")
    off_s = (datetime.now(UTC) - told).total_seconds()
    side = "ahead" if off_s > 0 else "behind"
    words = f"It answers; this machine's clock is {abs(off_s):.0f} s {side}."
    if abs(off_s) > CLOCK_FAIL_S:
        raise StorageError(
            "The clocks of this machine and of the server differ too much.",
            why=words,
            fix="Set the clock: signatures hold for 15 minutes.",
        )
    if abs(off_s) > CLOCK_WARN_S:
        return Check("server", "warn", words, "Set the clock: signatures hold for 15 minutes.")
    return Check("server", "ok", words)


def _bucket(store: S3Store) -> Check:
    """List below the prefix. HeadBucket is refused to a key that may list no more than that."""
    from botocore.exceptions import ClientError

    try:
        store.client.list_objects_v2(Bucket=store.access.bucket, Prefix=store.key(""), MaxKeys=1)
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(error.response.get("Error", {}).get("Code", ""))
        advice = ADVICE.get(status, "Check store.url.")
        if code in WRONG_KEY:
            advice = "The key is not one of this service: check both halves, and the endpoint."
        kind = CredentialsError if status in {401, 403} else StorageError
        raise kind(
            f"The bucket {store.access.bucket} cannot be used.",
            why=f"The server answers {status or 'nothing'}: {redacted(code)}.",
            fix=advice,
        ) from error
    return Check("bucket", "ok", f"{store.access.bucket} is there, and the key may see it.")


def _put(store: S3Store, key: str) -> Check:
    store.put_bytes(os.urandom(1024), key, content_type="application/zip")
    return Check("write", "ok", "A kilobyte was put, with its MD5.")


def _abilities(store: S3Store) -> Check:
    found = probe(store.client, store.access)
    names = [name for name in Capabilities.__slots__ if getattr(found, name)]
    words = f"It {', '.join(map(ABILITIES.__getitem__, names)) or 'takes files'}."
    if len(names) < len(ABILITIES):
        words += " lora_prep makes up for the rest."
    if not found.md5:
        return Check(
            "abilities",
            "warn",
            f"{words} It does not refuse a damaged upload.",
            "What is archived is read back and compared all the same.",
        )
    return Check("abilities", "ok", words)


def _link(store: S3Store, key: str) -> Check:
    """A link opens the object, and nothing else does."""
    url = store.presign(key, timedelta(seconds=60)).url
    check_fetchable(url)
    bare, _, query = url.partition("?")
    if _opens(bare):
        raise StorageError(
            f"The bucket {store.access.bucket} is public.",
            why="An object was fetched without a key or a signature: so would be the photos.",
            fix="Close the bucket to the public, or use another one.",
        )
    if _opens(f"{bare}?{query[:-1]}{'0' if query[-1] != '0' else '1'}"):
        raise StorageError(
            "The server does not check signatures.",
            why="A link with a changed signature was opened.",
            fix="Use another service.",
        )
    return Check(
        "link", "ok", "A signed link opens it; without or with another signature it is shut."
    )


def _opens(url: str) -> bool:
    try:
        check_fetchable(url)
    except StorageError:
        return False
    return True


def _expiry(store: S3Store, key: str) -> Check:
    url = store.presign(key, timedelta(seconds=1)).url
    time.sleep(2.5)
    if _opens(url):
        raise StorageError(
            "The server does not let links expire.",
            why="A link for one second was open after two.",
            fix="Use another service.",
        )
    return Check("expiry", "ok", "A link for one second is shut after two.")


def _parts(store: S3Store, key: str) -> Check:
    """Upload in two parts; begin another one and abort it."""
    client = store.client
    where: dict[str, Any] = {"Bucket": store.access.bucket, "Key": key}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts: list[Any] = []
    for number, body in enumerate((os.urandom(PART_BYTES), b"x"), start=1):
        answer = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    size = client.head_object(**where)["ContentLength"]
    store.delete(key)
    begun = client.create_multipart_upload(**where)["UploadId"]
    client.abort_multipart_upload(**where, UploadId=begun)
    if size != PART_BYTES + 1:
        raise StorageError(
            "An upload in parts came out wrong.", why=f"{size} bytes.", fix="Use another service."
        )
    return Check("parts", "ok", "An upload in two parts is whole; another one was aborted.")


def _delete(store: S3Store, key: str) -> Check:
    store.delete(key)
    return Check("delete", "ok", "What was put is gone.")


def _reach(store: S3Store, *, local_trainer: bool) -> Check:
    url = store.access.endpoint_url or AWS_ENDPOINT
    if local_trainer:
        return Check("reach", "skipped", "The trainer is on this machine.")
    try:
        check_public(url)
    except LoraPrepError as error:
        return Check.failed("reach", error)
    return Check(
        "reach", "ok", "Its address is public. Whether the trainer gets through, only it can show."
    )


def _versions(store: S3Store) -> Check:
    bucket = store.access.bucket
    answer = _told(lambda: store.client.get_bucket_versioning(Bucket=bucket))
    state = "unknown" if answer is None else answer.get("Status", "off").lower()
    return Check("versions", "ok", f"Versioning is {state}. Every version of a zip is deleted.")


def _lock(store: S3Store) -> Check:
    bucket = store.access.bucket
    answer = _told(lambda: store.client.get_object_lock_configuration(Bucket=bucket)) or {}
    if answer.get("ObjectLockConfiguration", {}).get("Rule"):
        return Check(
            "lock",
            "warn",
            "New objects are locked by default: photos cannot be deleted before that ends.",
            "Use a bucket without object lock.",
        )
    return Check("lock", "ok", "No object is locked by default, as far as it tells.")


def _lifecycle(store: S3Store) -> Check:
    state = lifecycle_state(store)
    if state.covers:
        return Check("lifecycle", "ok", state.words)
    if state.rules is None:
        return Check("lifecycle", "warn", state.words, "Your service's own pages show its rules.")
    return Check("lifecycle", "warn", state.words, "lora-prep store lifecycle offers a rule.")


def _told(ask: Callable[[], Any]) -> Any:
    """Return an answer; None where the service does not know the question, or may not be asked."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except (BotoCoreError, ClientError):
        return None
