"""Which pack a name or a folder means, what its numbers are, and what its files must be."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError
from lora_prep.faces import (
    KNOWN_PACKS,
    OPEN_PACK,
    FaceAnalyser,
    FacePack,
    ModelFile,
    find_pack,
    locate_pack,
    verify_pack,
)
from lora_prep.faces.declaration import read_declaration
from lora_prep.faces.find import task_of
from tests.faces.fake_packs import (
    DETECTOR,
    RECOGNISER,
    bare_folder,
    declare,
    known_too,
    put_fetched,
    refused,
    sha256,
    small_pack,
)
from tests.sample import examples

pytestmark = pytest.mark.slow  # packs are copied and hashed

# ── names ─────────────────────────────────────────────────────────────────────────────────────


def test_open_is_the_pack_that_comes_along_and_asks_for_nothing(tmp_path: Path) -> None:
    assert find_pack("open", tmp_path, accept_noncommercial=False) is OPEN_PACK
    assert len(verify_pack(OPEN_PACK)) == 64
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", KNOWN_PACKS)
def test_a_known_pack_that_was_not_fetched_says_how_to_fetch_it(name: str, tmp_path: Path) -> None:
    error = refused(name, tmp_path)

    assert f"lora-prep faces fetch {name}" in error.fix
    assert "MB" in error.fix


@pytest.mark.parametrize(
    ("wanted", "near"), [("bufalo_l", "buffalo_l"), ("opne", "open"), ("", ""), ("xxxxxxxx", "")]
)
def test_an_unknown_name_is_refused_with_the_nearest(
    wanted: str, near: str, tmp_path: Path
) -> None:
    assert near in refused(wanted, tmp_path).why


@pytest.mark.parametrize("wanted", ["/nowhere", "./buffalo_l", "a/b", "nul/\0", "x/" * 3000])
def test_a_folder_that_is_not_there_is_refused(wanted: str, tmp_path: Path) -> None:
    assert "is not there" in refused(wanted, tmp_path).what


def test_a_folder_of_that_name_in_the_working_folder_does_not_win(tmp_path: Path) -> None:
    bare_folder(Path("buffalo_l"))

    assert "not fetched" in refused("buffalo_l", tmp_path).what
    meant = find_pack("./buffalo_l", tmp_path, accept_noncommercial=True)
    assert meant.folder == Path("buffalo_l").resolve()
    assert meant.folder.is_absolute()


def test_a_folder_called_open_does_not_win_either(tmp_path: Path) -> None:
    bare_folder(Path("open"))

    assert find_pack("open", tmp_path, accept_noncommercial=False) is OPEN_PACK


def test_a_folder_may_be_given_without_a_slash_and_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_folder(Path("models"))
    monkeypatch.setenv("HOME", str(Path().resolve()))

    for wanted in ("models", "~/models", "../working/models"):
        assert locate_pack(wanted, tmp_path).folder == Path("models").resolve()


# ── a fetched pack ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("published", [True, False])
def test_a_fetched_pack_is_checked_whenever_it_is_loaded(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_too(monkeypatch, small_pack(published=published))
    folder = put_fetched(tmp_path)
    pack = find_pack("small", tmp_path, accept_noncommercial=True)
    assert (pack.folder, pack.pinned, pack.noncommercial) == (folder.resolve(), True, True)
    assert len(verify_pack(pack)) == 64

    (folder / "rec.onnx").write_bytes(b"other")

    error = refused("small", tmp_path)
    assert "rec.onnx does not match" in error.why
    assert error.fix == "Fetch it again: lora-prep faces fetch small"
    with pytest.raises(ConfigurationError):
        FaceAnalyser(pack)


def test_a_published_hash_counts_more_than_a_changed_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_too(monkeypatch, small_pack())
    folder = put_fetched(tmp_path, recogniser={"file": "rec.onnx", "sha256": sha256(b"other")})
    (folder / "rec.onnx").write_bytes(b"other")

    assert "does not match" in refused("small", tmp_path).why


def test_the_numbers_of_a_fetched_pack_are_those_of_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = known_too(monkeypatch, small_pack())
    put_fetched(tmp_path, cut=0.01, metric="euclidean", noncommercial=False)

    pack = locate_pack("small", tmp_path)

    assert (pack.metric, pack.cut, pack.noncommercial) == ("cosine", known.cut, True)


def test_the_hash_of_a_pack_depends_on_both_models(tmp_path: Path) -> None:
    hashes = set()
    for detector, recogniser in [(b"a", b"b"), (b"b", b"a"), (b"a", b"c")]:
        (tmp_path / "d.onnx").write_bytes(detector)
        (tmp_path / "r.onnx").write_bytes(recogniser)
        models = (ModelFile("d.onnx"), ModelFile("r.onnx"))
        hashes.add(verify_pack(replace(OPEN_PACK, folder=tmp_path, models=models)))
    assert len(hashes) == 3


# ── folders ───────────────────────────────────────────────────────────────────────────────────


def test_a_folder_with_a_manifest_is_the_open_pack_when_its_models_are(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OPEN_PACK.folder, tmp_path / "copy"))

    pack = find_pack(str(folder), tmp_path, accept_noncommercial=False)

    assert pack == replace(OPEN_PACK, folder=folder.resolve(), remedy=pack.remedy)
    assert "Copy" in pack.remedy  # not: install lora_prep again
    assert verify_pack(pack) == verify_pack(OPEN_PACK)


def with_manifest(folder: Path, **changes: Any) -> Path:
    bare_folder(folder)
    tasks = {
        "detection": {"file": "det.onnx", "sha256": sha256(b"d")},
        "recognition": {"file": "rec.onnx", "sha256": sha256(b"r")},
    }
    (folder / "det.onnx").write_bytes(b"d")
    (folder / "rec.onnx").write_bytes(b"r")
    manifest = {"manifest_version": 2, "tasks": tasks, **changes}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_manifest_of_others_is_believed_and_checked(tmp_path: Path) -> None:
    folder = with_manifest(tmp_path / "pack")
    pack = find_pack(str(folder), tmp_path, accept_noncommercial=True)
    assert (pack.name, pack.metric, pack.models, pack.pinned) == ("pack", "cosine", None, True)
    assert verify_pack(pack)

    (folder / "det.onnx").write_bytes(b"x")

    assert "det.onnx does not match" in refused(folder, tmp_path).why


@pytest.mark.parametrize(
    "changes", [{"tasks": {}}, {"tasks": []}, {"tasks": {"detection": {"file": "det.onnx"}}}]
)
def test_a_manifest_that_does_not_state_its_models_is_refused(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    error = refused(with_manifest(tmp_path / "pack", **changes), tmp_path)

    assert "manifest.json" in error.why
    assert "sha256" in error.fix


@pytest.mark.parametrize("text", ["{}", "[]", '{"manifest_version": 1}', "garbage", "[" * 100_000])
def test_a_manifest_that_insightface_would_not_go_by_changes_nothing(
    text: str, tmp_path: Path
) -> None:
    folder = bare_folder(tmp_path / "pack")
    (folder / "manifest.json").write_text(text)

    assert locate_pack(str(folder), tmp_path).models == (
        ModelFile("det.onnx"), ModelFile("rec.onnx"),
    )  # fmt: skip


def test_bare_models_are_told_apart_as_insightface_does(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "mine", detector="b.onnx", recogniser="a.onnx")
    (folder / "notes.txt").write_text("x")
    (folder / "broken.onnx").write_bytes(b"no model")

    pack = find_pack(str(folder), tmp_path, accept_noncommercial=True)

    assert pack.models == (ModelFile("b.onnx"), ModelFile("a.onnx"))
    assert (pack.name, pack.metric, pack.cut, pack.pinned) == ("mine", "cosine", 0.55, False)
    assert pack.noncommercial
    assert len(verify_pack(pack)) == 64


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "detection: none; recognition: none"),
        ([DETECTOR], "detection: x0.onnx; recognition: none"),
        ([DETECTOR, RECOGNISER, RECOGNISER], "recognition: x1.onnx, x2.onnx"),
        ([DETECTOR, DETECTOR, RECOGNISER], "detection: x0.onnx, x1.onnx"),
    ],
)
def test_a_folder_must_hold_one_of_each(files: list[Path], says: str, tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"x{number}.onnx")

    error = refused(folder, tmp_path)

    assert says in error.why
    assert "pack.json" in error.fix


def test_pack_json_chooses_among_many_and_gives_the_numbers(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "pack")
    shutil.copy(RECOGNISER, folder / "another.onnx")
    declare(
        folder,
        schema=1,
        name="ours",
        metric="euclidean",
        cut=0.6,
        detection_threshold=0.6,
        licence="MIT",
        noncommercial=False,
        detector={"file": "det.onnx"},
        recogniser={"file": "rec.onnx", "sha256": sha256(RECOGNISER.read_bytes())},
    )

    pack = find_pack(str(folder), tmp_path, accept_noncommercial=False)

    assert pack == FacePack(
        name="ours",
        folder=folder.resolve(),
        metric="euclidean",
        cut=0.6,
        detection_threshold=0.6,
        licence="MIT",
        noncommercial=False,
        models=(
            ModelFile("det.onnx"),
            ModelFile("rec.onnx", sha256(RECOGNISER.read_bytes())),
        ),
    )
    assert not pack.pinned
    (folder / "rec.onnx").write_bytes(b"x")
    assert "rec.onnx does not match" in refused(folder, tmp_path).why


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("garbage", "JSON"),
        ("[]", "object"),
        ('{"metirc": "cosine"}', "metirc"),
        ('{"metric": "manhattan"}', "metric"),
        ('{"cut": 0}', "cut"),
        ('{"cut": 1e999}', "cut"),
        ('{"cut": NaN}', "cut"),
        ('{"detection_threshold": 1}', "detection_threshold"),
        ('{"detector": {"file": "det.onnx"}}', "go together"),
        ('{"detector": {"file": "../d.onnx"}, "recogniser": {"file": "r.onnx"}}', "../d.onnx"),
        ('{"detector": {"file": "/d.onnx"}, "recogniser": {"file": "r.onnx"}}', "/d.onnx"),
        ('{"schema": 2}', "schema"),
        ('{"name": "' + "x" * 100_000 + '"}', "JSON"),
    ],
)
def test_a_pack_json_that_is_wrong_is_refused_by_its_path(
    text: str, says: str, tmp_path: Path
) -> None:
    folder = bare_folder(tmp_path / "pack")
    (folder / "pack.json").write_text(text)

    error = refused(folder, tmp_path)

    assert str(folder / "pack.json") in error.what
    assert says in error.why


@pytest.mark.parametrize(
    ("detector", "recogniser", "name"),
    [
        ("det_10g.onnx", "w600k_r50.onnx", "buffalo_l"),
        ("det_2.5g.onnx", "w600k_r50.onnx", "buffalo_m"),
        ("det_500m.onnx", "w600k_mbf.onnx", "buffalo_sc"),
        ("scrfd_10g_bnkps.onnx", "glintr100.onnx", "antelopev2"),
    ],
)
def test_a_folder_of_a_known_pack_is_that_pack_and_must_have_its_bytes(
    detector: str, recogniser: str, name: str, tmp_path: Path
) -> None:
    folder = bare_folder(tmp_path / "x", detector, recogniser)
    (folder / "1k3d68.onnx").write_bytes(b"landmarks")

    pack = locate_pack(str(folder), tmp_path)

    assert (pack.name, pack.models) == (name, KNOWN_PACKS[name].models)
    error = refused(folder, tmp_path)
    assert "does not match" in error.why
    assert name in error.fix


def test_other_models_under_known_names_are_used_when_pack_json_says_so(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "x", "det_10g.onnx", "w600k_r50.onnx")
    declare(folder, detector={"file": "det_10g.onnx"}, recogniser={"file": "w600k_r50.onnx"})

    assert locate_pack(str(folder), tmp_path).name == "x"
    assert verify_pack(locate_pack(str(folder), tmp_path))


@given(st.binary(max_size=200) | st.tuples(st.integers(0, 5000), st.binary(max_size=8)))
@examples(60)
def test_no_bytes_make_the_look_at_a_model_fail(
    tmp_path_factory: pytest.TempPathFactory, data: bytes | tuple[int, bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"model-{os.getpid()}.onnx"
    if isinstance(data, tuple):  # the real detector with a few bytes overwritten
        whole = bytearray(DETECTOR.read_bytes())
        whole[data[0] : data[0] + len(data[1])] = data[1]
        data = bytes(whole)
    path.write_bytes(data)

    assert task_of(path) in ("detection", "recognition", None)


@given(st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.dictionaries(
        st.sampled_from(["cut", "metric", "detector", "file", "name"]) | st.text(max_size=4),
        inner, max_size=4,
    ), max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
@examples(100)
def test_no_pack_json_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"declared-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    (folder / "pack.json").write_bytes(data)

    try:
        declaration = read_declaration(folder)
    except ConfigurationError:
        return
    assert declaration is not None
    (folder / "pack.json").write_text(declaration.to_text())
    assert read_declaration(folder) == declaration
