"""Which S3 key is used, where it comes from and when it ends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lora_prep.errors import CredentialsError
from lora_prep.redaction import redacted

if TYPE_CHECKING:
    from botocore.credentials import Credentials

__all__ = ["KeyInUse", "key_errors", "key_in_use", "no_key"]


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """A key, as far as it may be shown.

    source: in botocore's words ("env", "shared-credentials-file", "iam-role", "explicit" ...);
    ending: its last four characters; temporary: whether it came with a session token; ends_at:
    when it ends, None where nobody tells.
    """

    source: str
    ending: str
    temporary: bool
    ends_at: datetime | None


def key_in_use(credentials: Credentials | None) -> KeyInUse | None:
    """Return what may be shown of the key that boto3 found; None when there is none."""
    if credentials is None:
        return None
    frozen = credentials.get_frozen_credentials()
    return KeyInUse(
        source=credentials.method or "unknown",
        ending=(frozen.access_key or "")[-4:],
        temporary=bool(frozen.token),
        ends_at=_ends_at(credentials) if frozen.token else None,
    )


def _ends_at(credentials: Credentials) -> datetime | None:
    """Return when a temporary key ends: what botocore keeps, or what the login tools export."""
    kept = getattr(credentials, "_expiry_time", None)  # private, and the only place
    if isinstance(kept, datetime):
        return kept.astimezone(UTC)
    try:
        told = datetime.fromisoformat(os.environ.get("AWS_CREDENTIAL_EXPIRATION", ""))
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def key_errors() -> tuple[type[Exception], ...]:
    """Return what botocore raises when a key is not whole, or a login that gives one has ended."""
    from botocore import exceptions as boto

    return (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.TokenRetrievalError,
        boto.SSOError,
    )


def no_key(what: str, error: Exception) -> CredentialsError:
    """Return what is said of one of `key_errors`."""
    from botocore.exceptions import NoCredentialsError

    if isinstance(error, NoCredentialsError):
        why = "Neither the environment nor the AWS files hold one."
    else:
        why = f"{redacted(str(error)).rstrip('.')}."
    return CredentialsError(
        what,
        why=why,
        fix="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or store.profile; "
        "a login that has ended is renewed by: aws sso login",
    )
