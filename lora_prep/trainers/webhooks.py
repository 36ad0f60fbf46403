"""Check that a webhook comes from the provider. Polling stays the truth; a webhook may speed it up.

docs/webhooks.md shows a receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from lora_prep.errors import CredentialsError
from lora_prep.model import Prediction
from lora_prep.trainers.responses import NotAnEnvelope, parse_prediction

__all__ = ["check_webhook"]

TOLERANCE_S = 300.0
"""Older or younger deliveries are refused: somebody may play one back. The provider's own rule."""


def check_webhook(
    headers: Mapping[str, str],
    raw_body: bytes,
    secret: str,
    *,
    now_s: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> Prediction:
    """Return the prediction in a delivery whose signature is right.

    headers: of the HTTP request; raw_body: exactly the bytes that came; secret: from
    `TrainerClient.webhook_secret`, with or without its prefix `whsec_`; now_s: seconds since 1970.

    Signature v3: HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}` with the secret's text.

    Raises:
        CredentialsError: its signature is wrong or old, or it holds no prediction.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    delivery, stamp = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
    key = secret.removeprefix("whsec_").encode()
    if not key:
        raise _refused("there is no secret to check it with")
    try:
        signed = b".".join((delivery.encode(), stamp.encode(), raw_body))
        age_s = (time.time() if now_s is None else now_s) - int(stamp)
    except (ValueError, OverflowError) as error:
        raise _refused("it names no time") from error
    expected = f"v3,{hmac.new(key, signed, hashlib.sha256).hexdigest()}".encode()
    given = lower.get("webhook-signature", "").encode("utf-8", "replace").split()
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise _refused("its signature is wrong")
    if abs(age_s) > tolerance_s:
        raise _refused("it is too old, or from the future")
    try:
        return parse_prediction({"code": 200, "data": json.loads(raw_body)})
    except (NotAnEnvelope, ValueError, RecursionError) as error:
        raise _refused("it holds no prediction") from error


def _refused(why: str) -> CredentialsError:
    return CredentialsError(
        "The webhook is not believed.",
        why=f"{why[0].upper()}{why[1:]}.",
        fix="Answer it with 400; asking for the result goes on in any case.",
    )
