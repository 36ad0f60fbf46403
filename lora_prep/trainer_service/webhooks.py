"""Tells webhooks of the end of a task: signed, and again when nobody heard.

The signature is the documented one, version 3: HMAC-SHA256 over `{id}.{timestamp}.{body}` with the
text of the secret behind `whsec_` as key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from lora_prep.guard import Guard
from lora_prep.trainer_service.deliveries import Delivery, DeliveryTable
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.tasks import Task

__all__ = ["REDELIVERIES", "SECRET_PREFIX", "Webhooks", "signed_headers"]

logger = logging.getLogger(__name__)

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  not a secret, what each begins with
REDELIVERIES: Final = 3
TIMEOUTS: Final = httpx.Timeout(10.0)
AT_ONCE: Final = 8  # deliveries under way; a receiver that hangs holds up one of them
LOOK_EVERY_S: Final = 1.0
STOP_WAIT_S: Final = 0.1

Describe = Callable[[str], tuple[Task, dict[str, Any], str] | None]
"""From a task's id to the task, what is told of it, and its owner's secret; None: it is gone."""


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove where a delivery comes from.

    >>> headers = signed_headers("whsec_abc", "msg_1", 1767830400, b"{}")
    >>> headers["webhook-signature"][:11], headers["webhook-timestamp"]
    ('v3,a4a5bd9c', '1767830400')
    """
    key = secret.removeprefix(SECRET_PREFIX).encode()
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v3,{hmac.new(key, signed, hashlib.sha256).hexdigest()}",
    }


class Webhooks:
    """A daemon thread that looks for what is due, and one for each delivery under way."""

    def __init__(
        self,
        table: DeliveryTable,
        describe: Describe,
        guard: Guard,
        faults: FaultScript,
        *,
        retry_s: float,
    ) -> None:
        """retry_s: before the first redelivery; each later one waits twice as long."""
        self._table = table
        self._describe = describe
        self._guard = guard
        self._faults = faults
        self._retry_s = retry_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._recording = threading.Lock()
        self._under_way: set[str] = set()
        self._thread = threading.Thread(target=self._look, name="webhooks", daemon=True)

    def start(self) -> None:
        """Deliver what the last run left, then whatever ends."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: a task has ended."""
        self._wake.set()

    def stop(self) -> None:
        """Record nothing more; the table may be closed afterwards."""
        with self._recording:
            self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_WAIT_S)

    def _look(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            wait_s = LOOK_EVERY_S
            under_way = set(self._under_way)  # before the table is read: what is done since is old
            try:
                with self._recording:
                    waiting = [] if self._stopping.is_set() else self._table.waiting()
                for delivery in waiting:
                    until_s = (delivery.due_at - datetime.now(UTC)).total_seconds()
                    if until_s > 0:
                        wait_s = min(wait_s, until_s)
                    elif delivery.id not in under_way and len(self._under_way) < AT_ONCE:
                        self._under_way.add(delivery.id)
                        threading.Thread(target=self._deliver, args=[delivery], daemon=True).start()
            except sqlite3.Error as error:
                logger.error("the webhooks to tell could not be read: %s", error)
            self._wake.wait(wait_s)

    def _deliver(self, delivery: Delivery) -> None:
        try:
            heard = self._tell(delivery)
            with self._recording:
                if self._stopping.is_set():
                    return
                if heard or delivery.attempts >= REDELIVERIES:
                    self._table.done(delivery)
                else:
                    self._table.again(delivery, self._retry_s * 2**delivery.attempts)
        except sqlite3.Error as error:
            logger.error("webhook of task %s: not recorded: %s", delivery.task_id, error)
        finally:
            self._under_way.discard(delivery.id)
            self._wake.set()

    def _tell(self, delivery: Delivery) -> bool:
        """Send it; return whether the receiver heard it, or need not any more."""
        found = self._describe(delivery.task_id)
        if found is None:
            return True
        task, prediction, secret = found
        body = json.dumps(prediction).encode()
        times = 2 if self._faults.take("duplicate-webhook", "webhook") else 1
        for _ in range(times):
            headers = signed_headers(secret, delivery.id, int(time.time()), body)
            reason = self._post(task.webhook, body, headers)
        if reason:
            # Nothing of the URL: its path and query may be what keeps it secret.
            logger.warning("webhook of task %s not heard: %s", task.id, reason)
        return not reason

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Return why it was not heard; empty when it was."""
        try:
            with (
                self._guard.client(url, TIMEOUTS, redirects=False) as client,
                # Streamed and never read: what a receiver answers is not ours to keep.
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                return "" if response.is_success else f"HTTP {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, ImportError) as error:
            return type(error).__name__
