"""Captions travel along as they are, and a set with one that cannot be used is refused."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.bundle import pack, read_captions
from lora_prep.errors import CaptionInvalid
from lora_prep.model import Box, Crop, Photo
from tests.sample import a_photo, as_ordinary_user, examples

WORD = "p3r5on"


def photo_in(folder: Path, name: str = "ada.jpg", caption: bytes | str | None = None) -> Photo:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if caption is not None:
        data = caption.encode() if isinstance(caption, str) else caption
        path.with_suffix(".txt").write_bytes(data)
    return replace(a_photo(name), path=path)


def refused(*photos: Photo, word: str = WORD) -> CaptionInvalid:
    with pytest.raises(CaptionInvalid) as refusal:
        read_captions(photos, word)
    return refusal.value


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"p3r5on in a park", "p3r5on in a park"),
        ("a photo of p3r5on, très près".encode(), "a photo of p3r5on, très près"),
        (b"\xef\xbb\xbfp3r5on with a byte order mark", "p3r5on with a byte order mark"),
        (b"  p3r5on,\r\n\tsmiling\n\n", "p3r5on, smiling"),
        ("p3r5on 👩‍🎤".encode(), "p3r5on 👩‍🎤"),
        (b"(p3r5on)", "(p3r5on)"),
        (b"p3r5on", "p3r5on"),
        (b"p3r5on" + b" word" * 1998, "p3r5on" + " word" * 1998),
    ],
    ids=["plain", "accents", "mark", "lines", "emoji", "brackets", "alone", "long"],
)
def test_a_caption_is_read_as_one_line(tmp_path: Path, data: bytes, text: str) -> None:
    photo = photo_in(tmp_path, "sub folder/ada.v2.jpg", data)

    assert read_captions([photo], WORD) == {"sub folder/ada.v2.jpg": text}


def test_a_photo_without_one_has_none(tmp_path: Path) -> None:
    with_one, without = photo_in(tmp_path, "a.jpg", f"{WORD}."), photo_in(tmp_path, "b.jpg")

    assert read_captions([with_one, without], WORD) == {"a.jpg": f"{WORD}."}
    assert read_captions([], WORD) == {}


def test_a_suffix_in_capitals_is_one_too_and_the_usual_one_wins(tmp_path: Path) -> None:
    photo = photo_in(tmp_path, "sub/ada.jpg")
    photo.path.with_suffix(".TXT").write_text("a word too few")
    assert refused(photo).why == "sub/ada.TXT holds the trigger word no time."

    photo.path.with_suffix(".txt").write_text(WORD)
    assert read_captions([photo], WORD) == {"sub/ada.jpg": WORD}


def test_a_name_too_long_for_a_caption_has_none(tmp_path: Path) -> None:
    name = "é" * 125 + ".webp"
    photo = photo_in(tmp_path, "é" * 126 + ".x")

    assert read_captions([photo, photo_in(tmp_path, name)], WORD) == {}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a woman in a park", "holds the trigger word no time"),
        (b"p3r5on beside p3r5on", "holds the trigger word 2 times"),
        (b"p3r5ons and xp3r5on and p3r5on_1", "holds the trigger word no time"),
        (b"P3R5ON", "holds the trigger word no time"),
        (b"p3r5on" + b"x" * 9_995, "is longer than 10,000 bytes"),
        (b"\xff\xd8\xff\xe0 a picture", "is no UTF-8 text"),
        ("p3r5on".encode("utf-16"), "is no UTF-8 text"),
        ("p3r5on".encode("utf-16-le"), "is no UTF-8 text"),
        (b"p3r5on\0", "is no UTF-8 text"),
        ("p3r5on très".encode("latin-1"), "is no UTF-8 text"),
    ],
)
def test_what_is_no_caption_is_refused_by_name(tmp_path: Path, data: bytes, why: str) -> None:
    error = refused(photo_in(tmp_path, "sub/ada.jpg", data))

    assert error.what == "1 of the captions cannot be used."
    assert error.why == f"sub/ada.txt {why}."
    assert WORD in error.fix
    assert "without captions" in error.fix


@pytest.mark.parametrize("word", ["p3r-5on", "c++", "a.b", "été", "日本"])
def test_a_trigger_word_of_any_signs_is_counted(tmp_path: Path, word: str) -> None:
    once = photo_in(tmp_path, "a.jpg", f"a photo of {word} , by the sea")

    assert set(read_captions([once], word)) == {"a.jpg"}
    assert "2 times" in refused(photo_in(tmp_path, "b.jpg", f"{word} {word}"), word=word).why
    assert "no time" in refused(photo_in(tmp_path, "c.jpg", "axb"), word=word).why


def test_all_of_them_are_named_and_many_are_counted(tmp_path: Path) -> None:
    photos = [photo_in(tmp_path, f"{number}.jpg", b"") for number in range(8)]
    photos.append(photo_in(tmp_path, "good.jpg", WORD))

    error = refused(*photos)

    assert error.what.startswith("8 of the captions")
    assert all(f"{number}.txt is empty" in error.why for number in range(5))
    assert error.why.endswith("and 3 more.")
    assert "good" not in error.why


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")

    error = refused(photo_in(tmp_path, "folder.jpg"), photo_in(tmp_path, "pipe.jpg"))

    assert error.what.startswith("2 of")
    assert "folder" in error.why
    assert "pipe" in error.why


def test_a_caption_nobody_may_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    photo_in(tmp_path, "ada.jpg", WORD).path.with_suffix(".txt").chmod(0)

    def read() -> str:
        try:
            read_captions([replace(a_photo("ada.jpg"), path=Path("ada.jpg"))], WORD)
        except CaptionInvalid as error:
            return error.why
        return "it was read"

    assert as_ordinary_user(tmp_path, read) == "ada.jpg: Permission denied."


def test_the_bytes_of_a_huge_file_are_not_all_read(tmp_path: Path) -> None:
    photo = photo_in(tmp_path, "ada.jpg", b"")
    os.truncate(tmp_path / "ada.txt", 1 << 40)  # sparse

    assert "longer than" in refused(photo).why


@examples(120)
@hypothesis.given(
    st.binary(max_size=60) | st.text(max_size=40).map(lambda s: f"{s} {WORD}".encode())
)
def test_any_bytes_are_a_caption_or_refused(data: bytes) -> None:
    photo = photo_in(Path.cwd(), "ada.jpg", data)
    try:
        (text,) = read_captions([photo], WORD).values()
    except CaptionInvalid as error:
        assert "ada.txt" in error.why
        return
    assert WORD in text
    assert text == " ".join(text.split())


# ── in the zip ────────────────────────────────────────────────────────────────────────────────


def crops_in(folder: Path, captions: dict[int, str]) -> list[Crop]:
    folder.mkdir(parents=True, exist_ok=True)
    crops = []
    for number in range(1, 13):
        path = folder / f"{number:04d}.jpg"
        path.write_bytes(bytes([number]) * 100)
        source, box = f"Ada Lovelace/{number}.heic", Box(1, 2, 900, 900)
        crop = Crop(path.name, path, path, source, "5" * 64, box, 900, "6" * 64)
        crops.append(replace(crop, caption=captions.get(number)))
    return crops


CAPTIONS = {2: f"{WORD} in a park", 11: f"{WORD}, très près"}


def test_a_caption_travels_under_the_name_of_its_crop(tmp_path: Path) -> None:
    bundle = pack(crops_in(tmp_path / "crops", CAPTIONS), tmp_path / "dataset.zip")

    with zipfile.ZipFile(bundle.path) as archive:
        names = archive.namelist()
        assert archive.read("0002.txt").decode() == CAPTIONS[2]
        assert archive.read("0011.txt").decode() == CAPTIONS[11]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert all(info.date_time[0] == 1980 for info in archive.infolist())
    assert len(names) == 14
    assert names.index("0002.txt") == names.index("0002.jpg") + 1
    assert bundle.images == 12
    assert [entry.name for entry in bundle.entries] == names
    assert b"Lovelace" not in bundle.path.read_bytes()


def test_the_same_crops_and_captions_give_the_same_bytes(tmp_path: Path) -> None:
    here = pack(crops_in(tmp_path / "here", CAPTIONS), tmp_path / "here.zip")
    there = pack(crops_in(tmp_path / "there", CAPTIONS)[::-1], tmp_path / "there.zip")

    assert here.path.read_bytes() == there.path.read_bytes()
    assert here.entries == there.entries


def test_another_caption_is_another_data_set(tmp_path: Path) -> None:
    without = pack(crops_in(tmp_path / "crops", {}), tmp_path / "one.zip")
    with_two = pack(crops_in(tmp_path / "crops", CAPTIONS), tmp_path / "two.zip")
    other = pack(crops_in(tmp_path / "crops", {**CAPTIONS, 2: WORD}), tmp_path / "three.zip")

    assert len({without.sha256, with_two.sha256, other.sha256}) == 3
