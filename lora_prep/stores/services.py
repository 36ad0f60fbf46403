"""What is known of the services that speak S3, as data: how each is reached, and what bites there.

Read in issue threads and vendors' pages in November 2026, and tried against none of them live: the
probe (`capabilities`) decides what a bucket really does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["AWS", "SERVICES", "Service", "service_of"]

Addressing = Literal["virtual", "path"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service that speaks S3.

    hosts: what its endpoints end in; addressing: bucket in the host name or in the path; region:
    what it signs with when none is set, "host": the label before the first of `hosts`; checksums:
    whether it is known to take the CRC headers that boto3 sends since 1.36; keeps_versions: whether
    a deletion only hides an object, by default; traps: what to know, a sentence each.
    """

    name: str
    hosts: tuple[str, ...]
    addressing: Addressing
    region: str | None
    checksums: bool
    keeps_versions: bool
    traps: tuple[str, ...] = ()

    def region_of(self, endpoint_url: str | None) -> str | None:
        """Return the region that requests are signed for when the user set none."""
        if self.region != "host":
            return self.region
        host = _host(endpoint_url)
        ending = next((ending for ending in self.hosts if host.endswith(ending)), "")
        return host.removesuffix(ending).rpartition(".")[2] or None


AWS = Service(
    "AWS S3",
    (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"),
    "virtual",
    None,
    checksums=True,
    keeps_versions=False,
    traps=("Credentials of a role or a login end after hours, and every URL signed with them.",),
)
GENERIC = Service("an S3 service", (), "path", "us-east-1", checksums=False, keeps_versions=False)
SERVICES = (
    AWS,
    Service(
        "Cloudflare R2",
        (".r2.cloudflarestorage.com",),
        "path",
        "auto",
        checksums=False,
        keeps_versions=False,
        traps=("Presigned URLs do not work on a custom domain: keep the account's endpoint.",),
    ),
    Service(
        "Backblaze B2",
        (".backblazeb2.com",),
        "path",
        "host",
        checksums=False,
        keeps_versions=True,
        traps=("A deletion hides the object and keeps it: lora_prep deletes every version.",),
    ),
    Service(
        "Google Cloud Storage",
        ("storage.googleapis.com",),
        "path",
        "auto",
        checksums=False,
        keeps_versions=False,
        traps=("It takes HMAC keys of a service account, made for interoperability.",),
    ),
)


def service_of(endpoint_url: str | None) -> Service:
    """Return the service that an endpoint belongs to; None is AWS.

    >>> service_of("https://s3.eu-central-003.backblazeb2.com").name
    'Backblaze B2'
    """
    if endpoint_url is None:
        return AWS
    host = _host(endpoint_url)
    return next((one for one in SERVICES if any(map(host.endswith, one.hosts))), GENERIC)


def _host(endpoint_url: str | None) -> str:
    return (urlsplit(endpoint_url or "").hostname or "").lower()
