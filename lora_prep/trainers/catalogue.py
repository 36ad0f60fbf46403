"""The trainings that can be asked for, as data: what each takes, and what it gives back.

Source: the model pages of wavespeed.ai, as of November 2026. Their generations differ, so a user's
own settings may add trainers and override numbers (`with_overrides`), and `differences` compares
with what the provider's own catalogue says today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from lora_prep.errors import ConfigurationError
from lora_prep.model import Role

__all__ = [
    "TRAINERS",
    "WAN_14B_TRAINER",
    "Parameter",
    "Trainer",
    "check_parameters",
    "differences",
    "role_of_output",
    "trainer_of",
    "with_overrides",
]

WAN_14B_TRAINER = "wavespeed-ai/wan-14b-trainer"
"""Takes a zip of at least 10 face images, 1000 to 4000 steps; returns one LoRA."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a trainer takes, from least to most."""

    name: str
    default: float
    least: float
    most: float
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Trainer:
    """One training model.

    min_images: in its zip; captions: whether its page says that .txt files are read, None: it says
    nothing; trigger_word: its default, None: the trainer needs none; roles: of its output files.
    """

    model: str
    min_images: int
    parameters: tuple[Parameter, ...]
    captions: bool | None
    trigger_word: str | None
    roles: tuple[Role, ...] = ("single",)

    @property
    def names(self) -> set[str]:
        """Every field of the request body."""
        return {"data", "trigger_word", *(one.name for one in self.parameters)}


def _numbers(
    steps: tuple[int, int, int], rate: float, rank: tuple[int, int]
) -> tuple[Parameter, ...]:
    return (
        Parameter("steps", *steps),
        Parameter("learning_rate", rate, 0, 1, whole=False),
        Parameter("lora_rank", rank[0], 1, rank[1]),
    )


# The FLUX, Qwen and Z-Image pages give a default of 1000 steps; where a range is missing, that of
# the FLUX page is taken.
_FLUX_STEPS = (1000, 500, 10000)

TRAINERS: Mapping[str, Trainer] = {
    trainer.model: trainer
    for trainer in (
        Trainer(WAN_14B_TRAINER, 10, (Parameter("steps", 2000, 1000, 4000),), None, "p3r5on"),
        Trainer(
            "wavespeed-ai/wan-2.1-14b-lora-trainer",
            10,
            _numbers((2000, 1000, 10000), 1e-4, (32, 64)),
            captions=True,
            trigger_word=None,
        ),
        Trainer(
            "wavespeed-ai/wan-2.2-image-lora-trainer",
            10,
            _numbers((1000, 1000, 10000), 2e-4, (32, 128)),
            captions=True,
            trigger_word=None,
            roles=("high_noise", "low_noise"),
        ),
        Trainer(
            "wavespeed-ai/flux-dev-lora-trainer",
            4,
            _numbers(_FLUX_STEPS, 4e-4, (16, 64)),
            captions=True,
            trigger_word="p3r5on",
        ),
        Trainer(
            "wavespeed-ai/flux-dev-lora-trainer-turbo",
            4,
            _numbers((1000, 1000, 10000), 4e-4, (16, 64)),
            captions=True,
            trigger_word="p3r5on",
        ),
        *(
            Trainer(f"wavespeed-ai/{name}", 4, _numbers(_FLUX_STEPS, rate, (16, 64)), True, None)
            for name, rate in (
                ("qwen-image-lora-trainer", 4e-4),
                ("qwen-image-2512-lora-trainer", 4e-4),
                ("z-image-lora-trainer", 1e-4),
                ("z-image/base-lora-trainer", 1e-4),
            )
        ),
    )
}


def trainer_of(model: str, trainers: Mapping[str, Trainer] = TRAINERS) -> Trainer:
    """Return a trainer by its model id.

    Raises:
        ConfigurationError: nobody has described it.
    """
    if model in trainers:
        return trainers[model]
    raise ConfigurationError(
        f"There is no trainer {model!r}.",
        why=f"Known are {', '.join(trainers)}.",
        fix="Correct trainer.model, or describe it in the settings.",
    )


def check_parameters(trainer: Trainer, parameters: Mapping[str, Any]) -> None:
    """Refuse what the trainer would refuse, before anything is sent or paid.

    Raises:
        ConfigurationError: a name it does not take, or a value out of its range.
    """
    if unknown := sorted(set(parameters) - trainer.names):
        raise _unfit(trainer, unknown[0], f"It takes {', '.join(sorted(trainer.names))}")
    for one in trainer.parameters:
        value = parameters.get(one.name, one.default)
        number = isinstance(value, int if one.whole else int | float)
        if not number or isinstance(value, bool) or not one.least <= value <= one.most:
            raise _unfit(trainer, one.name, f"It goes from {one.least:g} to {one.most:g}")
    if trainer.trigger_word and not parameters.get("trigger_word", trainer.trigger_word):
        raise _unfit(trainer, "trigger_word", "It must not be empty")


def role_of_output(url: str, trainer: Trainer) -> Role | None:
    """Return which of its LoRAs a file is, by its name and never by its place in the list.

    None: the name does not tell.
    """
    if trainer.roles == ("single",):
        return "single"
    try:
        name = unquote(urlsplit(url).path).rpartition("/")[2].lower()
    except ValueError:
        return None
    told: list[Role] = [role for role in trainer.roles if role in name]
    return told[0] if len(told) == 1 else None


def with_overrides(overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Trainer]:
    """Return the trainers with the user's own: {model: {min_images, captions, steps: [d, l, m]}}.

    A model that is not known takes the default trainer as its pattern.

    Raises:
        ConfigurationError: an override is none.
    """
    trainers = dict(TRAINERS)
    for model, table in overrides.items():
        base = trainers.get(model) or replace(TRAINERS[WAN_14B_TRAINER], model=model)
        try:
            trainers[model] = _overridden(base, dict(table))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The settings of the trainer {model!r} do not fit.",
                why=f"{error}.",
                fix="Give min_images, captions, trigger_word, roles, or a number as "
                "[default, least, most].",
            ) from error
    return trainers


def differences(trainer: Trainer, models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words how the provider's catalogue differs from what we know of a trainer."""
    live = next((model for model in models if model.get("model_id") == trainer.model), None)
    if live is None:
        return [f"{trainer.model} is not in the provider's catalogue"]
    properties = _properties(live)
    found = []
    for one in trainer.parameters:
        told = properties.get(one.name)
        if not isinstance(told, Mapping):
            found.append(f"{one.name} is not among its parameters")
            continue
        for name, ours in (("default", one.default), ("minimum", one.least), ("maximum", one.most)):
            theirs = told.get(name)
            if isinstance(theirs, int | float) and theirs != ours:
                words = f"{theirs:g}" if abs(theirs) < 1e15 else "endless"
                found.append(f"{one.name}: {name} is {words}, we have {ours:g}")
    found += [f"{name} is new" for name in sorted(set(properties) - trainer.names)]
    return found


def _properties(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return api_schema.api_schemas[0].request_schema.properties, {} when it is not there."""
    place: Any = model
    for step in ("api_schema", "api_schemas", 0, "request_schema", "properties"):
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            return {}
    return place if isinstance(place, Mapping) else {}


def _overridden(base: Trainer, table: dict[str, Any]) -> Trainer:
    fields = {
        name: table.pop(name)
        for name in ("min_images", "captions", "trigger_word")
        if name in table
    }
    if type(fields.get("min_images", 1)) is not int or fields.get("min_images", 1) < 1:
        raise ValueError("min_images must be a whole number from 1")
    roles = tuple(table.pop("roles", base.roles))
    if not roles or set(roles) - {"single", "high_noise", "low_noise"}:
        raise ValueError("roles are single, high_noise and low_noise")
    numbers = {one.name: one for one in base.parameters}
    for name, triple in table.items():
        default, least, most = triple
        if not least <= default <= most:
            raise ValueError(f"{name} must be [default, least, most]")
        whole = all(isinstance(value, int) for value in triple)
        numbers[name] = Parameter(name, default, least, most, whole)
    return replace(base, roles=roles, parameters=tuple(numbers.values()), **fields)


def _unfit(trainer: Trainer, name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The trainer {trainer.model} does not take this trainer.{name}.",
        why=f"{why}.",
        fix="Correct it; nothing was sent.",
    )
