"""A zip that nobody vouches for gives the two models, or nothing."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError
from lora_prep.faces import fetch_pack
from lora_prep.faces.unpack import take_models
from tests.faces.fake_packs import raw_zip, small_pack, zip_of
from tests.origin import Answer, origin
from tests.sample import examples

pytestmark = pytest.mark.slow  # many zips are made

GOOD = zip_of()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def packed_with(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("det.onnx", b"det" * 100)
        archive.writestr("rec.onnx", b"rec")
    return file.getvalue()


def bomb() -> bytes:
    """Two members that say they are of half a gigabyte and more each."""
    data = bytearray(zip_of(other__onnx=b"x"))
    start = 0
    while (start := data.find(b"PK\x01\x02", start)) >= 0:
        data[start + 24 : start + 28] = (600 << 20).to_bytes(4, "little")
        start += 4
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(GOOD)
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def damaged() -> bytes:
    at = GOOD.find(b"det", 30 + len("det.onnx"))
    return GOOD[:at] + b"DET" + GOOD[at + 3 :]


HOSTILE = {
    "not a zip": (b"<html>hello</html>", "BadZipFile"),
    "empty": (b"", "BadZipFile"),
    "an empty zip": (raw_zip(), "det.onnx 0 times"),
    "half": (GOOD[: len(GOOD) // 2], "BadZipFile"),
    "a wrong checksum": (damaged(), "CRC"),
    "one model": (raw_zip(("det.onnx", b"det")), "rec.onnx 0 times"),
    "a model twice": (zip_of(**{"a/det__onnx": b"det"}), "det.onnx 2 times"),
    "up and out": (zip_of(**{"../../evil__onnx": b"x"}), "outside"),
    "up in the middle": (zip_of(**{"a/../../evil__onnx": b"x"}), "outside"),
    "absolute": (zip_of(**{"/etc/evil__onnx": b"x"}), "outside"),
    "backslashes": (zip_of(**{"..\\evil__onnx": b"x"}), "outside"),
    "a drive": (zip_of(**{"C:evil__onnx": b"x"}), "outside"),
    "a model up and out": (
        raw_zip(("../det.onnx", b"det"), ("rec.onnx", b"rec")), "outside",
    ),
    "a link": (raw_zip((link("det.onnx"), b"/etc/passwd"), ("rec.onnx", b"rec")), "no plain file"),
    "encrypted": (encrypted(), "encrypted"),
    "bzip2": (packed_with(zipfile.ZIP_BZIP2), "unusual"),
    "many members": (zip_of(**{f"m{n}__txt": b"" for n in range(200)}), "202 members"),
    "a bomb": (bomb(), "too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_zip_that_is_not_a_pack_is_refused(name: str, tmp_path: Path) -> None:
    data, says = HOSTILE[name]

    with origin(Answer(body=data)) as server:
        with pytest.raises(ConfigurationError) as refusal:
            fetch_pack(
                small_pack(published=False),
                tmp_path,
                accept_noncommercial=True,
                base_url=server.url,
            )

    assert says in refusal.value.why
    assert {path.name for path in tmp_path.rglob("*")} == {"faces", ".lock", "accepted.json"}


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4))))
@examples(200)
def test_no_zip_gets_anything_out_but_the_two_files(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    place = tmp_path_factory.getbasetemp() / f"zips-{os.getpid()}"
    folder = place / "a" / "pack"
    folder.mkdir(parents=True, exist_ok=True)
    data = bytearray(GOOD)
    for at, patch in changes:
        data[at : at + len(patch)] = patch
    archive = place / "pack.zip"
    archive.write_bytes(data)

    try:
        take_models(archive, small_pack().models, folder)
    except ConfigurationError as error:
        assert "zip cannot be used" in error.why
    assert {path for path in place.rglob("*") if path.is_file()} <= {
        archive, folder / "det.onnx", folder / "rec.onnx",
    }  # fmt: skip
