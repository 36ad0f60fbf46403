"""A decision by hand: what it changes, what it saves, how it is taken back."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError
from lora_prep.model import Box, Decision, Reason, ReasonCode
from lora_prep.report import read_drawing
from lora_prep.selection import Override, read_overrides
from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.preparing import inspect_folder
from pipelines.reviewing import (
    Review,
    crop_shown,
    decide,
    fitted,
    folder_of,
    open_review,
    recrop,
    settings_of,
    undo,
)
from pipelines.runs import new_run
from tests.sample import SAMPLE_DATA, a_finding, a_judged_face, examples, textured
from tests.web.reviews import a_review_of

BLURRED = Reason(ReasonCode.BLURRED, "Blurred.", 21, 40, "sharpness")
NAMES = [f"{letter}.jpg" for letter in "abcdefghij"]


@pytest.fixture
def review(tmp_path: Path) -> Review:
    seen = [a_finding(name) for name in NAMES]
    blurred = a_finding("k.jpg", faces=(a_judged_face(400, BLURRED),))
    faceless = a_finding("l.jpg", Reason(ReasonCode.NO_FACE, "No face."), faces=())
    copy = a_finding("m.jpg", fingerprint=seen[0].fingerprint, height=390)
    return a_review_of((*seen, blurred, faceless, copy), tmp_path / "overrides.toml")


def decisions(review: Review) -> str:
    """One letter a photo: k, s or l."""
    return "".join(verdict.decision.value[0] for verdict in review.selection.verdicts)


def test_a_decision_changes_the_choice_and_is_saved(review: Review) -> None:
    assert decisions(review) == "kkkkkkkkkklll"

    fewer = decide(review, 3, "leave_out")

    assert decisions(fewer) == "ssslsssssslll"  # nine are too few: none is kept
    assert len(fewer.selection.usable) == 9
    assert list(read_overrides(review.file).values()) == [Override("leave_out")]
    enough = decide(fewer, 10, "keep")
    assert decisions(enough) == "kkklkkkkkkkll"
    assert len(enough.steps) == 2


def test_what_a_hand_cannot_change_stays(review: Review) -> None:
    assert decisions(decide(review, 11, "keep")) == decisions(review)


def test_a_copy_that_is_kept_takes_the_other_s_place(review: Review) -> None:
    assert review.alike == ((0, 12),)

    swapped = decide(review, 12, "keep")

    assert decisions(swapped) == "lkkkkkkkkkllk"
    assert swapped.alike == review.alike


def test_undo_restores_the_choice_and_the_file(review: Review) -> None:
    review.file.write_text(text := f'# mine\n[photos.{"f" * 64}]\nverdict = "keep"\n')
    now = decide(review, 0, "keep")
    now = decide(now, 0, "leave_out")
    now = recrop(now, 1, Box(0, 0, 700, 700))
    undone = []
    for _ in range(4):
        now, index = undo(now)
        undone.append(index)

    assert undone == [1, 0, 0, None]
    assert now.selection == review.selection
    assert review.file.read_text() == text


def test_the_same_decision_again_is_none(review: Review) -> None:
    once = decide(review, 0, "keep")

    assert decide(once, 0, "keep") is once
    assert decide(review, 0, None) is review
    assert not undo(undo(once)[0])[0].steps


def test_what_somebody_else_decided_meanwhile_is_kept_and_obeyed(review: Review) -> None:
    photo = review.verdict(5).photo
    assert photo
    now = decide(review, 0, "keep")
    with review.file.open("a") as file:
        file.write(f'[photos.{photo.sha256}]\nverdict = "leave_out"\n')

    now = decide(now, 1, "keep")

    assert now.verdict(5).decision is Decision.LEFT_OUT
    assert len(read_overrides(review.file)) == 3


def test_a_file_that_was_damaged_meanwhile_stops_it(review: Review) -> None:
    review.file.write_text("[[")

    with pytest.raises(ConfigurationError):
        decide(review, 0, "keep")
    assert review.file.read_text() == "[["


def test_a_crop_by_hand_is_the_one_that_is_cut(review: Review) -> None:
    now = recrop(review, 0, Box(10, 20, 700, 700))

    assert now.verdict(0).crop == crop_shown(now, 0) == Box(10, 20, 700, 700)
    assert recrop(now, 0, None).verdict(0).crop == review.verdict(0).crop


def test_of_a_photo_that_is_left_out_the_crop_it_would_get_is_shown(review: Review) -> None:
    assert crop_shown(review, 10)
    assert crop_shown(recrop(review, 10, Box(10, 20, 700, 700)), 10) == Box(10, 20, 700, 700)
    assert crop_shown(review, 11) is None
    assert fitted(review, 11, Box(0, 0, 600, 600)) is None


SIDES = st.integers(-(10**9), 10**9)


@hypothesis.given(SIDES, SIDES, SIDES, st.integers(512, 4000), st.integers(512, 4000), st.data())
@examples(200)
def test_whatever_is_asked_for_a_crop_can_be_cut(
    tmp_path_factory: pytest.TempPathFactory,
    left: int,
    top: int,
    side: int,
    width: int,
    height: int,
    data: st.DataObject,
) -> None:
    face = a_judged_face(
        200,
        x=data.draw(st.floats(-70, width - 80)),
        y=data.draw(st.floats(-90, height - 110)),
        embedding=(),
    )
    finding = a_finding("a.jpg", faces=(face,), size=(width, height))
    review = a_review_of((finding,), Path("/none"))

    box = fitted(review, 0, Box(left, top, side, side))

    assert box
    assert all(value == int(value) for value in (box.x, box.y, box.width))
    assert 512 <= box.width == box.height <= min(width, height)
    assert 0 <= box.x <= width - box.width
    assert 0 <= box.y <= height - box.height
    middle_x, middle_y = face.face.box.x + 75, face.face.box.y + 100
    assert box.x < middle_x < box.x + box.width
    assert box.y < middle_y < box.y + box.height
    assert fitted(review, 0, box) == box


@pytest.mark.slow
def test_a_whole_folder_is_reviewed_as_inspect_judges_it(tmp_path: Path) -> None:
    folder = SAMPLE_DATA / "nine"
    settings = load_settings({"dataset": {"overrides": str(tmp_path / "new.toml")}})

    review = open_review(folder, settings)  # a file that is not there yet is made

    now = recrop(decide(review, 2, "leave_out"), 0, Box(50, 60, 900, 900))
    inspected = inspect_folder(folder, settings)
    assert inspected.selection == now.selection
    assert len(inspected.to_manifest()["overrides"]) == 2


def test_a_run_names_its_folder_and_how_it_judged() -> None:
    run = new_run()
    with pytest.raises(ConfigurationError, match="cannot be reviewed"):
        folder_of(run)
    run.update(inspection={"folder": "/photos/ada"})
    assert folder_of(run) == Path("/photos/ada")
    opened = {"folder": "/photos/ben", "dataset": {"min_size": 400}, "trainer_url": "embedded"}
    run.update(opened={**opened, "store": {}, "trainer": {}})
    assert folder_of(run) == Path("/photos/ben")
    assert settings_of(run, {}).dataset.min_size == 400
    run.update(opened={"folder": "s3://bucket/ada"})
    with pytest.raises(ConfigurationError, match="cannot be reviewed"):
        folder_of(run)


@pytest.mark.slow
def test_a_folder_that_was_named_from_nearby_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, elsewhere, run = tmp_path / "photos", tmp_path / "elsewhere", new_run()
    photos.mkdir()
    elsewhere.mkdir()
    textured((96, 96)).save(photos / "a.png")
    monkeypatch.chdir(photos)
    steps.inspect(".", run=run)
    monkeypatch.chdir(elsewhere)

    review = open_review(folder_of(run), settings_of(run, {}))

    assert review.looked.folder == photos
    drawing = read_drawing(run.path)
    assert drawing
    assert drawing.selection.folder == photos
