"""Packs that are not the one that comes along, really loaded and run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lora_prep.errors import ConfigurationError
from lora_prep.faces import FaceAnalyser, fetch_pack, find_pack
from tests.faces.fake_packs import (
    DETECTOR,
    RECOGNISER,
    bare_folder,
    declare,
    known_too,
    raw_zip,
    real_pack,
)
from tests.origin import Answer, origin
from tests.sample import SAMPLE_DATA

pytestmark = pytest.mark.slow  # the real models are loaded and run


def test_bare_models_see_what_the_open_pack_sees(tmp_path: Path) -> None:
    folder = declare(
        bare_folder(tmp_path / "x"), metric="euclidean", cut=0.6, detection_threshold=0.6,
        licence="MIT and CC0", noncommercial=False,
    )  # fmt: skip
    bare = FaceAnalyser(find_pack(str(folder), tmp_path, accept_noncommercial=False))
    ours = FaceAnalyser()
    assert bare.fingerprint == ours.fingerprint

    with Image.open(SAMPLE_DATA / "people/ada/ada_01.jpg") as photo:
        picture = photo.convert("RGB")
    (face,) = bare.detect(picture).faces
    assert (face,) == ours.detect(picture).faces
    assert len(bare.embed(picture, face)) == 128
    assert bare.embed(picture, face) == ours.embed(picture, face)


@pytest.mark.parametrize("swapped", [True, False], ids=["swapped", "garbage"])
def test_models_that_are_none_are_a_configuration_error(swapped: bool, tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "x", *(["rec.onnx", "det.onnx"] if swapped else []))
    if not swapped:
        (folder / "rec.onnx").write_bytes(b"garbage")
    declare(folder, detector={"file": "det.onnx"}, recogniser={"file": "rec.onnx"})
    pack = find_pack(str(folder), tmp_path, accept_noncommercial=True)

    with pytest.raises(ConfigurationError, match="cannot be loaded") as refusal:
        FaceAnalyser(pack).detect(Image.new("RGB", (200, 200)))

    assert refusal.value.fix == pack.remedy


def test_a_fetched_pack_finds_and_knows_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = known_too(monkeypatch, real_pack())
    data = raw_zip(
        ("small/det.onnx", DETECTOR.read_bytes()),
        ("small/rec.onnx", RECOGNISER.read_bytes()),
        ("small/genderage.onnx", b"not used"),
    )
    with origin(Answer(body=data)) as server:
        fetch_pack(known, tmp_path, accept_noncommercial=True, base_url=server.url)

    analyser = FaceAnalyser(find_pack("small", tmp_path, accept_noncommercial=False))

    with Image.open(SAMPLE_DATA / "people/ada/ada_01.jpg") as photo:
        picture = photo.convert("RGB")
    (face,) = analyser.detect(picture).faces
    assert face.score > 0.8
    assert len(analyser.embed(picture, face)) == 128
    assert analyser.fingerprint == FaceAnalyser().fingerprint
