"""Flags that set settings: each is one setting, and wins over files and environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lora_prep.errors import ConfigurationError
from lora_prep.settings import EMBEDDED

__all__ = [
    "ArchiveFlags",
    "DatasetFlags",
    "PaymentFlags",
    "StoreFlags",
    "TrainerFlags",
    "TrainingFlags",
    "settings_flags",
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class DatasetFlags:
    """Which photos, and how they are cropped."""

    framing: Annotated[
        Literal["head-and-shoulders", "close-up", "upper-body", "mixed"] | None,
        Parameter(help="How much of the person a crop shows; head-and-shoulders without."),
    ] = None
    max_images: Annotated[int | None, Parameter(help="Photos kept at most; 30 without.")] = None
    reference: Annotated[
        Path | None, Parameter(help="A photo of the person meant, where the folder shows several.")
    ] = None
    no_identity: Annotated[
        bool,
        Parameter(help="Do not check that all photos show one person.", show_default=False),
    ] = False
    captions: Annotated[
        bool, Parameter(help="Take along the .txt beside each photo.", show_default=False)
    ] = False
    overrides: Annotated[
        Path | None, Parameter(help="A file of decisions made by hand, photo by photo.")
    ] = None
    face_pack: Annotated[
        str | None, Parameter(help='"open", a pack of insightface by name, or a folder.')
    ] = None
    accept_noncommercial: Annotated[
        bool,
        Parameter(help="Accept the terms of a pack for research only.", show_default=False),
    ] = False

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given(
            {
                "dataset": {
                    "framing": self.framing,
                    "max_images": self.max_images,
                    "reference": self.reference and str(self.reference),
                    "identity": False if self.no_identity else None,
                    "captions": self.captions or None,
                    "overrides": self.overrides and str(self.overrides),
                },
                "faces": {
                    "pack": self.face_pack,
                    "accept_noncommercial": self.accept_noncommercial or None,
                },
            }
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class StoreFlags:
    """Where the data set and the LoRA go."""

    store: Annotated[
        str | None,
        Parameter(help='s3://bucket/prefix, "embedded", or "wavespeed" for its own uploads.'),
    ] = None
    endpoint_url: Annotated[
        str | None, Parameter(help="S3 endpoint of services other than AWS.")
    ] = None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given({"store": {"url": self.store, "endpoint_url": self.endpoint_url}})


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TrainerFlags:
    """Who trains."""

    trainer_url: Annotated[
        str | None, Parameter(help='A server of the trainer\'s API, or "embedded".')
    ] = None
    rehearse: Annotated[
        bool,
        Parameter(
            help="Use the embedded store and trainer, whatever is configured.", show_default=False
        ),
    ] = False

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given({"trainer": {"base_url": self.trainer_url}})


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class TrainingFlags:
    """What is trained."""

    model: Annotated[
        str | None, Parameter(help="Which of the trainers; wavespeed-ai/wan-14b-trainer without.")
    ] = None
    trigger_word: Annotated[str | None, Parameter(help="The word that calls the person.")] = None
    steps: Annotated[int | None, Parameter(help="Training steps; 1000 to 4000, 2000 without.")] = (
        None
    )
    learning_rate: Annotated[float | None, Parameter(help="For trainers that take one.")] = None
    lora_rank: Annotated[int | None, Parameter(help="For trainers that take one.")] = None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        asked = {
            "model": self.model,
            "trigger_word": self.trigger_word,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "lora_rank": self.lora_rank,
        }
        return _given({"trainer": asked})


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class PaymentFlags:
    """What it may cost, and whether it may be paid again."""

    max_cost: Annotated[
        float | None,
        Parameter(help="Refuse a training that costs more USD, or whose price nobody tells."),
    ] = None
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Do not ask before paying.", show_default=False)
    ] = False
    again: Annotated[
        bool,
        Parameter(help="Train even what is training or trained already.", show_default=False),
    ] = False
    webhook: Annotated[
        str | None, Parameter(help="An https address that the trainer tells of the end.")
    ] = None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given({"trainer": {"max_cost_usd": self.max_cost, "webhook": self.webhook}})


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ArchiveFlags:
    """How the LoRA is kept, and what happens once it is safe."""

    purge_remote: Annotated[
        bool,
        Parameter(
            help="Delete the training at the provider once its LoRA is archived.",
            show_default=False,
        ),
    ] = False
    verify: Annotated[
        Literal["read", "head"] | None,
        Parameter(help="Read the upload back, or ask only for its length and recorded hash."),
    ] = None

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings these flags give."""
        return _given(
            {
                "trainer": {"purge_remote": self.purge_remote or None},
                "store": {"verify": self.verify},
            }
        )


def settings_flags(
    *flags: DatasetFlags | StoreFlags | TrainerFlags | TrainingFlags | PaymentFlags | ArchiveFlags,
) -> dict[str, dict[str, Any]]:
    """Return the settings that several groups of flags give together.

    Raises:
        ConfigurationError: --rehearse stands beside a store or a trainer of its own.
    """
    merged: dict[str, dict[str, Any]] = {}
    for group in flags:
        for section, values in group.settings().items():
            merged.setdefault(section, {}).update(values)
    if any(isinstance(group, TrainerFlags) and group.rehearse for group in flags):
        trainer, store = merged.setdefault("trainer", {}), merged.setdefault("store", {})
        if {trainer.get("base_url"), store.get("url")} - {None, EMBEDDED}:
            raise ConfigurationError(
                "--rehearse does not go together with --store or --trainer-url.",
                why="A rehearsal uses the embedded store and the embedded trainer.",
                fix="Leave out one or the other.",
            )
        trainer["base_url"] = store["url"] = EMBEDDED
    return merged


def _given(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    given = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in sections.items()
    }
    return {section: values for section, values in given.items() if values}
