"""The HTTP client of the trainer's API: WaveSpeedAI's, and every server that speaks it.

The paid request is sent once. Only a failure that surely came before its first byte, or a
definite refusal, lets the caller try again; everything else is `SubmissionUnknown`.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.errors import (
    ConfigurationError,
    CredentialsError,
    LoraPrepError,
    ResultExpired,
    SubmissionUnknown,
    TemporaryError,
)
from lora_prep.model import Prediction, TrainingRequest
from lora_prep.redaction import redacted
from lora_prep.trainers.address import check_trainer_address
from lora_prep.trainers.responses import NotAnEnvelope, envelope_message, parse_prediction

if TYPE_CHECKING:
    import httpx

__all__ = ["TrainerClient"]

API = "/api/v3"
CLIENT_NAME = "lora_prep"


class TrainerClient:
    """Submits trainings to one trainer and asks for their state. Close it, or use `with`."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        connect_timeout_s: float = 10,
        read_timeout_s: float = 30,
        submit_timeout_s: float = 60,
    ) -> None:
        """Make a client; nothing is sent yet.

        Raises:
            TrainerNotAllowed: the address may not be used.
        """
        import httpx

        check_trainer_address(base_url)
        self.base_url = base_url
        self._poll_timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s)
        self._submit_timeout = httpx.Timeout(submit_timeout_s, connect=connect_timeout_s)
        self._http = httpx.Client(
            base_url=base_url,
            headers={
                "Authorization": f"Bearer {api_key.strip()}",
                "X-Client-Name": CLIENT_NAME,
            },
            follow_redirects=False,  # the key must not travel to another origin
            trust_env=not is_loopback(base_url),  # nor through a proxy to this very machine
            # Loading the certificates takes 40 ms, and plain http without redirects uses none.
            verify=not base_url.startswith("http://"),
        )

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
        self._http.close()

    def submit(self, request: TrainingRequest) -> Prediction:
        """Send one training, once, and return it with its id.

        Raises:
            SubmissionUnknown: it was sent and the answer is lost or unreadable: it may be running.
            TemporaryError: surely not accepted: no connection, or too many requests.
            CredentialsError: surely not accepted: the key or the account was refused.
            ConfigurationError: surely not accepted: the trainer refused a parameter.
        """
        import httpx

        try:
            response = self._http.post(
                f"{API}/{request.model}", json=request.to_body(), timeout=self._submit_timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise self._unreachable(error) from error
        except httpx.HTTPError as error:
            raise self._unknown(type(error).__name__) from error
        except KeyboardInterrupt as error:
            raise self._unknown("you interrupted it while it was being sent") from error
        if 400 <= response.status_code < 500:
            raise self._refused(response)
        try:
            if response.status_code != httpx.codes.OK:
                raise NotAnEnvelope(f"HTTP {response.status_code}")
            return parse_prediction(response.json())
        except NotAnEnvelope as error:
            raise self._unknown(redacted(str(error))) from error
        except ValueError as error:
            raise self._unknown("the answer is no JSON") from error

    def result(self, prediction_id: str) -> Prediction:
        """Return the present state of a training.

        Raises:
            TemporaryError: no usable answer; ask again.
            ResultExpired: the trainer does not know the id: expired, deleted, or another account's.
            CredentialsError: the key was refused.
        """
        import httpx

        try:
            response = self._http.get(
                f"{API}/predictions/{quote(prediction_id, safe='')}/result",
                timeout=self._poll_timeout,
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        match response.status_code:
            case 200:
                try:
                    return parse_prediction(response.json())
                except ValueError as error:
                    raise self._no_sense(redacted(str(error))) from error
            case 404:
                raise ResultExpired(
                    f"The trainer does not know the prediction {prediction_id}.",
                    why="Results live 7 days; it expired, was deleted, or belongs to another key.",
                    fix="Check the id and the key.",
                )
            case 401 | 403:
                raise self._refused(response)
            case status:
                raise self._no_sense(f"HTTP {status}")

    def _unreachable(self, error: Exception) -> TemporaryError:
        return TemporaryError(
            f"The trainer {self._host} does not answer.",
            why=f"{type(error).__name__}: {redacted(str(error))}.",
            fix="Check the network and trainer.base_url; then try again.",
        )

    def _no_sense(self, why: str) -> TemporaryError:
        return TemporaryError(
            f"The trainer {self._host} gave no usable answer.",
            why=f"{why}.",
            fix="Try again later; the training itself goes on.",
        )

    def _unknown(self, why: str) -> SubmissionUnknown:
        return SubmissionUnknown(
            "The training was submitted, but the answer is lost: it may be running.",
            why=f"{self._host}: {why}.",
            fix="Look for it in the provider's list before you submit again; it may be billed.",
        )

    def _refused(self, response: httpx.Response) -> LoraPrepError:
        try:
            words = envelope_message(response.json())
        except (json.JSONDecodeError, UnicodeDecodeError):
            words = ""
        why = f"{self._host} answered {response.status_code}: {redacted(words) or 'no words'}."
        match response.status_code:
            case 401 | 402 | 403:
                return CredentialsError(
                    "The trainer refused the key or the account.",
                    why=why,
                    fix="Check the key and the account's balance with the provider.",
                )
            case 408 | 425 | 429:
                return TemporaryError(
                    "The trainer has no room for another training now.",
                    why=why,
                    fix="Try again in a minute.",
                )
            case _:
                return ConfigurationError(
                    "The trainer refused the request.",
                    why=why,
                    fix="Correct the parameter it names.",
                )

    @property
    def _host(self) -> str:
        return host_and_port(self.base_url)
