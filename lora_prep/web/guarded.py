"""Who may ask a page of ours, and what a page may do: every rule in one place.

A page on loopback can be reached by every program and every web page that the user has open. So:

- nobody without the token, which the address that is opened carries once and a cookie from then on;
- no other host name, which a foreign page could let lead here (DNS rebinding);
- no change that another page asks for: it carries the page's own token, and the browser's word
  where the request comes from;
- a page loads what it was served with and nothing else, and nobody may frame it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CHANGE_HEADER", "Guarded", "Tokens"]

CHANGE_HEADER = "x-change-token"
SAFE = {"GET", "HEAD"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",  # photos of faces stay in no cache
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Tokens:
    """The random words of one server: one that lets in, one that lets change."""

    def __init__(self) -> None:
        self.entry = secrets.token_urlsafe(32)
        self.change = secrets.token_urlsafe(32)

    def lets_in(self, word: str) -> bool:
        """Whether a word is the one that lets in."""
        return hmac.compare_digest(word.encode(), self.entry.encode())

    def lets_change(self, word: str) -> bool:
        """Whether a word is the one that lets change."""
        return hmac.compare_digest(word.encode(), self.change.encode())


class Guarded:
    """An app behind the rules above.

    hosts: what the Host header may say, with the port; cookie: its name, one for each port, since
    cookies do not know ports.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, hosts: Sequence[str], cookie: str) -> None:
        self._app = app
        self._tokens = tokens
        self._hosts = {host.lower() for host in hosts}
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return what is answered instead of the page; None: it may be seen."""
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            return _refused("This address is not this page's.")
        if scope["method"] in SAFE and (entering := self._entering(scope)):
            return entering
        if not self._tokens.lets_in(self._presented(headers)):
            return _refused("Open the address that lora-prep printed; it holds the key.")
        if scope["method"] not in SAFE and not self._is_own_change(headers):
            return _refused("Another page asked for this change.")
        return None

    def _entering(self, scope: Scope) -> Response | None:
        """Turn the token of the address into a cookie, so that it leaves the address bar."""
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        words = query.pop("token", [])
        if not words or not self._tokens.lets_in(words[0]):
            return None
        rest = urlencode(query, doseq=True)
        answer = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(
            self._cookie, self._tokens.entry, httponly=True, samesite="strict", path="/"
        )
        return answer

    def _presented(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _is_own_change(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None and site != "same-origin":
            return False
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._hosts}:
            return False
        return self._tokens.lets_change(headers.get(CHANGE_HEADER, ""))


def _refused(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=403)
