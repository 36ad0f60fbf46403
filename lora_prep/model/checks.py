"""What the doctor finds: one line a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lora_prep.errors import LoraPrepError

__all__ = ["Check", "Outcome"]

Outcome = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at before it can go wrong.

    name: what was checked; found: in words, without secrets; fix: what to do, "" for nothing;
    error: of a `fail`, the error that a run would end with.
    """

    name: str
    outcome: Outcome
    found: str
    fix: str = ""
    error: LoraPrepError | None = None

    @classmethod
    def failed(cls, name: str, error: LoraPrepError) -> Check:
        """Return the check that an error makes."""
        return cls(name, "fail", f"{error.what} {error.why}", error.fix, error)

    def to_json(self) -> dict[str, Any]:
        """Return the `checks` item of the JSON contract."""
        code = self.error.code if self.error else None
        return {
            "name": self.name,
            "outcome": self.outcome,
            "found": self.found,
            "fix": self.fix,
            "code": code,
        }
