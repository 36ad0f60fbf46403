"""The HTTP client of the trainer's API: WaveSpeedAI's, and every server that speaks it.

The paid request is sent once. Only a failure that surely came before its first byte, or a
definite refusal, lets the caller try again; everything else is `SubmissionUnknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from lora_prep.addresses import host_and_port, why_not_a_server
from lora_prep.errors import (
    ConfigurationError,
    LoraPrepError,
    ResultExpired,
    SubmissionUnknown,
    TemporaryError,
)
from lora_prep.model import Prediction, TrainingRequest
from lora_prep.redaction import redacted
from lora_prep.trainers.address import OFFICIAL_ORIGIN, origin_of
from lora_prep.trainers.exchange import Answer, Exchange, Lost, NotSent
from lora_prep.trainers.rate import TokenBucket
from lora_prep.trainers.refusals import refused
from lora_prep.trainers.responses import (
    Listed,
    NotAnEnvelope,
    Ticket,
    amount,
    data_of,
    link_of,
    parse_page,
    parse_prediction,
    parse_price,
    parse_ticket,
    refusal_code,
)

__all__ = ["TrainerClient"]

API = "/api/v3"
PAGE_SIZE = 100  # the most the API gives
PAGES = 500  # 50,000 predictions in 7 days: beyond that the list is not read to its end


class TrainerClient:
    """Submits trainings to one trainer and asks for their state. Close it, or use `with`.

    Nothing here remembers what was paid for: `submit_or_follow` does, with a ledger.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout_s: float = 10,
        read_timeout_s: float = 30,
        submit_timeout_s: float = 60,
        rate: TokenBucket | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Raises:
            TrainerNotAllowed: the address is neither https nor on this machine.
            CredentialsError: the key holds what no key does.
        """
        self.base_url = base_url
        self.submit_timeout_s = submit_timeout_s
        self._read_timeout_s = read_timeout_s
        self._links: dict[str, str] = {}  # where the provider says a prediction can be asked for
        self._exchange = Exchange(base_url, api_key, connect_timeout_s=connect_timeout_s, rate=rate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    @property
    def origin(self) -> str:
        """Scheme, host and port: what names this trainer in the ledger."""
        return self._exchange.origin

    @property
    def account(self) -> str:
        """What tells this client's key from another, without giving it away."""
        return self._exchange.account

    # ── trainings ─────────────────────────────────────────────────────────────────────────────

    def submit(self, request: TrainingRequest, *, webhook: str | None = None) -> Prediction:
        """Send one training, once, and return it with its id.

        webhook: an https address that the provider tells of the end; polling stays the truth.

        Raises:
            SubmissionUnknown: it was sent and the answer is lost or unreadable: it may be running.
            TooManyRequests, TemporaryError: surely not accepted: no room now, or no connection.
            CredentialsError: surely not accepted: the key or the account was refused.
            ConfigurationError: surely not accepted: the trainer refused a parameter.
        """
        query = {"webhook": _checked_webhook(webhook)} if webhook else None
        path = f"{API}/{quote(request.model, safe='/')}"
        try:
            answer = self._exchange.send(
                "POST",
                path,
                body=request.to_body(),
                query=query,
                timeout_s=self.submit_timeout_s,
            )
        except NotSent as error:
            raise self._unreachable(error) from error
        except Lost as error:
            raise self._unknown(str(error)) from error
        except KeyboardInterrupt as error:
            raise self._unknown("you interrupted it while it was being sent") from error
        if 400 <= answer.status < 500:
            raise self._refused(answer)
        try:
            if not 200 <= answer.status < 300:  # whatever a gateway's words are: it is no refusal
                raise NotAnEnvelope(f"HTTP {answer.status}")
            body = answer.json()
            if code := refusal_code(body):
                raise refused(self._host, code, body, answer.retry_after_s)
            prediction = parse_prediction(body)
        except NotAnEnvelope as error:
            raise self._unknown(redacted(str(error))) from error
        self._remember(prediction.id, link_of(body))
        return prediction

    def result(self, prediction_id: str) -> Prediction:
        """Return the present state of a training.

        Raises:
            TooManyRequests, TemporaryError: no usable answer; ask again.
            ResultExpired: the trainer does not know the id: expired, deleted, or another account's.
            CredentialsError: the key was refused.
        """
        answer = self._ask("GET", f"{API}/predictions/{quote(prediction_id, safe='')}/result")
        if answer.status in {404, 405} and (link := self._links.get(prediction_id)):
            answer = self._ask("GET", link)
        if answer.status == 404:
            raise ResultExpired(
                f"The trainer does not know the prediction {prediction_id}.",
                why="Results live 7 days; it expired, was deleted, or belongs to another key.",
                fix="Check the id and the key.",
            )
        if answer.status in {401, 403, 429}:
            raise self._refused(answer)
        try:
            if answer.status != 200:
                raise NotAnEnvelope(f"HTTP {answer.status}")
            body = answer.json()
            prediction = parse_prediction(body)
        except NotAnEnvelope as error:
            raise self._no_sense(redacted(str(error))) from error
        self._remember(prediction_id, link_of(body))
        return prediction

    def list_predictions(
        self,
        *,
        page: int = 1,
        page_size: int = PAGE_SIZE,
        model: str | None = None,
        status: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        include_inputs: bool = False,
    ) -> list[Listed]:
        """Return one page of the account's predictions of the last 7 days, the newest first.

        Raises:
            ConfigurationError: the trainer refuses the question.
            TooManyRequests, TemporaryError, CredentialsError: no usable answer.
        """
        wanted: dict[str, Any] = {"page": page, "page_size": page_size}
        wanted |= {"model": model} if model else {}
        wanted |= {"status": status} if status else {}
        wanted |= {"created_after": _iso(created_after)} if created_after else {}
        wanted |= {"created_before": _iso(created_before)} if created_before else {}
        wanted |= {"include_inputs": True} if include_inputs else {}
        answer = self._ask("POST", f"{API}/predictions", wanted)
        try:
            return parse_page(self._body(answer))
        except NotAnEnvelope as error:
            raise self._no_sense(redacted(str(error))) from error

    def all_predictions(self, created_after: datetime | None = None) -> Iterator[Listed]:
        """Yield every prediction in the list, with its inputs where the provider shows them.

        Raises:
            TemporaryError: the list could not be read to its end.
            TooManyRequests, CredentialsError, ConfigurationError: no usable answer.
        """
        seen: set[str] = set()
        last: list[str] = []
        inputs = True
        for number in range(1, PAGES + 1):
            try:
                page = self.list_predictions(
                    page=number, created_after=created_after, include_inputs=inputs
                )
            except ConfigurationError:
                if number > 1:
                    raise
                inputs = False  # an undocumented field: a server may refuse it
                page = self.list_predictions(page=number, created_after=created_after)
            ids = [listed.prediction.id for listed in page]
            if not ids or ids == last:  # the end, or a server that knows no pages
                return
            last = ids
            # What comes in meanwhile shifts the pages: the same item may come twice.
            yield from (one for one in page if one.prediction.id not in seen)
            seen.update(ids)
        raise self._no_sense(f"the list has more than {PAGES} pages")

    def delete_predictions(self, ids: Sequence[str]) -> int:
        """Delete predictions and their files at the provider, for good; return how many were.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: not done.
        """
        answer = self._ask("POST", f"{API}/predictions/delete", {"ids": list(ids)})
        count = self._data(answer).get("deleted_count")
        return count if type(count) is int else 0

    # ── the account ───────────────────────────────────────────────────────────────────────────

    def price(self, model: str, parameters: Mapping[str, Any]) -> float | None:
        """Return what a training costs, USD; None when the provider does not say.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError: no usable answer.
        """
        wanted = {"model_id": model, "inputs": dict(parameters)}
        answer = self._ask("POST", f"{API}/model/price", wanted)
        if answer.status == 404:
            answer = self._ask("POST", f"{API}/model/pricing", wanted)
        if answer.status in {401, 402, 403, 429}:
            raise self._refused(answer)
        return parse_price(answer.json_or_none()) if answer.status == 200 else None

    def balance(self) -> float | None:
        """Return what is left on the account, USD; None when the provider does not say.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError: no usable answer.
        """
        answer = self._ask("GET", f"{API}/balance")
        if answer.status in {401, 402, 403, 429}:
            raise self._refused(answer)
        try:
            return amount(data_of(answer.json()).get("balance")) if answer.status == 200 else None
        except NotAnEnvelope:
            return None

    def models(self) -> list[Mapping[str, Any]]:
        """Return the provider's own catalogue, as it is; to compare with ours.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: no usable answer.
        """
        body = self._body(self._ask("GET", f"{API}/models"))
        items = body.get("data") if isinstance(body, dict) else body
        if not isinstance(items, list):
            raise self._no_sense("the catalogue is no list")
        return [item for item in items if isinstance(item, dict)]

    def webhook_secret(self) -> str:
        """Return the secret that the provider signs webhooks with; see `check_webhook`.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: no usable answer.
        """
        secret = self._data(self._ask("GET", f"{API}/webhook/secret")).get("secret")
        if not isinstance(secret, str) or not secret:
            raise self._no_sense("the answer holds no secret")
        return secret

    def upload_ticket(self, filename: str, size_bytes: int, content_type: str) -> Ticket:
        """Ask for a place at the provider's own storage; see `upload_to_provider`.

        Raises:
            TooManyRequests, TemporaryError, CredentialsError, ConfigurationError: no usable answer.
        """
        wanted = {"filename": filename, "size": size_bytes, "content_type": content_type}
        answer = self._ask("POST", f"{API}/media/uploads", wanted)
        try:
            return parse_ticket(self._body(answer))
        except NotAnEnvelope as error:
            raise self._no_sense(redacted(str(error))) from error

    def list_is_consistent(self) -> bool:
        """Whether the trainer guarantees that its list shows all it has accepted; hosted: never."""
        if self.origin == OFFICIAL_ORIGIN:
            return False
        try:
            answer = self._ask("GET", "/_service/stats")
        except LoraPrepError:
            return False
        body = answer.json_or_none() if answer.status == 200 else None
        return isinstance(body, dict) and body.get("consistent") is True

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send what costs nothing: it may be sent again."""
        try:
            return self._exchange.send(method, path, body=body, timeout_s=self._read_timeout_s)
        except (NotSent, Lost) as error:
            raise self._unreachable(error) from error

    def _body(self, answer: Answer) -> object:
        if 400 <= answer.status < 500:
            raise self._refused(answer)
        try:
            if answer.status != 200:
                raise NotAnEnvelope(f"HTTP {answer.status}")
            body = answer.json()
        except NotAnEnvelope as error:
            raise self._no_sense(str(error)) from error
        if code := refusal_code(body):
            raise refused(self._host, code, body, answer.retry_after_s)
        return body

    def _data(self, answer: Answer) -> Mapping[str, Any]:
        try:
            return data_of(self._body(answer))
        except NotAnEnvelope as error:
            raise self._no_sense(redacted(str(error))) from error

    def _remember(self, prediction_id: str, link: str) -> None:
        """Keep an address of the trainer's own origin; the key goes nowhere else."""
        if link and origin_of(link) == self.origin:
            parts = urlsplit(link)
            query = f"?{parts.query}" if parts.query else ""
            self._links[prediction_id] = f"{self.origin}{parts.path}{query}"

    def _unreachable(self, error: Exception) -> TemporaryError:
        return TemporaryError(
            f"The trainer {self._host} does not answer.",
            why=f"{redacted(str(error))}.",
            fix="Check the network and trainer.base_url; then try again.",
        )

    def _no_sense(self, why: str) -> TemporaryError:
        return TemporaryError(
            f"The trainer {self._host} gave no usable answer.",
            why=f"{why}.",
            fix="Try again later; a training that was submitted goes on.",
        )

    def _unknown(self, why: str) -> SubmissionUnknown:
        return SubmissionUnknown(
            "The training was submitted, but the answer is lost: it may be running.",
            why=f"{self._host}: {why}.",
            fix="Look for it in the provider's list before you submit again; it may be billed.",
        )

    def _refused(self, answer: Answer) -> LoraPrepError:
        return refused(self._host, answer.status, answer.json_or_none(), answer.retry_after_s)

    @property
    def _host(self) -> str:
        return host_and_port(self.base_url)


def _checked_webhook(url: str) -> str:
    why = why_not_a_server(url)
    if why is None and not url.lower().startswith("https://"):
        why = "must start with https://"
    if why:
        raise ConfigurationError(
            "The webhook cannot be used.",
            why=f"Its address {why}.",
            fix="Give an https:// address that the provider can reach.",
        )
    return url


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
