"""Packs that are real, small and free: the open pack's models under other names, and their zips."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import ConfigurationError
from lora_prep.faces import (
    KNOWN_PACKS,
    OPEN_PACK,
    KnownPack,
    ModelFile,
    find_pack,
    verify_pack,
)
from tests.cli.schemas import valid

DETECTOR = OPEN_PACK.folder / "det_yunet.onnx"
RECOGNISER = OPEN_PACK.folder / "rec_dlib128.onnx"
NAME = "small"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def small_pack(
    *, published: bool = True, detector: bytes = b"det", recogniser: bytes = b"rec"
) -> KnownPack:
    """A pack of two files that are no models; published: their hashes are known beforehand."""
    return KnownPack(
        NAME,
        ModelFile("det.onnx", sha256(detector) if published else None),
        ModelFile("rec.onnx", sha256(recogniser) if published else None),
        archive_bytes=1_000_000,
    )


def real_pack() -> KnownPack:
    return KnownPack(
        NAME,
        ModelFile("det.onnx", sha256(DETECTOR.read_bytes())),
        ModelFile("rec.onnx", sha256(RECOGNISER.read_bytes())),
        archive_bytes=7_000_000,
        metric=OPEN_PACK.metric,
        cut=OPEN_PACK.cut,
        detection_threshold=OPEN_PACK.detection_threshold,
    )


def known_too(monkeypatch: pytest.MonkeyPatch, pack: KnownPack) -> KnownPack:
    """Let a name of ours be as known as buffalo_l."""
    monkeypatch.setitem(KNOWN_PACKS, pack.name, pack)
    return pack


def zip_of(**members: bytes) -> bytes:
    """A zip of det.onnx and rec.onnx, and of members as given: "a__b" stands for a.b."""
    all_members = {"det__onnx": b"det", "rec__onnx": b"rec", **members}
    return raw_zip(*((name.replace("__", "."), data) for name, data in all_members.items()))


def raw_zip(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def bare_folder(folder: Path, detector: str = "det.onnx", recogniser: str = "rec.onnx") -> Path:
    """The open pack's two models in a folder without a word about them."""
    folder.mkdir(parents=True)
    shutil.copy(DETECTOR, folder / detector)
    shutil.copy(RECOGNISER, folder / recogniser)
    return folder


def refused(wanted: str | Path, home: Path, *, accept: bool = True) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        verify_pack(find_pack(str(wanted), home, accept_noncommercial=accept))
    error = refusal.value
    assert all((error.what, error.why, error.fix))
    return error


def declare(folder: Path, **said: Any) -> Path:
    (folder / "pack.json").write_text(json.dumps(said))
    valid(said, "faces-pack")
    return folder


def put_fetched(home: Path, name: str = "small", **said: Any) -> Path:
    """Put what `fetch` would have put."""
    folder = home / "faces" / name
    folder.mkdir(parents=True)
    files = {"detector": ("det.onnx", b"det"), "recogniser": ("rec.onnx", b"rec")}
    for file, data in files.values():
        (folder / file).write_bytes(data)
    pins = {task: {"file": file, "sha256": sha256(data)} for task, (file, data) in files.items()}
    return declare(folder, **{**pins, **said})
