"""Addresses: what is a server, what is this machine, and what of a URL may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.addresses import host_and_port, is_loopback, why_not_a_server
from tests.sample import examples


@pytest.mark.parametrize(
    "url",
    [
        "", "foo", "http://", "http://[x", "http://h:abc", "http://h:99999", "ftp://h", "//h",
        "http://bob:PASSW0RD@h", "http://bob@h", "http://schl\u00fcssel",
    ],
)  # fmt: skip
def test_what_is_no_server_says_why_and_no_password(url: str) -> None:
    why = why_not_a_server(url)
    assert why
    assert "PASSW0RD" not in why


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://api.example/x", "http://[::1]:80"])
def test_what_is_a_server(url: str) -> None:
    assert why_not_a_server(url) is None


def test_a_password_is_not_shown() -> None:
    assert host_and_port("http://bob:PASSW0RD@h:1/p?q=1") == "h:1"


@examples(200)
@given(st.text() | st.text().map(lambda text: f"http://{text}"))
def test_no_text_crashes_them(text: str) -> None:
    assert isinstance(is_loopback(text), bool)
    assert isinstance(host_and_port(text), str)
    why_not_a_server(text)
