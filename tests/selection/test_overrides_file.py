"""The file decisions made by hand stand in: read whole, or refused with its reason."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.errors import ConfigurationError
from lora_prep.model import Box
from lora_prep.selection import (
    Override,
    overrides_path,
    read_overrides,
    write_override,
)
from tests.sample import examples

HASH = "b7f9f3c8f984511427d8df0d84e85b7d9c50fc733d226a007e7c65a20c986a7e"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "overrides.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_kind_of_decision_is_read(tmp_path: Path) -> None:
    text = f"""
schema = 1
[photos.{"a" * 64}]
file = "ada_01.jpg"
verdict = "keep"
[photos.{"b" * 64}]
verdict = "leave_out"
[photos.{"c" * 64}]
crop = [120, 80, 900]
[photos.{"d" * 64}]
verdict = "keep"
crop = [0, 0, 1]
[photos.{"e" * 64}]
"""

    assert read_overrides(written(tmp_path, text)) == {
        "a" * 64: Override("keep"),
        "b" * 64: Override("leave_out"),
        "c" * 64: Override(None, Box(120, 80, 900, 900)),
        "d" * 64: Override("keep", Box(0, 0, 1, 1)),
        "e" * 64: Override(),
    }


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    text = f'\ufeff[photos.{HASH}]\nverdict = "keep"\n'

    assert read_overrides(written(tmp_path, text)) == {HASH: Override("keep")}


def test_no_file_is_no_decision_unless_it_was_asked_for(tmp_path: Path) -> None:
    assert read_overrides(tmp_path / "none.toml") == {}
    assert read_overrides(written(tmp_path, "")) == {}
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_overrides(tmp_path / "none.toml", needed=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not toml", "Expected '='"),
        (b"\xff\xfe\x00", "decode"),
        ("x = 1", r"\[photos.SHA256\]"),
        ("photos = 5", r"\[photos.SHA256\]"),
        ("[[photos]]\nverdict = 'keep'", r"\[photos.SHA256\]"),
        ("[photo.x]", r"\[photos.SHA256\]"),
        ("[photos.ada_01]", "'ada_01' is no SHA-256"),
        (f"[photos.{HASH.upper()}]", "no SHA-256"),
        (f"[photos.{HASH[:-1]}]", "no SHA-256"),
        (f'[photos."{HASH}\\n"]', "no SHA-256"),
        (f"[photos]\n{HASH} = 'keep'", "may hold file, verdict and crop"),
        (f"[photos.{HASH}]\nverdikt = 'keep'", "may hold file, verdict and crop"),
        (f"[photos.{HASH}]\nverdict = 'Keep'", "not 'Keep'"),
        (f"[photos.{HASH}]\nverdict = true", "not True"),
        (f"[photos.{HASH}]\nverdict = ['keep']", r"not \['keep'\]"),
        (f"[photos.{HASH}]\ncrop = 900", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = []", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [1, 2]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [1, 2, 3, 4]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [-1, 2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [1, -2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [1, 2, 0]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [1.0, 2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [true, 2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = ['1', 2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\ncrop = [nan, 2, 900]", "left, top, side"),
        (f"[photos.{HASH}]\n[photos.{HASH}]", "twice|overwrite|declare"),
        ("photos = " + "[" * 5000, "nested|Invalid"),
        (f"[photos.{HASH}]\nfile = {'9' * 5000}", "digits"),
    ],
)
def test_a_malformed_file_is_refused_with_its_reason(
    tmp_path: Path, text: str | bytes, why: str
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigurationError) as refusal:
        read_overrides(path)

    assert str(path) in refusal.value.what
    assert re.search(why, refusal.value.why)
    assert "inspect --json" in refusal.value.fix


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        read_overrides(tmp_path)


values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-10, 2000),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["keep", "leave_out", "crop", "", "K\u0000"]),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=5,
)
tables = st.dictionaries(
    st.sampled_from([HASH, "a" * 64, "A" * 64, "ada"]),
    st.dictionaries(st.sampled_from(["file", "verdict", "crop", "side"]), values, max_size=3),
    max_size=2,
)


@examples(80)
@hypothesis.given(tables)
def test_any_values_are_read_or_refused(tables: dict[str, dict[str, Any]]) -> None:
    lines = []
    for key, table in tables.items():
        lines.append(f"[photos.{key}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    path = written(Path.cwd(), "\n".join(lines))

    fit = all(
        re.fullmatch("[0-9a-f]{64}", key)
        and "side" not in table
        and table.get("verdict", "keep") in ("keep", "leave_out")
        and _is_crop(table.get("crop", [0, 0, 1]))
        for key, table in tables.items()
    )
    if not fit:
        with pytest.raises(ConfigurationError):
            read_overrides(path)
        return
    read = read_overrides(path)
    assert set(read) == set(tables)
    for key, override in read.items():
        assert override.verdict == tables[key].get("verdict")
        crop = override.crop and [override.crop.x, override.crop.y, override.crop.width]
        assert crop == tables[key].get("crop")


def _is_crop(value: Any) -> bool:
    return (
        isinstance(value, list)
        and [type(number) for number in value] == [int, int, int]
        and value[0] >= 0
        and value[1] >= 0
        and value[2] >= 1
    )


@examples(60)
@hypothesis.given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read_overrides(written(Path.cwd(), data))
    except ConfigurationError:
        return


def test_each_folder_has_a_file_of_its_own(tmp_path: Path) -> None:
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "anna")
    anna, ben, link = (overrides_path(tmp_path, tmp_path / one) for one in ("anna", "ben", "link"))

    assert anna.parent == tmp_path / "overrides"
    assert anna == link == overrides_path(tmp_path, tmp_path / "ben" / ".." / "anna")
    assert anna != ben
    assert "anna" not in anna.name


def test_a_folder_whose_name_is_no_utf_8_has_one_too(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")

    assert overrides_path(tmp_path, tmp_path / name).suffix == ".toml"


# ── written ───────────────────────────────────────────────────────────────────────────────────

OTHER = "c" * 64
SHAS = st.sampled_from([HASH, OTHER, "d" * 64])
OVERRIDES = st.builds(
    Override,
    st.sampled_from(["keep", "leave_out", None]),
    st.none()
    | st.builds(
        lambda left, top, side: Box(left, top, side, side),
        st.integers(0, 9000),
        st.integers(0, 9000),
        st.integers(1, 9000),
    ),
)


def test_the_first_decision_makes_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "overrides" / "folder.toml"

    said = write_override(path, HASH, Override("keep", Box(1, 2, 600, 600)), file='a "b".jpg')

    assert said == read_overrides(path) == {HASH: Override("keep", Box(1, 2, 600, 600))}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["folder.toml"]


def test_comments_and_other_photos_stay_as_they_are(tmp_path: Path) -> None:
    text = f"""# my photos
schema = 1

[photos.{OTHER}]  # of another folder
file = "x.jpg"
crop = [1, 2, 3]
[photos.{HASH}]
# the best one
verdict = "keep"
"""
    path = written(tmp_path, text)

    write_override(path, HASH, Override("leave_out"), file="a.jpg")

    changed = text.replace('# the best one\nverdict = "keep"', "# the best one").replace(
        f"[photos.{HASH}]", f'[photos.{HASH}]\nfile = "a.jpg"\nverdict = "leave_out"'
    )
    assert path.read_text() == changed
    write_override(path, HASH, Override(), file="a.jpg")
    assert path.read_text() == text.partition(f"[photos.{HASH}]")[0]


@pytest.mark.parametrize(
    "text",
    [
        f'photos = {{ "{OTHER}" = {{ verdict = "keep", file = "x" }}, "{HASH}" = {{}} }}',
        f'photos.{OTHER}.verdict = "keep"\nphotos.{HASH}.crop = [1, 2, 3]',
        f"[photos.{OTHER}]\nverdict = 'keep'\n[photos.{HASH}]\ncrop = [\n 1,\n 2,\n 3]\n",
        f'[photos.{OTHER}]\nverdict = "keep"\n[photos]\n"{HASH}" = {{ crop = [1, 2, 3] }}',
        f'[ photos . "{OTHER}" ]\r\n"verdict" = "keep"\r\n',
    ],
)
def test_whatever_way_the_file_is_written(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)

    write_override(path, HASH, Override("leave_out"), file="a.jpg")

    assert read_overrides(path) == {OTHER: Override("keep"), HASH: Override("leave_out")}


@hypothesis.given(st.lists(st.tuples(SHAS, OVERRIDES, st.text(max_size=8)), max_size=6))
@examples(15)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, Override, str]]
) -> None:
    path = tmp_path_factory.mktemp("written") / "overrides.toml"
    known: dict[str, Override] = {}
    for sha256, override, name in changes:
        known[sha256] = override
        assert write_override(path, sha256, override, file=name) == read_overrides(path)
    assert read_overrides(path) == {
        sha256: one for sha256, one in known.items() if one != Override()
    }


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "overrides.toml"

    write_override(path, HASH, Override("keep"), file="a\udcff\x7f\n\\.jpg")

    assert read_overrides(path) == {HASH: Override("keep")}


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, f'[photos.{OTHER}]\nverdict = "keep"\n')

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_override(path, HASH, Override("keep"), file="a.jpg")
    assert read_overrides(path) == {OTHER: Override("keep")}
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_no_overrides_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "[[")

    with pytest.raises(ConfigurationError):
        write_override(path, HASH, Override("keep"), file="a.jpg")
    assert path.read_text() == "[["
