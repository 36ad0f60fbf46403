"""The report of a run is drawn from its folder alone, and tells no secret and no path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import DatasetError
from lora_prep.model import Decision, Photo, Selection, Verdict
from lora_prep.report import Drawing, Fact, keep_drawing
from pipelines.runs import Run, new_run
from pipelines.telling import tell
from tests.report.helpers import Page, crop, picture

SHA256, TENSORS = "ad" * 32, "800 of F16 in 40 blocks"
LORA = {
    "url": "s3://bucket/loras/r/r-adadad.safetensors", "sha256": SHA256, "bytes": 38_435_240,
    "spelling": "diffusion_model", "rank": 32, "role": "single", "verified": True,
}  # fmt: skip
TRAINING = {
    "provider": "wavespeed", "base_url": "https://api.example", "model": "wan-14b-trainer",
    "prediction_id": "f8cc", "trigger_word": "p3r5on", "steps": 2000, "price_usd": 4.0,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose photos were looked at, by a process that is gone, and are deleted."""
    run = new_run()
    run.update(status="created", name="ada", rehearsal=False)
    (run.path / "crops").mkdir()
    folder = tmp_path / "home" / "private" / "ada"
    folder.mkdir(parents=True)
    verdicts, crops = [], []
    for number in range(1, 11):
        name = f"ada_{number:02d}.jpg"
        path = picture(folder / name)
        photo = Photo(name, path, f"{number:064x}", 1, "JPEG", 64, 64)
        verdicts.append(Verdict(name, Decision.KEPT, (), photo))
        crops.append(crop(number, name, picture(run.path / "crops" / f"{number:04d}.jpg")))
    settings = (Fact("Framing", "close-up"),)
    chosen = Selection(folder, 10, tuple(verdicts))
    keep_drawing(run.path, Drawing(chosen, tuple(crops), settings=settings))
    for photo_path in folder.iterdir():
        photo_path.unlink()
    return run


def told(run: Run, **facts: Any) -> Page:
    run.update(**facts)
    tell(run)
    return Page.read(run.report)


def test_all_of_it_is_told_by_whoever_ends_the_run(run: Run) -> None:
    (run.path / "lora").mkdir()
    facts = {"sha256": SHA256, "tensors": 800, "dtype": "F16", "blocks": 40}
    (run.path / "lora" / "lora.json").write_text(json.dumps({"files": [facts]}))
    (run.path / "events.jsonl").write_text(
        '{"time": "2026-01-02T03:04:05+00:00", "stage": "train", "message": "waiting"}\n'
        '{"time": "2026-01-02T03:09:05+00:00", "stage": "train", "message": "waiting"}\n'
        '{"time": "2026-01-02T03:'
    )
    dataset = {"images": 10, "bytes": 5_700_000, "sha256": "20" * 32, "object": "s3://bucket/d.zip"}
    page = told(
        run,
        status="archived",
        dataset=dataset,
        training=TRAINING,
        loras=[LORA],
        seconds={"prepare": 8.59, "train": 300.0},
    )
    assert len(page.thumbnails()) == 20  # each crop and its photo
    for words in (
        "Price 4.00 USD", "Model wan-14b-trainer", "Trigger word p3r5on", "Prediction f8cc",
        "Training set 10 crops, 5.7 MB", "Uploaded as s3://bucket/d.zip", "Framing close-up",
        f"SHA-256 {SHA256}", LORA["url"], "Rank 32", f"Tensors {TENSORS}",
        "Trained 5 min 00 s 2026-01-02 03:04:05",
    ):  # fmt: skip
        assert str(words) in page.words
    assert "Rehearsal" not in page.words


def test_a_rehearsal_says_so(run: Run) -> None:
    page = told(run, rehearsal=True, training={**TRAINING, "price_usd": None}, loras=[LORA])
    assert "Rehearsal: nothing was trained" in page.words
    assert "Price nothing: a rehearsal" in page.words


def test_nothing_submitted_and_a_price_nobody_told(run: Run) -> None:
    assert "Training nothing was submitted Price nothing" in told(run).words
    assert "Price not known" in told(run, training={**TRAINING, "price_usd": None}).words


def test_a_failed_run_tells_why_without_paths_and_secrets(run: Run, tmp_path: Path) -> None:
    signed = "https://s3.example/b/k.zip?X-Amz-Signature=5ec7e7&X-Amz-Credential=AKIA"
    error = {
        "code": "training_failed",
        "message": f"The training of {tmp_path}/home/private/ada has failed.",
        "why": f"The trainer could not fetch {signed}.",
        "fix": f"See {run.path / 'events.jsonl'}, then: lora-prep resume {run.id}",
        "retryable": False,
    }
    page = told(run, status="failed", training=TRAINING, error=error)
    assert "The training of ada has failed." in page.words
    assert "could not fetch https://s3.example/b/k.zip" in page.words
    assert f"See events.jsonl, then: lora-prep resume {run.id}" in page.words
    assert len(page.thumbnails()) == 20
    for secret in ("5ec7e7", "AKIA", "private", str(tmp_path), str(run.path)):
        assert secret not in page.html


def test_an_error_that_is_in_no_record_is_told(run: Run) -> None:
    tell(run, DatasetError("Two captions cannot be used.", why="No word.", fix="Write it."))
    words = Page.read(run.report).words
    assert "Two captions cannot be used. No word. Write it." in words


def test_a_run_without_photos_has_no_report(tmp_path: Path) -> None:
    run = new_run()
    run.update(status="submitted", training=TRAINING)
    tell(run)
    assert not run.report.exists()
