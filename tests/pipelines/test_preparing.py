"""Settings meet the rooms: what is remembered, and for whom."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_prep.settings import load_settings
from pipelines.preparing import inspect_folder
from tests.faces.fake_packs import bare_folder, declare
from tests.sample import SAMPLE_DATA


@pytest.mark.slow
def test_what_one_threshold_let_pass_is_not_remembered_for_another(tmp_path: Path) -> None:
    photos, pack = tmp_path / "photos", bare_folder(tmp_path / "pack")
    photos.mkdir()
    shutil.copy(SAMPLE_DATA / "people/ada/ada_01.jpg", photos)
    flags = {"faces": {"pack": str(pack), "accept_noncommercial": True}}

    usable = []
    for threshold in (0.6, 0.99, 0.6):
        declare(pack, metric="euclidean", cut=0.6, detection_threshold=threshold)
        usable.append(len(inspect_folder(photos, load_settings(flags)).selection.usable))

    assert usable == [1, 0, 1]
