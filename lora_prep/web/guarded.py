"""Who may ask a page of ours, and what a page may do: every rule in one place.

A page on loopback can be reached by every program and every web page that the user has open. So:

- nobody without a token, which the address carries at first and a cookie from then on. The address
  that is printed can be used again. The one that the browser is started with stands on a command
  line, which other accounts can read: it works once, and only until somebody has come in;
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
SPENT = (
    "This address worked once, and somebody has come in. Open the one that lora-prep printed: it "
    "works again. If it was not you who came in, end lora-prep and begin anew."
)
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
    """The random words of one server: one that lets in, one that does so once, one for changes."""

    def __init__(self) -> None:
        self.entry = secrets.token_urlsafe(32)
        self.once = secrets.token_urlsafe(32)
        self.change = secrets.token_urlsafe(32)
        self._spent = False

    def lets_in(self, word: str) -> bool:
        """Whether a word is the one that lets in, again and again."""
        return _same(word, self.entry)

    def admits(self, word: str) -> bool:
        """Whether a word of an address lets in; if it does, the one that does so once is spent."""
        admitted = self.lets_in(word) or (_same(word, self.once) and not self._spent)
        self._spent |= admitted
        return admitted

    def is_spent(self, word: str) -> bool:
        """Whether a word is the one that let in once, and does not any more."""
        return _same(word, self.once) and self._spent

    def lets_change(self, word: str) -> bool:
        """Whether a word is the one that lets change."""
        return _same(word, self.change)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


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
        known = self._tokens.lets_in(self._presented(headers))
        if scope["method"] in SAFE and (entering := self._entering(scope, known)):
            return entering
        if not known:
            return _refused("Open the address that lora-prep printed; it holds the key.")
        if scope["method"] not in SAFE and not self._is_own_change(headers):
            return _refused("Another page asked for this change.")
        return None

    def _entering(self, scope: Scope, known: bool) -> Response | None:
        """Turn the token of the address into a cookie, so that it leaves the address bar.

        Who has the cookie is let in with a spent token, too: it may be a tab that is loaded again.
        """
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        words = query.pop("token", [])
        if not words:
            return None
        if not self._tokens.admits(words[0]) and not known:
            return _refused(SPENT) if self._tokens.is_spent(words[0]) else None
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
