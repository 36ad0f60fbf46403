"""Flags that set settings: each is one setting, and wins over files and environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

__all__ = ["StoreFlags", "TrainerFlags", "settings_flags"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class StoreFlags:
    """Where the data set and the LoRA go."""

    store: Annotated[str | None, Parameter(help='s3://bucket/prefix, or "embedded".')] = None
    endpoint_url: Annotated[
        str | None, Parameter(help="S3 endpoint of services other than AWS.")
    ] = None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given({"store": {"url": self.store, "endpoint_url": self.endpoint_url}})


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TrainerFlags:
    """Who trains, and with what."""

    trainer_url: Annotated[
        str | None, Parameter(help='A server of the trainer\'s API, or "embedded".')
    ] = None
    trigger_word: Annotated[str | None, Parameter(help="The word that calls the person.")] = None
    steps: Annotated[int | None, Parameter(help="Training steps, 1000 to 4000.")] = None
    rehearse: Annotated[
        bool, Parameter(help="Use the embedded store and trainer, whatever is configured.")
    ] = False

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        given = _given(
            {
                "trainer": {
                    "base_url": self.trainer_url,
                    "trigger_word": self.trigger_word,
                    "steps": self.steps,
                }
            }
        )
        if self.rehearse:
            given.setdefault("trainer", {})["base_url"] = "embedded"
            given["store"] = {"url": "embedded"}
        return given


def settings_flags(*flags: StoreFlags | TrainerFlags) -> dict[str, dict[str, Any]]:
    """Return the settings that several groups of flags give together."""
    merged: dict[str, dict[str, Any]] = {}
    for group in flags:
        for section, values in group.settings().items():
            merged.setdefault(section, {}).update(values)
    return merged


def _given(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    given = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in sections.items()
    }
    return {section: values for section, values in given.items() if values}
