"""A webhook is believed only with the right signature, and only for a few minutes."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import CredentialsError
from lora_prep.trainers import check_webhook
from tests.sample import examples

pytestmark = pytest.mark.slow  # servers and databases

SECRET = "whsec_abc123"
NOW = 1_800_000_000
BODY = json.dumps({"id": "p1", "status": "completed", "outputs": ["https://x/y"]}).encode()


def signed(body: bytes = BODY, stamp: str = str(NOW), key: bytes = b"abc123") -> dict[str, str]:
    mark = hmac.new(key, b"msg1." + stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Webhook-Id": "msg1", "webhook-timestamp": stamp, "WEBHOOK-SIGNATURE": f"v3,{mark}"}


def test_the_provider_s_own_delivery_is_believed() -> None:
    prediction = check_webhook(signed(), BODY, SECRET, now_s=NOW + 299)
    assert (prediction.id, prediction.outputs) == ("p1", ("https://x/y",))
    assert check_webhook(signed(), BODY, "abc123", now_s=NOW - 299) == prediction


@pytest.mark.parametrize(
    ("headers", "body", "secret", "now"),
    [
        (signed(), BODY + b" ", SECRET, NOW),
        (signed(key=b"other"), BODY, SECRET, NOW),
        (signed(key=b""), BODY, "whsec_", NOW),
        (signed(), BODY, SECRET, NOW + 301),
        (signed(), BODY, SECRET, NOW - 301),
        (signed(stamp="soon"), BODY, SECRET, NOW),
        (signed() | {"Webhook-Id": "msg2"}, BODY, SECRET, NOW),
        (signed() | {"WEBHOOK-SIGNATURE": signed()["WEBHOOK-SIGNATURE"][3:]}, BODY, SECRET, NOW),
        (signed(b"[1]"), b"[1]", SECRET, NOW),
        (signed(b"<html>"), b"<html>", SECRET, NOW),
        (signed(b"[" * 99999), b"[" * 99999, SECRET, NOW),
        ({}, BODY, SECRET, NOW),
    ],
)
def test_everything_else_is_not(
    headers: dict[str, str], body: bytes, secret: str, now: float
) -> None:
    with pytest.raises(CredentialsError):
        check_webhook(headers, body, secret, now_s=now)


@examples(50)
@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()
    ),
    st.binary(),
    st.text(),
)
def test_any_delivery_is_believed_or_refused(
    headers: dict[str, str], body: bytes, secret: str
) -> None:
    with pytest.raises(CredentialsError):
        check_webhook(headers, body, secret)
