"""The manifest: the only place that ties a neutral name to a photo."""

from __future__ import annotations

import json
from pathlib import Path

from lora_prep.bundle import pack, write_manifest
from lora_prep.model import Box, Crop


def crop(folder: Path, name: str, source: str) -> Crop:
    (folder / name).write_bytes(b"pixels")
    return Crop(name, folder / name, source, "5" * 64, Box(1.04, 2, 900, 900), 512, "6" * 64)


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
    }
    assert not list(tmp_path.glob("*.part"))


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
