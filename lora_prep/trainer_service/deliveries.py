"""The webhooks that are still to be told: a table, so that a restart forgets none."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lora_prep.trainer_service.database import Database
from lora_prep.trainer_service.protocol import rfc3339

__all__ = ["Delivery", "DeliveryTable", "plan_delivery"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One end to tell. id: the same at each attempt, so that a receiver can see repeats."""

    id: str
    task_id: str
    attempts: int
    due_at: datetime


def plan_delivery(connection: sqlite3.Connection, task_id: str) -> None:
    """Add a delivery in the very transaction that ends its task."""
    row = (f"msg_{uuid.uuid4().hex}", task_id, 0, rfc3339(datetime.now(UTC)))
    connection.execute("INSERT INTO deliveries VALUES (?, ?, ?, ?)", row)


class DeliveryTable:
    """The deliveries of one state folder. They go by the real time, whatever a test's clock says:
    a receiver's patience does too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> list[Delivery]:
        """Return all that are not done, the first due first."""
        rows = self._database.read("SELECT * FROM deliveries ORDER BY due_at")
        return [
            Delivery(row["id"], row["task_id"], row["attempts"], _moment(row["due_at"]))
            for row in rows
        ]

    def done(self, delivery: Delivery) -> None:
        """Forget a delivery: it was heard, or nobody will hear it."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))

    def again(self, delivery: Delivery, wait_s: float) -> None:
        """Note a failed attempt and when the next one is due."""
        due_at = rfc3339(datetime.now(UTC) + timedelta(seconds=wait_s))
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE deliveries SET attempts = attempts + 1, due_at = ? WHERE id = ?",
                (due_at, delivery.id),
            )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
