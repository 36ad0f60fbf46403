"""Which trainers may be talked to, with which key, and what names one."""

from __future__ import annotations

from urllib.parse import urlsplit

from lora_prep.addresses import host_and_port, is_loopback, why_not_a_server
from lora_prep.errors import ConfigurationError, TrainerNotAllowed

__all__ = [
    "OFFICIAL_ORIGIN",
    "check_trainer_server",
    "key_for",
    "origin_of",
]

OFFICIAL_ORIGIN = "https://api.wavespeed.ai"
DEFAULT_PORTS = {"http": 80, "https": 443}


def check_trainer_server(base_url: str) -> None:
    """Refuse a trainer to which the key and the data URL would travel unencrypted.

    Raises:
        TrainerNotAllowed: the address is none, or is neither https nor on loopback.
    """
    why = why_not_a_server(base_url)
    if why is None and not base_url.lower().startswith("https://") and not is_loopback(base_url):
        why = "is neither https nor on this machine: the key would travel unencrypted"
    if why:
        raise TrainerNotAllowed(
            f"The trainer {host_and_port(base_url)} is not used.",
            why=f"Its address {why}.",
            fix="Set trainer.base_url to an https:// address, or rehearse with --rehearse.",
        )


def key_for(base_url: str, *, wavespeed_key: str | None, own_key: str | None) -> str:
    """Return the key that a trainer may be sent.

    `wavespeed_key` (WAVESPEED_API_KEY) is for the official origin and for loopback; `own_key`
    (LORA_PREP_TRAINER__API_KEY) is for whatever server the user named, and wins.

    Raises:
        TrainerNotAllowed: the address may not be used at all.
        ConfigurationError: there is no key for it.
    """
    check_trainer_server(base_url)
    wavespeeds = origin_of(base_url) == OFFICIAL_ORIGIN or is_loopback(base_url)
    key = own_key or (wavespeed_key if wavespeeds else None)
    if key and key.strip():
        return key.strip()
    raise ConfigurationError(
        f"The trainer {host_and_port(base_url)} needs a key.",
        why="Every call of its API carries one."
        if wavespeeds
        else "WAVESPEED_API_KEY is sent to WaveSpeed and to this machine only.",
        fix="Set WAVESPEED_API_KEY." if wavespeeds else "Set LORA_PREP_TRAINER__API_KEY.",
    )


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL in one spelling; "" when it has none.

    >>> origin_of("HTTPS://API.wavespeed.ai:443/api/v3")
    'https://api.wavespeed.ai'
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return ""
    if scheme not in DEFAULT_PORTS or not host:
        return ""
    named = f"[{host}]" if ":" in host else host
    return f"{scheme}://{named}" + ("" if port in (None, DEFAULT_PORTS[scheme]) else f":{port}")
