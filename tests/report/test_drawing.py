"""What is drawn is kept in a folder and comes back as it was, without the photos."""

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from lora_prep.model import (
    Box,
    Decision,
    Face,
    Framing,
    Measures,
    NoteCode,
    Photo,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)
from lora_prep.report import (
    Drawing,
    Fact,
    Scale,
    keep_drawing,
    read_drawing,
    thumbnail_in,
)

from .helpers import BLURRY, DOUBTED, crop, picture

TAKEN_AT = datetime(2026, 1, 2)  # noqa: DTZ001  a camera tells no zone
NAMES = ["a.jpg", "sub/Zoë 山田.jpg", os.fsdecode(b"caf\xe9.jpg"), "<script>.jpg", "\ud83d.jpg"]


@pytest.fixture
def kept(tmp_path):
    """Return a run's folder and a drawing of a folder of photos."""
    run, photos = tmp_path / "run", tmp_path / "photos"
    photos.mkdir()
    path = picture(photos / "a.jpg")
    face = Face(Box(1.5, 2, 3, 4), 0.9, ((1.0, 2.0), (3.0, 4.0)), embedding=(0.25,) * 128)
    verdicts = [
        Verdict(
            name,
            Decision.KEPT,
            (),
            Photo(name, photos / name, f"{number:064x}", 7, "JPEG", 64, 64, TAKEN_AT),
            face,
            Measures(61.5, 120.0, 0.01, -12.5),
            0.31,
            Framing.CLOSE_UP,
            Box(0, 0, 64, 64),
            notes=(DOUBTED, Reason(NoteCode.SIMILAR, "Much like a.jpg.", 8, 10, "bits of 64")),
        )
        for number, name in enumerate(NAMES)
    ]
    odd = Verdict("b.txt", Decision.LEFT_OUT, (Reason(ReasonCode.NOT_AN_IMAGE, "No."), BLURRY))
    (run / "crops").mkdir(parents=True)
    crops = (crop(1, "a.jpg", picture(run / "crops" / "0001.jpg"), caption="p3r5on"),)
    chosen = Selection(photos, 10, (*verdicts, odd), ("Add a profile.",), ("b.jpg",))
    settings = (Fact("Framing", "close-up"),)
    drawing = Drawing(chosen, crops, Scale(233, 465, 0.6), settings, "ab" * 32)
    keep_drawing(run, drawing, preview_of=lambda photo: path)
    return run, drawing


def test_it_comes_back_as_it_was_without_embeddings(kept):
    run, drawing = kept
    told = read_drawing(run)
    assert told is not None
    assert told.crops == drawing.crops
    assert (told.scale, told.settings) == (drawing.scale, drawing.settings)
    assert told.settings_sha256 == drawing.settings_sha256
    assert told.selection.needed == 10
    assert told.selection.advice == drawing.selection.advice
    assert told.selection.rivals == drawing.selection.rivals
    for one, other in zip(told.selection.verdicts, drawing.selection.verdicts, strict=True):
        assert one.to_json() == other.to_json()
        assert (one.photo, one.measures) == (other.photo, other.measures)
        assert (one.reasons, one.notes) == (other.reasons, other.notes)
        if one.face:
            assert one.face.landmarks == other.face.landmarks
            assert one.face.embedding == ()
    assert "0.25" not in (run / "drawing.json").read_text()


def test_the_folder_may_be_moved(kept, tmp_path):
    run, _ = kept
    moved = run.rename(tmp_path / "moved")
    (one,) = read_drawing(moved).crops
    assert one.path == moved / "crops" / "0001.jpg"
    assert one.path.exists()


def test_thumbnails_stay_when_photos_and_cache_are_gone(kept):
    run, drawing = kept
    (drawing.selection.folder / "a.jpg").unlink()
    for verdict in read_drawing(run).selection.verdicts[:-1]:
        assert thumbnail_in(run, verdict.photo).read_bytes().startswith(b"\xff\xd8")


def test_without_previews_the_photos_are_decoded(tmp_path):
    path = picture(tmp_path / "a.jpg", side=1600)
    photo = Photo("a.jpg", path, "0" * 64, 1, "JPEG", 1600, 1600)
    gone = Photo("b.jpg", tmp_path / "b.jpg", "1" * 64, 1, "JPEG", 16, 16)
    verdicts = [Verdict(one.name, Decision.SPARE, (), one) for one in (photo, gone)]
    keep_drawing(tmp_path / "run", Drawing(Selection(tmp_path, 10, tuple(verdicts))))
    assert 0 < thumbnail_in(tmp_path / "run", photo).stat().st_size < 20_000
    assert not thumbnail_in(tmp_path / "run", gone).exists()


@pytest.mark.parametrize("damage", [None, "", "{", "[]", '{"schema": 1}'])
def test_what_cannot_be_read_is_not_drawn(kept, damage):
    run, _ = kept
    path = run / "drawing.json"
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    assert read_drawing(run) is None


def test_a_word_of_a_later_version_is_not_guessed(kept):
    run, _ = kept
    path: Path = run / "drawing.json"
    values = json.loads(path.read_text())
    values["selection"]["verdicts"][0]["decision"] = "postponed"
    path.write_text(json.dumps(values))
    assert read_drawing(run) is None
