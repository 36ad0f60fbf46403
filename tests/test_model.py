"""The values between the rooms: frozen, silent about secrets, and JSON as the contract says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lora_prep import model
from lora_prep.model import (
    Box,
    Bundle,
    BundleEntry,
    Decision,
    Framing,
    Lora,
    LoraFacts,
    NoteCode,
    Prediction,
    PredictionStatus,
    Reason,
    ReasonCode,
    Selection,
    StoredObject,
    TrainingRequest,
    Verdict,
    checks,
    pictures,
    training,
    verdicts,
)
from tests.sample import a_face, a_photo

PRESIGNED = "https://bucket.example/dataset.zip?X-Amz-Signature=0123456789abcdef"
VALUES = [
    value for name in model.__all__ if dataclasses.is_dataclass(value := getattr(model, name))
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_value_is_frozen_slotted_and_described(value: Any) -> None:
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{value.__name__}(")  # what dataclass writes by itself


def verdict(decision: Decision, *reasons: Reason, face: bool = True) -> Verdict:
    return Verdict(
        "a/1.jpg", decision, reasons, a_photo("1.jpg", sha256="5" * 64), a_face() if face else None
    )


def test_a_verdict_in_the_words_of_the_contract() -> None:
    reason = Reason(ReasonCode.FACE_TOO_SMALL, "Too far away.", 37, 233, "px high")

    assert verdict(Decision.LEFT_OUT, reason).to_json() == {
        "file": "a/1.jpg",
        "sha256": "5" * 64,
        "verdict": "left_out",
        "reasons": [
            {
                "code": "face_too_small",
                "measured": 37,
                "limit": 233,
                "unit": "px high",
                "hint": "Too far away.",
            }
        ],
        "notes": [],
        "face": {
            "box": [300, 200, 300, 400],
            "score": 0.9,
            "height_px": 400,
            "identity_distance": None,
        },
        "crop": None,
        "framing": None,
    }
    assert verdict(Decision.LEFT_OUT, face=False).to_json()["face"] is None


def test_a_kept_photo_says_what_is_cut_and_what_is_worth_knowing() -> None:
    kept = dataclasses.replace(
        verdict(Decision.KEPT),
        identity_distance=0.31249,
        framing=Framing.CLOSE_UP,
        crop=Box(10, 20, 640, 640),
        notes=(Reason(NoteCode.SOFT, "It is soft.", 60.5, 70, "sharpness"),),
    )

    told = json.loads(json.dumps(kept.to_json(), allow_nan=False))

    assert told["face"]["identity_distance"] == 0.312
    assert (told["crop"], told["framing"]) == ([10, 20, 640, 640], "close-up")
    assert told["notes"] == [
        {
            "code": "soft",
            "measured": 60.5,
            "limit": 70,
            "unit": "sharpness",
            "hint": "It is soft.",
        }
    ]


def test_a_file_that_is_no_photo_has_neither_hash_nor_face() -> None:
    told = Verdict("notes.txt", Decision.LEFT_OUT, ()).to_json()

    assert (told["sha256"], told["face"], told["crop"], told["framing"]) == (None,) * 4


def test_a_selection_counts_every_photo_once() -> None:
    selection = Selection(
        Path("/photos"),
        2,
        (verdict(Decision.KEPT), verdict(Decision.SPARE), verdict(Decision.LEFT_OUT)),
        advice=("Add a profile.",),
    )

    report = selection.to_json(Path("/runs/1/report.html"))

    photos = report.pop("photos")
    assert report == {
        "schema": 1,
        "folder": "/photos",
        "needed": 2,
        "found": 3,
        "usable": 2,
        "selected": 1,
        "advice": ["Add a profile."],
        "report": "/runs/1/report.html",
    }
    assert [photo["verdict"] for photo in photos] == ["kept", "spare", "left_out"]
    assert selection.to_json(None)["report"] is None
    assert len(selection.kept) == 1
    assert selection.usable == selection.having(Decision.KEPT, Decision.SPARE)
    assert len(selection.usable) == 2
    json.dumps(selection.to_json(None), allow_nan=False)


def test_a_box_is_rounded_to_a_tenth() -> None:
    assert Box(1.04, 2.06, 3, 4.999).to_json() == [1.0, 2.1, 3, 5.0]


def test_a_face_does_not_show_its_vector() -> None:
    assert "embedding" not in repr(a_face())


def test_links_that_open_without_a_key_are_not_shown() -> None:
    request = TrainingRequest("wavespeed-ai/wan-14b-trainer", PRESIGNED, "p3r5on", 2000)
    prediction = Prediction("id", "model", PredictionStatus.COMPLETED, outputs=(PRESIGNED,))

    assert "Signature" not in repr(request)
    assert "Signature" not in repr(prediction)
    assert request.to_body() == {"data": PRESIGNED, "trigger_word": "p3r5on", "steps": 2000}


@pytest.mark.parametrize("status", PredictionStatus)
def test_a_status_is_terminal_unless_it_is_on_its_way_or_unknown(status: PredictionStatus) -> None:
    on_its_way = {"created", "processing", "unknown"}

    assert status.terminal == (status.value not in on_its_way)


def test_a_lora_in_the_words_of_the_contract() -> None:
    facts = LoraFacts("7" * 64, 307, "diffusion_model", 32, "BF16", 40, 800, rehearsal=True)
    lora = Lora(facts, "single", StoredObject("b", "k/1.safetensors", 307, None), Path("/x"))

    assert lora.to_json() == {
        "url": "s3://b/k/1.safetensors",
        "sha256": "7" * 64,
        "bytes": 307,
        "spelling": "diffusion_model",
        "rank": 32,
        "role": "single",
        "verified": True,
    }
    assert facts.words == "0.0 MB, rank 32"
    assert LoraFacts.from_json(
        {**dataclasses.asdict(facts), "key": "k", "modules": ["a"]}
    ).modules == ("a",)


def test_codes_are_those_of_the_contract() -> None:
    assert {code.value for code in ReasonCode} == {
        *("not_an_image", "unreadable", "unsupported", "too_many_pixels", "no_face"),
        *("several_faces", "face_too_small", "crop_too_small", "blurred", "too_dark"),
        *("too_bright", "extreme_pose", "duplicate", "near_duplicate", "other_person"),
        *("not_chosen", "overridden"),
    }
    assert {code.value for code in NoteCode} == {
        *("identity_doubted", "similar", "soft", "turned", "framed_tighter", "kept_by_hand"),
    }
    assert [decision.value for decision in Decision] == ["kept", "spare", "left_out"]
    assert [framing.value for framing in Framing] == [
        *("head-and-shoulders", "close-up", "upper-body", "mixed")
    ]


def test_no_code_is_both_a_reason_and_a_note() -> None:
    assert not {code.value for code in ReasonCode} & {code.value for code in NoteCode}


def test_a_bundle_counts_its_pictures_and_not_its_captions() -> None:
    entries = [BundleEntry(name, "0" * 64, 9) for name in ("0001.jpg", "0001.txt", "0002.jpg")]

    assert Bundle(Path("d.zip"), "0" * 64, 27, tuple(entries)).images == 2


def test_every_value_of_the_rooms_behind_is_exported_once() -> None:
    rooms = (checks, pictures, training, verdicts)

    assert sorted(model.__all__) == sorted(name for room in rooms for name in room.__all__)
