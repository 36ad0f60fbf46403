"""Rules of a bucket: who may do what, and what is deleted by itself. Offered, never set silently.

Keys below the prefix: datasets/ is temporary, loras/ is the archive, .lora_prep/ is for probes.
The policy lets the archive's key put and read LoRAs, and never delete one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from lora_prep.stores.access import StoreAccess
from lora_prep.stores.keys import LORAS
from lora_prep.stores.services import service_of

if TYPE_CHECKING:
    from lora_prep.stores.s3 import S3Store

__all__ = [
    "LifecycleState",
    "lifecycle_state",
    "merged_rules",
    "policy",
    "set_lifecycle",
    "wanted_rules",
]

DATASETS_DAYS = 3  # longer than any queue; days are the unit of these rules
ABORT_DAYS = 1
RULE_IDS = ("lora-prep-datasets", "lora-prep-uploads")

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LifecycleState:
    """What the bucket deletes by itself. rules: None where it does not tell; words: for people."""

    covers: bool
    words: str
    rules: tuple[Rule, ...] | None


def lifecycle_state(store: S3Store) -> LifecycleState:
    """Return which lifecycle rules the bucket has, as far as it tells."""
    from botocore.exceptions import BotoCoreError, ClientError

    unknown = LifecycleState(
        False, "It does not tell whether it deletes data sets by itself; lora_prep does.", None
    )
    rules: tuple[Rule, ...] = ()
    try:
        answer = store.client.get_bucket_lifecycle_configuration(Bucket=store.access.bucket)
        if "Rules" not in answer:  # a service that answers every question with something
            return unknown
        rules = tuple(cast(Sequence[Rule], answer["Rules"]))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchLifecycleConfiguration":
            return unknown
    except BotoCoreError:
        return unknown
    covers = any(_covers(rule, _below(store.access, "datasets/")) for rule in rules)
    words = (
        "A rule deletes data sets that were left behind."
        if covers
        else "No rule deletes data sets that were left behind; lora_prep deletes them itself."
    )
    return LifecycleState(covers, words, rules)


def wanted_rules(access: StoreAccess) -> tuple[Rule, ...]:
    """Return the rules that would delete what a crash leaves: zips, their versions, parts."""
    cut = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS}}
    return (
        {
            "ID": RULE_IDS[0],
            "Status": "Enabled",
            "Filter": {"Prefix": _below(access, "datasets/")},
            "Expiration": {"Days": DATASETS_DAYS},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            **cut,
        },
        {
            "ID": RULE_IDS[1],
            "Status": "Enabled",
            "Filter": {"Prefix": _below(access, LORAS)},  # without a prefix others' would be cut
            **cut,
        },
    )


def merged_rules(rules: Sequence[Rule], access: StoreAccess) -> tuple[Rule, ...]:
    """Return a bucket's rules with ours among them: setting rules replaces all there are."""
    return (*(rule for rule in rules if rule.get("ID") not in RULE_IDS), *wanted_rules(access))


def set_lifecycle(store: S3Store, rules: Sequence[Rule]) -> None:
    """Set all rules of the bucket.

    Raises:
        StorageError, CredentialsError: it does not take them.
    """
    with store.errors("set rules for"):
        store.client.put_bucket_lifecycle_configuration(
            Bucket=store.access.bucket,
            LifecycleConfiguration={"Rules": cast(Any, list(rules))},
        )


def policy(access: StoreAccess) -> dict[str, Any] | list[str]:
    """Return the least that lora_prep needs, in the shape that the service takes.

    A policy document for AWS and what follows it; the command that makes a key for the others.
    """
    match service_of(access.endpoint_url).name:
        case "Backblaze B2":
            prefix = ["--name-prefix", _below(access, "")] if access.prefix else []
            rights = "listBuckets,listFiles,readFiles,writeFiles,deleteFiles"
            return ["b2", "key", "create", "--bucket", access.bucket, *prefix, "lora-prep", rights]
        case "Google Cloud Storage":
            return [
                "gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{access.bucket}",
                "--member=serviceAccount:SERVICE_ACCOUNT", "--role=roles/storage.objectUser",
            ]  # fmt: skip
        case "Cloudflare R2":
            return {
                "permission": "Object Read & Write",
                "resources": {"bucket": access.bucket},
                "where": "dash.cloudflare.com, R2, Manage API tokens",
            }
        case _:
            return _aws_policy(access)


def _aws_policy(access: StoreAccess) -> dict[str, Any]:
    bucket = f"arn:aws:s3:::{access.bucket}"
    put = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    delete = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TemporaryDataSets",
                "Effect": "Allow",
                "Action": [*put, *delete],
                "Resource": [
                    f"{bucket}/{_below(access, 'datasets/*')}",
                    f"{bucket}/{_below(access, '.lora_prep/*')}",
                ],
            },
            {
                "Sid": "ArchiveWithoutDeletion",
                "Effect": "Allow",
                "Action": put,
                "Resource": [f"{bucket}/{_below(access, 'loras/*')}"],
            },
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                "Resource": [bucket],
                "Condition": {"StringLike": {"s3:prefix": [_below(access, "*")]}},
            },
            {
                "Sid": "LookAtTheBucket",
                "Effect": "Allow",
                "Action": [
                    "s3:ListBucketMultipartUploads",
                    "s3:GetBucketLocation",
                    "s3:GetBucketVersioning",
                    "s3:GetLifecycleConfiguration",
                    "s3:GetBucketObjectLockConfiguration",
                ],
                "Resource": [bucket],
            },
            {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Action": "s3:*",
                "Resource": [bucket, f"{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
        ],
    }


def _below(access: StoreAccess, rest: str) -> str:
    return f"{access.prefix}/{rest}" if access.prefix else rest


def _covers(rule: Rule, prefix: str) -> bool:
    """Whether an enabled rule deletes everything below a prefix after some days."""
    wanted = rule.get("Filter") or {}
    filtered = wanted.get("Prefix", rule.get("Prefix", ""))
    plain = not set(wanted) - {"Prefix"}
    expires = "Days" in (rule.get("Expiration") or {})
    return bool(
        rule.get("Status") == "Enabled" and plain and expires and prefix.startswith(filtered or "")
    )
