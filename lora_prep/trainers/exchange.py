"""One HTTP request, one answer: what surely was not sent is told apart from what may have been.

The key goes to the trainer's own origin only: redirects are not followed, and every address is
built from the base URL. An answer is read up to a limit of size and time.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from lora_prep.addresses import is_loopback
from lora_prep.errors import ConfigurationError, CredentialsError
from lora_prep.redaction import redacted
from lora_prep.trainers.address import check_trainer_server, origin_of
from lora_prep.trainers.rate import TokenBucket
from lora_prep.trainers.responses import NotAnEnvelope

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Exchange", "Lost", "NotSent"]

CLIENT_NAME = "lora_prep"
ANSWER_LIMIT = 32 * 2**20  # bytes; a page of 100 predictions is well below 1 MB
WAIT_LIMIT_S = 3600.0  # a server that asks for a longer pause is asked again after this


class NotSent(Exception):
    """The request surely did not leave: no connection, no name, no TLS."""


class Lost(Exception):
    """The request may have arrived; its answer did not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. retry_after_s: how long the server asks to wait, None: it does not."""

    status: int
    body: bytes
    retry_after_s: float | None

    def json(self) -> object:
        """Return the body.

        Raises:
            NotAnEnvelope: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise NotAnEnvelope("the answer is no JSON") from error

    def json_or_none(self) -> object:
        """Return the body, None when it is no JSON."""
        try:
            return self.json()
        except NotAnEnvelope:
            return None


class Exchange:
    """Sends requests to one trainer, with its key."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout_s: float,
        rate: TokenBucket | None,
    ) -> None:
        """Open nothing yet.

        Raises:
            TrainerNotAllowed: the address is none, or neither https nor on loopback.
            CredentialsError: the key holds what no key does.
        """
        import httpx

        check_trainer_server(base_url)
        key = api_key.strip()
        if not key.isascii() or not key.isprintable() or " " in key:
            raise CredentialsError(
                "The trainer's key cannot be sent.",
                why="It holds a letter or a space that no key has.",
                fix="Copy it again.",
            )
        self.origin = origin_of(base_url)
        # 32 bits of a hash: enough to tell two keys apart, and nothing to guess a key from.
        self.account = hashlib.sha256(f"lora_prep account {key}".encode()).hexdigest()[:8]
        self._connect_timeout_s = connect_timeout_s
        self._rate = rate
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}", "X-Client-Name": CLIENT_NAME},
            follow_redirects=False,  # the key must not travel to another origin
            trust_env=not is_loopback(base_url),  # nor through a proxy to this very machine
            # Loading the certificates takes 40 ms, and plain http without redirects uses none.
            verify=not base_url.startswith("http://"),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        body: Any = None,
        query: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request, once, and return its answer.

        timeout_s: for each silence of the server, and for the whole answer.

        Raises:
            NotSent: the server surely got nothing.
            Lost: it may have got the request.
            ConfigurationError: what is to be sent cannot be written as a request.
        """
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=self._connect_timeout_s)
        try:
            request = self._http.build_request(
                method, path, json=body, params=query, timeout=timeout
            )
        except (ValueError, TypeError, RecursionError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                "The request to the trainer cannot be written.",
                why=f"{redacted(str(error))}.",
                fix="Correct the parameter or the id it names.",
            ) from error
        if self._rate is not None:
            time.sleep(self._rate.wait_s())
        try:
            return self._answer(request, timeout_s)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
            httpx.UnsupportedProtocol,
        ) as error:
            raise NotSent(f"{type(error).__name__}: {redacted(str(error))}") from error
        except httpx.HTTPError as error:
            raise Lost(type(error).__name__) from error

    def _answer(self, request: httpx.Request, timeout_s: float) -> Answer:
        response = self._http.send(request, stream=True)
        deadline = time.monotonic() + timeout_s
        body = bytearray()
        try:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > ANSWER_LIMIT:
                    raise Lost(f"the answer is above {ANSWER_LIMIT // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise Lost(f"the answer was not whole after {timeout_s:g} s")
        finally:
            response.close()
        return Answer(
            response.status_code, bytes(body), _wait_s(response.headers.get("Retry-After"))
        )


def _wait_s(header: str | None) -> float | None:
    """Return how long Retry-After asks to wait: a number of seconds or a date."""
    if not header:
        return None
    try:
        wait_s = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
            wait_s = (when - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(wait_s, 0.0), WAIT_LIMIT_S) if wait_s == wait_s else None  # NaN is no wait
