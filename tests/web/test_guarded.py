"""Nobody asks a page but its user, from the page itself."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lora_prep.web.guarded import CHANGE_HEADER, Guarded, Tokens
from tests.web.asking import HOST, asking


async def page(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path} {request.url.query}")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def guarded(tokens: Tokens) -> Guarded:
    app = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST", "DELETE"])])
    return Guarded(app, tokens, [HOST, "localhost:8123"], "lora_prep_8123")


@pytest.fixture
def stranger(guarded: Guarded) -> httpx.Client:
    return asking(guarded)


@pytest.fixture
def user(stranger: httpx.Client, tokens: Tokens) -> httpx.Client:
    assert stranger.get(f"/?token={tokens.entry}").status_code == 303
    return stranger


def test_the_token_becomes_a_cookie_and_leaves_the_address(
    stranger: httpx.Client, tokens: Tokens
) -> None:
    answer = stranger.get(f"/runs?token={tokens.entry}&all=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs?all=1"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/runs").status_code == 200


def test_the_token_on_a_command_line_lets_in_once(guarded: Guarded, tokens: Tokens) -> None:
    once = f"/?token={tokens.once}"
    user, stranger = asking(guarded), asking(guarded)
    assert stranger.get(once, headers={"host": "evil.example"}).status_code == 403
    assert user.get(once).status_code == 303
    assert user.get("/").status_code == 200

    late = stranger.get(once)

    assert late.status_code == 403
    assert "Open the one that lora-prep printed" in late.text
    assert "set-cookie" not in late.headers
    assert stranger.get("/").status_code == 403
    assert user.get(once).status_code == 303  # a tab that is loaded again
    assert stranger.get(f"/?token={tokens.entry}").status_code == 303


def test_it_is_spent_when_somebody_came_in_by_the_other(guarded: Guarded, tokens: Tokens) -> None:
    assert asking(guarded).get(f"/?token={tokens.entry}").status_code == 303
    assert asking(guarded).get(f"/?token={tokens.once}").status_code == 403


def test_of_two_at_once_it_lets_in_one(guarded: Guarded, tokens: Tokens) -> None:
    async def ask() -> int:
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as one:
            return (await one.get(f"/?token={tokens.once}")).status_code

    async def both() -> list[int]:
        return sorted(await asyncio.gather(ask(), ask()))

    assert asyncio.run(both()) == [303, 403]


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%00%ff"])
def test_nobody_comes_in_without_it(query: str, stranger: httpx.Client) -> None:
    assert stranger.get(f"/{query}").status_code == 403
    assert stranger.post(f"/{query}").status_code == 403


@pytest.mark.parametrize("cookie", ["lora_prep_8123=wrong", "lora_prep_8123", ";;;=\x01", ""])
def test_a_wrong_cookie_is_none(cookie: str, stranger: httpx.Client) -> None:
    assert stranger.get("/", headers={"cookie": cookie}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example:8123", "127.0.0.1", "127.0.0.1:80", ""])
def test_another_host_name_is_refused_even_with_the_cookie(host: str, user: httpx.Client) -> None:
    assert user.get("/", headers={"host": host}).status_code == 403
    assert user.get("/", headers={"host": "LOCALHOST:8123"}).status_code in (200, 403)


def test_a_change_needs_the_page_s_own_word(user: httpx.Client, tokens: Tokens) -> None:
    own = {CHANGE_HEADER: tokens.change}
    assert user.post("/save").status_code == 403
    assert user.post("/save", headers={CHANGE_HEADER: "wrong"}).status_code == 403
    assert user.post("/save", headers=own).status_code == 200
    same = {**own, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
    assert user.post("/save", headers=same).status_code == 200
    for theirs in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert user.post("/save", headers={**own, **theirs}).status_code == 403
    assert user.delete("/save").status_code == 403


def test_every_answer_says_what_a_page_may_load(user: httpx.Client, stranger: httpx.Client) -> None:
    for answer in (user.get("/"), stranger.get("/", headers={"host": "evil"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
