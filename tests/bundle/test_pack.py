"""The data set zip: one identity for one set of crops, and nothing in it but their pixels."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.bundle import count_images, pack
from lora_prep.errors import ConfigurationError
from lora_prep.model import Box, Crop
from tests.sample import examples

CONTENTS = {f"{number:04d}.jpg": bytes([number]) * (100 * number) for number in range(1, 13)}


def crops_in(folder: Path) -> list[Crop]:
    folder.mkdir(parents=True, exist_ok=True)
    crops = []
    for name, data in CONTENTS.items():
        (folder / name).write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        path, source, box = folder / name, f"Ada Lovelace/{name}", Box(1, 2, 900, 900)
        crops.append(Crop(name, path, path, source, "5" * 64, box, 900, sha256))
    return crops


def test_the_same_crops_give_the_same_bytes(tmp_path: Path) -> None:
    here = crops_in(tmp_path / "here")
    there = crops_in(tmp_path / "another person" / "there")
    for crop in there:
        os.utime(crop.path, (1e9, 1e9))
        crop.path.chmod(0o600)

    one = pack(here, tmp_path / "one.zip")
    other = pack(list(reversed(there)), tmp_path / "another person" / "other.zip")

    assert one.sha256 == other.sha256
    assert one.entries == other.entries
    assert one.path.read_bytes() == other.path.read_bytes()


def test_one_changed_byte_is_another_data_set(tmp_path: Path) -> None:
    crops = crops_in(tmp_path)
    before = pack(crops, tmp_path / "one.zip")
    crops[4].path.write_bytes(CONTENTS["0005.jpg"][:-1] + b"x")

    assert pack(crops, tmp_path / "other.zip").sha256 != before.sha256


def test_the_zip_is_flat_stored_and_says_nothing_about_its_maker(tmp_path: Path) -> None:
    bundle = pack(crops_in(tmp_path / "crops"), tmp_path / "dataset.zip")

    with zipfile.ZipFile(bundle.path) as archive:
        assert archive.testzip() is None
        assert archive.comment == b""
        assert archive.namelist() == sorted(CONTENTS)
        for info in archive.infolist():
            assert info.filename.isascii()
            assert "/" not in info.filename
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.extra == info.comment == b""
            assert info.flag_bits == 0
            assert (info.create_system, info.external_attr) == (3, 0o644 << 16)
            assert archive.read(info) == CONTENTS[info.filename]
    whole = bundle.path.read_bytes()
    assert b"Ada" not in whole
    assert str(tmp_path).encode() not in whole


def test_hashes_and_sizes_are_true(tmp_path: Path) -> None:
    bundle = pack(crops_in(tmp_path / "crops"), tmp_path / "dataset.zip")

    data = bundle.path.read_bytes()
    assert bundle.path == tmp_path / "dataset.zip"
    assert (bundle.sha256, bundle.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert {entry.name: (entry.sha256, entry.size_bytes) for entry in bundle.entries} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()
    }


def test_it_replaces_an_older_zip_and_leaves_no_part(tmp_path: Path) -> None:
    run = tmp_path / "run"
    crops = crops_in(run / "crops")
    (run / "dataset.zip").write_bytes(b"old")
    (run / "dataset.zip.part").write_bytes(b"from a run that was killed")

    pack(crops, run / "dataset.zip")

    assert count_images(run / "dataset.zip") == 12
    assert {path.name for path in run.iterdir()} == {"crops", "dataset.zip"}


def test_a_failed_pack_leaves_the_older_zip_as_it_was(tmp_path: Path) -> None:
    crops = crops_in(tmp_path / "crops")
    crops[7].path.unlink()
    target = tmp_path / "dataset.zip"
    target.write_bytes(b"old")

    with pytest.raises(FileNotFoundError):
        pack(crops, target)

    assert target.read_bytes() == b"old"


# ── count_images ──────────────────────────────────────────────────────────────────────────────


def zip_of(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return data.getvalue()


def test_pictures_are_counted_and_other_files_are_not(tmp_path: Path) -> None:
    path = tmp_path / "dataset.zip"
    path.write_bytes(zip_of("1.jpg", "2.JPEG", "set/3.png", "4.webp", "1.txt", "readme", "set/"))

    assert count_images(path) == 4


@pytest.mark.parametrize(
    "data",
    [b"", b"text", zip_of("1.jpg")[:-10], b"\x89PNG\r\n\x1a\n" + b"\0" * 100],
    ids=["empty", "text", "cut off", "a picture"],
)
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "dataset.zip"
    path.write_bytes(data)

    with pytest.raises(ConfigurationError) as refusal:
        count_images(path)

    assert str(path) in refusal.value.what
    assert refusal.value.__cause__ is not None


@pytest.mark.parametrize("name", ["missing.zip", ""], ids=["no file", "a folder"])
def test_a_zip_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        count_images(tmp_path / name)


def test_a_damaged_zip_is_counted_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset.zip"
    whole = zip_of("0001.jpg", "é.jpg")

    @examples(80)
    @hypothesis.given(
        st.lists(
            st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=3
        )
    )
    def check(changes: list[tuple[int, int]]) -> None:
        data = bytearray(whole)
        for place, value in changes:
            data[place] = value
        path.write_bytes(data)
        try:
            assert 0 <= count_images(path) <= 2
        except ConfigurationError:
            return

    check()


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, 0xFF), (46 + 8, 0xFF)],
    ids=["a version of the future", "a name that is no UTF-8"],
)
def test_a_zip_python_cannot_read_is_refused(tmp_path: Path, place: int, value: int) -> None:
    data = bytearray(zip_of("é.jpg-é.jpg"))
    data[data.index(b"PK\x01\x02") + place] = value
    path = tmp_path / "dataset.zip"
    path.write_bytes(data)

    with pytest.raises(ConfigurationError):
        count_images(path)
