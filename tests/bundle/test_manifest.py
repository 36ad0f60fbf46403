"""The manifest: the only place that ties a neutral name to a photo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_prep.bundle import pack, write_manifest
from lora_prep.model import Box, Crop


def crop(folder: Path, name: str, source: str) -> Crop:
    (folder / name).write_bytes(b"pixels")
    path, box = folder / name, Box(1.04, 2, 900, 900)
    return Crop(name, path, path, source, "5" * 64, box, 512, "6" * 64)


def test_it_says_what_the_zip_was_made_of(tmp_path: Path) -> None:
    crops = [crop(tmp_path, "0001.jpg", "été/ada.heic"), crop(tmp_path, "0002.jpg", "b.png")]
    bundle = pack(crops, tmp_path / "dataset.zip")

    write_manifest(tmp_path / "manifest.json", bundle, crops)

    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["schema"] == 1
    assert manifest["zip"] == {"sha256": bundle.sha256, "bytes": bundle.size_bytes}
    assert [image["name"] for image in manifest["images"]] == ["0001.jpg", "0002.jpg"]
    assert manifest["images"][0] == {
        "name": "0001.jpg",
        "sha256": "6" * 64,
        "size_px": 512,
        "source": "été/ada.heic",
        "source_sha256": "5" * 64,
        "box": [1.0, 2, 900, 900],
        "caption": None,
    }
    assert manifest["face_pack"] == manifest["overrides"] == {}
    assert not list(tmp_path.glob("*.part"))


def test_the_face_pack_captions_and_decisions_by_hand_are_recorded(tmp_path: Path) -> None:
    crops = [replace(crop(tmp_path, "0001.jpg", "a.jpg"), caption="p3r5on, très près")]
    bundle = pack(crops, tmp_path / "dataset.zip")
    face_pack = {"name": "open", "licence": "MIT, CC0", "sha256": "7" * 64}
    overrides: dict[str, dict[str, Any]] = {
        "8" * 64: {"verdict": "leave_out", "crop": None},
        "9" * 64: {"verdict": None, "crop": Box(1, 2, 900, 900).to_json()},
    }

    write_manifest(
        tmp_path / "manifest.json", bundle, crops, face_pack=face_pack, overrides=overrides
    )

    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["face_pack"] == face_pack
    assert manifest["overrides"] == overrides
    assert manifest["images"][0]["caption"] == "p3r5on, très près"


def test_it_replaces_an_older_one_whole(tmp_path: Path) -> None:
    crops = [crop(tmp_path, "0001.jpg", "a.jpg")]
    bundle = pack(crops, tmp_path / "dataset.zip")
    path = tmp_path / "manifest.json"

    write_manifest(path, bundle, crops * 9)
    write_manifest(path, bundle, crops)

    assert len(json.loads(path.read_text(encoding="utf-8"))["images"]) == 1


def test_it_is_not_in_the_zip(tmp_path: Path) -> None:
    crops = [crop(tmp_path, "0001.jpg", "Ada Lovelace.jpg")]
    bundle = pack(crops, tmp_path / "dataset.zip")

    write_manifest(tmp_path / "manifest.json", bundle, crops)

    assert b"Lovelace" not in bundle.path.read_bytes()


def test_a_name_that_is_no_utf_8_is_written(tmp_path: Path) -> None:
    crops = [crop(tmp_path, "0001.jpg", "caf\udce9.jpg")]
    bundle = pack(crops, tmp_path / "dataset.zip")

    write_manifest(tmp_path / "manifest.json", bundle, crops)

    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["images"][0]["source"] == "caf\udce9.jpg"
