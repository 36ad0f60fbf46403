"""Which key goes where: WaveSpeed's to WaveSpeed and to this machine, never anywhere else."""

from __future__ import annotations

import pytest

from lora_prep.addresses import is_loopback
from lora_prep.errors import ConfigurationError, TrainerNotAllowed
from lora_prep.trainers import (
    OFFICIAL_ORIGIN,
    TrainerClient,
    check_trainer_server,
    key_for,
    origin_of,
)

pytestmark = pytest.mark.slow  # servers and databases

WAVESPEED, OWN = "wsk-live", "own-key"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://api.wavespeed.ai", "ftp://x", "", "https://u:p@x.test"]
)
def test_a_trainer_is_https_or_on_this_machine(url: str) -> None:
    for refuse in (check_trainer_server, lambda url: TrainerClient(url, "key")):
        with pytest.raises(TrainerNotAllowed):
            refuse(url)
    with pytest.raises(TrainerNotAllowed):
        key_for(url, wavespeed_key=WAVESPEED, own_key=OWN)


@pytest.mark.parametrize(
    "url", [OFFICIAL_ORIGIN, "https://API.wavespeed.ai:443/", "http://127.0.0.1:8", "http://[::1]"]
)
def test_wavespeed_s_key_is_for_wavespeed_and_this_machine(url: str) -> None:
    assert key_for(url, wavespeed_key=f" {WAVESPEED}\n", own_key=None) == WAVESPEED
    assert key_for(url, wavespeed_key=WAVESPEED, own_key=OWN) == OWN
    with pytest.raises(ConfigurationError, match="WAVESPEED_API_KEY"):
        key_for(url, wavespeed_key=None, own_key=" ")


@pytest.mark.parametrize(
    "url",
    [
        "https://trainer.test",
        "https://api.wavespeed.ai.evil.test",
        "https://api.wavespeed.ai:8443",
        "https://evil.test/api.wavespeed.ai",
        "https://api-wavespeed.ai",
    ],
)
def test_any_other_server_takes_its_own_key(url: str) -> None:
    assert key_for(url, wavespeed_key=WAVESPEED, own_key=OWN) == OWN
    with pytest.raises(ConfigurationError, match="LORA_PREP_TRAINER__API_KEY"):
        key_for(url, wavespeed_key=WAVESPEED, own_key=None)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://Trainer.Test:443/a?b", "https://trainer.test"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000/x", "http://[::1]:8000"),
        ("http://x:99999", ""),
        ("ftp://x", ""),
        ("x", ""),
        ("http://[", ""),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:9", True),
        ("http://localhost:9", True),
        ("http://localhost.evil.test", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://127.0.0.1@evil.test", False),
        ("http://0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_the_host_alone(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
