"""How each service is reached, without reaching any."""

from __future__ import annotations

import pytest

from lora_prep.stores import StoreAccess, service_of
from lora_prep.stores.access import make_client
from lora_prep.stores.services import SERVICES


@pytest.mark.parametrize(
    ("endpoint_url", "name", "region", "host"),
    [
        (None, "AWS S3", "eu-west-1", "photos.s3.eu-west-1.amazonaws.com"),
        ("https://s3.eu-west-1.amazonaws.com", "AWS S3", "eu-west-1", None),
        ("https://acc.r2.cloudflarestorage.com", "Cloudflare R2", "auto", None),
        ("https://acc.eu.r2.cloudflarestorage.com", "Cloudflare R2", "auto", None),
        ("https://s3.us-west-004.backblazeb2.com", "Backblaze B2", "us-west-004", None),
        ("https://storage.googleapis.com", "Google Cloud Storage", "auto", None),
        ("https://s3.example.com", "an S3 service", "us-east-1", None),
        ("http://127.0.0.1:9", "an S3 service", "us-east-1", None),
        ("https://backblazeb2.com.evil.test", "an S3 service", "us-east-1", None),
    ],
)
@pytest.mark.slow  # boto3 is imported
def test_a_service_is_known_by_its_host_and_signed_for_as_it_wants(
    endpoint_url: str | None, name: str, region: str, host: str | None
) -> None:
    assert service_of(endpoint_url).name == name
    asked = "eu-west-1" if name == "AWS S3" else None
    access = StoreAccess("photos", "", endpoint_url, asked, None, "key", "secret")
    client = make_client(access)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "k.zip"})
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
    assert f"%2F{region}%2Fs3%2F" in url
    if host:
        assert url.startswith(f"https://{host}/k.zip")
    elif name != "AWS S3":
        assert url.startswith(f"{endpoint_url}/photos/k.zip")


def test_what_bites_is_said_in_whole_sentences() -> None:
    for service in SERVICES:
        assert all(trap.endswith(".") for trap in service.traps)
