"""How to reach a bucket, and the one place that makes a boto3 client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import ConfigurationError, CredentialsError
from lora_prep.redaction import redacted
from lora_prep.stores.credentials import key_errors, no_key
from lora_prep.stores.services import AWS, service_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["StoreAccess", "make_client"]

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
TOTAL_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """A bucket, a prefix in it, and how to reach them.

    endpoint_url: None is AWS; access_key and secret_key: None takes boto3's own chain
    (environment, configuration files, `profile`, instance role).
    """

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """s3://bucket/prefix, as in the settings."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> StoreAccess:
        """Return the access that `s3://bucket/prefix` names."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return cls(bucket, prefix.strip("/"), endpoint_url, region, profile)


def make_client(access: StoreAccess, *, checksums: bool = False) -> S3Client:
    """Return a boto3 client with everything explicit that boto3 would otherwise guess.

    checksums: the bucket was seen to check them (`capabilities`). Else they are sent to AWS alone:
    since 1.36 boto3 sends headers that older services refuse; integrity then rests on Content-MD5
    and our own SHA-256.

    Signature v4: without it boto3 presigns with the old version 2 in us-east-1, which several
    services refuse. Addressing and region are those of the service (`services`). No proxy to a
    server on this machine: one found in the environment would carry the photos away.

    Raises:
        CredentialsError: the profile does not exist, or a half of the key is missing.
        ConfigurationError: boto3 cannot use the endpoint, the region or the AWS files, or
            these name an endpoint that the settings do not.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    service = service_of(access.endpoint_url)
    mode = "when_supported" if checksums or service.checksums else "when_required"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": service.addressing},
        retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        tcp_keepalive=True,
        proxies={} if is_loopback(access.endpoint_url or "") else None,
        request_checksum_calculation=mode,  # type: ignore[arg-type]  # a Literal
        response_checksum_validation=mode,  # type: ignore[arg-type]
    )
    try:
        session = boto3.Session(
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            region_name=access.region or service.region_of(access.endpoint_url),
            profile_name=access.profile,
        )
        client = session.client("s3", endpoint_url=access.endpoint_url, config=config)
    except ProfileNotFound as error:
        raise CredentialsError(
            f"{error}.",
            why="store.profile or AWS_PROFILE names it, the AWS configuration files do not.",
            fix="Correct the name, or make the profile with `aws configure --profile`.",
        ) from error
    except key_errors() as error:
        raise no_key("The S3 key is not whole.", error) from error
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            "The bucket's service cannot be used as it is configured.",
            why=redacted(f"{error}"),
            fix="Check store.endpoint_url, store.region and the AWS configuration files.",
        ) from error
    if access.endpoint_url is None and service_of(client.meta.endpoint_url) is not AWS:
        raise ConfigurationError(
            f"The AWS files lead to {host_and_port(client.meta.endpoint_url)}, not to AWS.",
            why="A profile names an endpoint_url; addressing, region and every check go by "
            "store.endpoint_url.",
            fix=f"Set store.endpoint_url, too: {redacted(client.meta.endpoint_url)}",
        )
    return client
