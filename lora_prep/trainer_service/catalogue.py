"""The trainers this service knows: parameters, ranges, least images and outputs, as data.

The ranges are those of each trainer's own documentation page, the widest where pages differ; where
a trainer has no page of its own (Qwen, Z-Image) they are those of its FLUX sibling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from lora_prep.trainer_service.protocol import BadRequest, TaskCode, is_http_url

__all__ = ["CATALOGUE", "Number", "Trainer"]

DEFAULT_TRIGGER_WORD: Final = "p3r5on"
SINGLE: Final = ("",)
HIGH_AND_LOW: Final = (  # as the hosted service names them, the low one first
    "_t2v_A14B_separate_low_noise_lora",
    "_t2v_A14B_separate_high_noise_lora",
)


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number: its default and both ends of its range, which belong to it."""

    default: float
    least: float
    most: float
    whole: bool = True

    def read(self, name: str, value: object) -> float:
        """Return the value as the trainer takes it.

        Raises:
            BadRequest: it is no number of this kind, or out of range.
        """
        kinds = (int,) if self.whole else (int, float)
        # `type`, since True is an int to Python and is no number of steps
        if type(value) not in kinds or not isinstance(value, (int, float)):
            raise BadRequest(f"{name} must be {'an integer' if self.whole else 'a number'}")
        if not self.least <= value <= self.most:  # not a number (nan) fails this too
            raise BadRequest(f"{name} must be between {self.least:g} and {self.most:g}")
        return value

    def schema(self) -> dict[str, Any]:
        """Return it in JSON Schema."""
        kind = "integer" if self.whole else "number"
        ends = {"minimum": self.least, "maximum": self.most}
        return {"type": kind, "default": self.default, **ends}


@dataclass(frozen=True, slots=True)
class Trainer:
    """One model: its id, its numbers by name, the images it needs, what its outputs are called.

    needs_trigger_word: an empty word is refused; elsewhere it means training without one.
    """

    model: str
    numbers: Mapping[str, Number]
    min_images: int = 10
    outputs: tuple[str, ...] = SINGLE
    needs_trigger_word: bool = False

    def read(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a training, defaults filled in; unknown names are ignored.

        Raises:
            BadRequest: a parameter is missing or does not fit.
        """
        inputs: dict[str, Any] = {
            "data": _data_url(parameters),
            "trigger_word": self._trigger_word(parameters),
        }
        for name, number in self.numbers.items():
            inputs[name] = number.read(name, parameters.get(name, number.default))
        return inputs

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a submission."""
        least = {"minLength": 1} if self.needs_trigger_word else {}
        properties: dict[str, Any] = {
            "data": {"type": "string", "format": "uri", "description": "URL of a zip of images"},
            "trigger_word": {"type": "string", "default": DEFAULT_TRIGGER_WORD, **least},
            **{name: number.schema() for name, number in self.numbers.items()},
        }
        order = {"x-order-properties": list(properties)}
        return {"type": "object", "properties": properties, "required": ["data"], **order}

    def _trigger_word(self, parameters: Mapping[str, Any]) -> str:
        word = parameters.get("trigger_word", DEFAULT_TRIGGER_WORD)
        if not isinstance(word, str) or (self.needs_trigger_word and not word.strip()):
            raise BadRequest("trigger_word must be a string that is not empty")
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            # JSON can spell half a character ("\ud800"), which no file or database can keep.
            raise BadRequest("trigger_word is not valid Unicode")
        return word


def _data_url(parameters: Mapping[str, Any]) -> str:
    url = parameters.get("data")
    if url is None:
        message = "data is required: the URL of a zip of images"
        raise BadRequest(message, TaskCode.MISSING_PARAMETER)
    if not is_http_url(url):
        raise BadRequest("data must be an http or https URL")
    return str(url)


def _numbers(steps: Number, rate: float, rank: Number) -> Mapping[str, Number]:
    learning_rate = Number(rate, 0, 1, whole=False)
    return MappingProxyType({"steps": steps, "learning_rate": learning_rate, "lora_rank": rank})


def _image_trainer(name: str, rate: float, *, least_steps: int = 500) -> Trainer:
    numbers = _numbers(Number(1000, least_steps, 10000), rate, Number(16, 1, 64))
    return Trainer(f"wavespeed-ai/{name}", numbers, min_images=4)


_TRAINERS: Final = (
    Trainer(
        "wavespeed-ai/wan-14b-trainer",
        MappingProxyType({"steps": Number(2000, 1000, 4000)}),
        needs_trigger_word=True,
    ),
    Trainer(
        "wavespeed-ai/wan-2.1-14b-lora-trainer",
        _numbers(Number(2000, 1000, 10000), 1e-4, Number(32, 1, 64)),
    ),
    Trainer(
        "wavespeed-ai/wan-2.2-image-lora-trainer",
        _numbers(Number(1000, 1000, 10000), 2e-4, Number(32, 1, 128)),
        outputs=HIGH_AND_LOW,
    ),
    # Two FLUX pages say 500 and 1000 for the least steps; the wider range refuses nobody.
    _image_trainer("flux-dev-lora-trainer", 4e-4),
    _image_trainer("flux-dev-lora-trainer-turbo", 4e-4, least_steps=1000),
    _image_trainer("qwen-image-lora-trainer", 4e-4),
    _image_trainer("qwen-image-2512-lora-trainer", 4e-4),
    _image_trainer("z-image-lora-trainer", 1e-4),
    _image_trainer("z-image/base-lora-trainer", 1e-4),
)

CATALOGUE: Final[Mapping[str, Trainer]] = MappingProxyType(
    {trainer.model: trainer for trainer in _TRAINERS}
)
"""Every trainer by its model id."""
