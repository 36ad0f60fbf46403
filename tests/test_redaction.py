"""No secret survives redaction, in whatever shape a foreign text carries it."""

from __future__ import annotations

import logging

import pytest

from lora_prep.redaction import RedactingFilter, redacted

SECRET = "s3cr3t-v4lue"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://h.test/b/k.zip?X-Amz-Signature={SECRET}&x=1 failed",
        f"<Message>http://127.0.0.1:9/k?Signature={SECRET}</Message>",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"bearer {SECRET}",
        f'{{"api_key": "{SECRET}"}}',
        f"api_key={SECRET}&a=b",
        f"aws_secret_access_key = {SECRET}",
        f"x-amz-security-token: {SECRET}",
        f"AWSAccessKeyId=a&Signature={SECRET}",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    assert SECRET not in redacted(text)
    assert "[hidden]" in redacted(text)


def test_the_rest_is_kept_in_one_short_line() -> None:
    assert redacted("cannot reach\n  https://h.test/b/k.zip now") == (
        "cannot reach https://h.test/b/k.zip now"
    )
    assert len(redacted("x " * 10_000)) <= 500


def test_log_records_of_any_library_are_redacted() -> None:
    record = logging.LogRecord(
        "httpx", logging.INFO, "f", 1, "GET %s", (f"http://h/?token={SECRET}",), None
    )
    assert RedactingFilter().filter(record)
    assert record.getMessage() == "GET http://h/?[hidden]"
