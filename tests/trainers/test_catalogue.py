"""The trainers as data, and what is refused before it is paid for."""

from __future__ import annotations

import pytest

from lora_prep.errors import ConfigurationError
from lora_prep.trainers import (
    TRAINERS,
    WAN_14B_TRAINER,
    check_parameters,
    differences,
    role_of_output,
    trainer_of,
    with_overrides,
)

pytestmark = pytest.mark.slow  # servers and databases

WAN_22 = "wavespeed-ai/wan-2.2-image-lora-trainer"
DEFAULT = trainer_of(WAN_14B_TRAINER)


def test_the_default_is_the_one_whose_page_asks_for_ten_face_images() -> None:
    assert (DEFAULT.min_images, DEFAULT.trigger_word, DEFAULT.roles) == (10, "p3r5on", ("single",))
    check_parameters(DEFAULT, {"trigger_word": "p3r5on", "steps": 4000})


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=lambda trainer: trainer.model)
def test_every_default_fits(trainer: object) -> None:
    assert trainer in TRAINERS.values()
    check_parameters(trainer, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameters",
    [
        {"steps": 999},
        {"steps": 4001},
        {"steps": 2000.0},
        {"steps": True},
        {"steps": "2000"},
        {"lora_rank": 32},
        {"trigger_word": ""},
    ],
)
def test_what_the_trainer_would_refuse_is_refused_here(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        check_parameters(DEFAULT, parameters)


def test_high_and_low_noise_are_told_apart_by_name() -> None:
    trainer = trainer_of(WAN_22)
    name = "https://cdn.test/output/u_t2v_A14B_separate_{}_noise_lora_1.safetensors?x=low_noise"
    assert role_of_output(name.format("high"), trainer) == "high_noise"
    assert role_of_output(name.format("low"), trainer) == "low_noise"
    assert role_of_output("https://cdn.test/a.safetensors", trainer) is None
    assert role_of_output("http://[", trainer) is None
    assert role_of_output("anything", DEFAULT) == "single"


def test_an_unknown_trainer_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigurationError, match=WAN_14B_TRAINER):
        trainer_of("wavespeed-ai/other")


def test_the_user_s_own_settings_add_and_override() -> None:
    trainers = with_overrides(
        {
            WAN_14B_TRAINER: {"steps": [1500, 100, 9000]},
            "my/trainer": {"min_images": 3, "lora_rank": [8, 1, 16], "captions": True},
        }
    )
    check_parameters(trainers[WAN_14B_TRAINER], {"steps": 100})
    mine = trainer_of("my/trainer", trainers)
    assert (mine.min_images, mine.captions) == (3, True)
    check_parameters(mine, {"lora_rank": 16})
    assert trainer_of(WAN_14B_TRAINER) is DEFAULT


@pytest.mark.parametrize(
    "table",
    [{"steps": 3}, {"steps": [1, 2]}, {"steps": [1, 2, 3]}, {"min_images": 0}, {"roles": ["x"]}],
)
def test_an_override_that_is_none_is_told(table: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        with_overrides({WAN_14B_TRAINER: table})


def test_differences_to_the_provider_s_catalogue_are_told() -> None:
    steps = {"type": "integer", "default": 2000, "minimum": 500, "maximum": 4000}
    properties = {"data": {}, "trigger_word": {}, "steps": steps, "seed": {}}
    schema = {"api_schemas": [{"request_schema": {"properties": properties}}]}
    live = {"model_id": WAN_14B_TRAINER, "api_schema": schema}
    assert differences(DEFAULT, [live]) == ["steps: minimum is 500, we have 1000", "seed is new"]
    assert differences(DEFAULT, [{"model_id": WAN_14B_TRAINER}]) == [
        "steps is not among its parameters"
    ]
    assert "not in the provider's catalogue" in differences(DEFAULT, [])[0]
