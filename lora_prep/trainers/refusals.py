"""Turn the trainer's refusals into our errors."""

from __future__ import annotations

from lora_prep.errors import (
    ConfigurationError,
    CredentialsError,
    LoraPrepError,
    TemporaryError,
    TooManyRequests,
)
from lora_prep.redaction import redacted
from lora_prep.trainers.responses import envelope_message

__all__ = ["refused"]


def refused(host: str, status: int, body: object, retry_after_s: float | None) -> LoraPrepError:
    """Return the error of a 4xx status, with the server's own words."""
    why = f"{host} answered {status}: {redacted(envelope_message(body)) or 'no words'}."
    match status:
        case 401 | 402 | 403:
            return CredentialsError(
                "The trainer refused the key or the account.",
                why=why,
                fix="Check the key and the account's balance with the provider.",
            )
        case 429:
            return TooManyRequests(
                "The trainer has no room for another request now.",
                why=why,
                fix="Try again in a minute.",
                retry_after_s=retry_after_s,
            )
        case 408 | 425:
            return TemporaryError(
                "The trainer did not take the request.", why=why, fix="Try again in a minute."
            )
        case _:
            return ConfigurationError(
                "The trainer refused the request.", why=why, fix="Correct the parameter it names."
            )
