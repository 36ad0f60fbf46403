"""A pack that is not whole, a system that lacks a library, and what an import costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from lora_prep.errors import ConfigurationError, MissingDependency
from lora_prep.faces import OPEN_PACK, FaceAnalyser, ModelFile
from tests.sample import a_face

pytestmark = pytest.mark.slow  # models are loaded, interpreters started

DETECTOR, RECOGNISER, MANIFEST = "det_yunet.onnx", "rec_dlib128.onnx", "manifest.json"
HEAVY = ["insightface", "cv2", "onnxruntime", "numpy", "PIL"]
PICTURE = Image.new("RGB", (64, 64), "grey")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def forget_the_hashes(path: Path) -> None:
    manifest = json.loads(path.read_text())
    for task in manifest["tasks"].values():
        del task["sha256"]
    path.write_text(json.dumps(manifest))


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        (DETECTOR, flip_a_byte),
        (RECOGNISER, flip_a_byte),
        (DETECTOR, Path.unlink),
        (RECOGNISER, Path.unlink),
        (MANIFEST, Path.unlink),
        (MANIFEST, garbage),
        (MANIFEST, forget_the_hashes),
    ],
)
def test_a_pack_that_is_not_as_it_was_shipped_is_refused(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(OPEN_PACK.folder, tmp_path / "pack"))
    harm(folder / name)

    with pytest.raises(ConfigurationError) as refusal:
        FaceAnalyser(replace(OPEN_PACK, folder=folder))

    assert refusal.value.code == "configuration"
    assert "pack" in refusal.value.what
    assert len(refusal.value.why) > 10


@pytest.mark.parametrize("exists", [True, False], ids=["an empty folder", "no folder"])
def test_a_pack_that_is_not_there_is_refused_without_asking_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    from insightface.app import face_analysis

    downloads = []
    monkeypatch.setattr(
        face_analysis,
        "ensure_available",
        lambda *given, **_: downloads.append(given) or str(tmp_path),
    )
    folder = tmp_path / "pack"
    if exists:
        folder.mkdir()

    with pytest.raises(ConfigurationError) as refusal:
        FaceAnalyser(replace(OPEN_PACK, folder=folder))

    assert not downloads
    assert len(refusal.value.why) > 10


class _Broken(ModuleType):
    """A package whose import fails in a shared library, as OpenCV's does without libGL."""

    def __getattr__(self, name: str) -> object:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")


def test_a_missing_system_library_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "insightface.app", _Broken("insightface.app"))
    analyser = FaceAnalyser()  # which only checks its files

    with pytest.raises(MissingDependency) as missing:
        analyser.detect(PICTURE)

    assert missing.value.code == "missing_dependency"
    assert "libGL.so.1" in missing.value.why
    assert "libgl1" in missing.value.fix
    assert isinstance(missing.value.__cause__, ImportError)


def test_a_missing_python_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    analyser = FaceAnalyser()

    with pytest.raises(MissingDependency) as missing:
        analyser.embed(PICTURE, a_face())

    assert "insightface" in missing.value.why
    assert "pip install" in missing.value.fix


def test_models_that_are_none_are_refused_when_they_are_first_used(tmp_path: Path) -> None:
    for name in ("det.onnx", "rec.onnx"):
        (tmp_path / name).write_bytes(b"no model at all")
    models = (ModelFile("det.onnx"), ModelFile("rec.onnx"))
    analyser = FaceAnalyser(replace(OPEN_PACK, name="mine", folder=tmp_path, models=models))

    for _ in range(2):
        with pytest.raises(ConfigurationError) as refusal:
            analyser.detect(PICTURE)

    assert "'mine'" in refusal.value.what
    assert refusal.value.fix == OPEN_PACK.remedy


def test_making_an_analyser_loads_no_model_library() -> None:
    program = f"""import sys, lora_prep.faces
analyser = lora_prep.faces.FaceAnalyser()
print([name for name in {HEAVY} if name in sys.modules], len(analyser.fingerprint))"""

    assert printed_by(program) == "[] 64"


def test_the_fingerprint_is_that_of_the_models(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OPEN_PACK.folder, tmp_path / "pack"))
    same = FaceAnalyser(replace(OPEN_PACK, folder=folder, name="other"))
    unpinned = (ModelFile(DETECTOR), ModelFile(RECOGNISER))
    flip_a_byte(folder / RECOGNISER)
    other = FaceAnalyser(replace(OPEN_PACK, folder=folder, models=unpinned))

    assert same.fingerprint == FaceAnalyser().fingerprint != other.fingerprint


def printed_by(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    return done.stdout.strip()


def test_importing_the_room_loads_no_model_library() -> None:
    program = f"import sys, lora_prep.faces; print([n for n in {HEAVY} if n in sys.modules])"

    assert printed_by(program) == "[]"


def test_a_module_that_nothing_uses_is_imported_when_something_does() -> None:
    program = """import sys
from PIL import Image
from lora_prep.faces import FaceAnalyser
FaceAnalyser().detect(Image.new("RGB", (64, 64)))
before = "scipy.spatial._qhull" in sys.modules
from scipy.spatial import Delaunay
print(before, len(Delaunay([(0, 0), (1, 0), (0, 1)]).simplices))"""

    assert printed_by(program) == "False 1"
