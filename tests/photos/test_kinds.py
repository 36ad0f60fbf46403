"""What is no photo is told what it is instead, in words of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lora_prep.model import Reason, ReasonCode
from lora_prep.photos import FoundFile, UnreadablePhoto, open_upright, read_photo
from tests.photos.pictures import PLAIN, a_tiff, encoded, refusal

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
MOV = b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + b"\0" * 40
MAKE, SUB_FOLDERS, DNG_VERSION = 271, 330, 50706


def said_of(folder: Path, name: str, data: bytes) -> Reason:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with pytest.raises(UnreadablePhoto) as unreadable:
        read_photo(FoundFile(name, path))
    return unreadable.value.reason


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("._ada_01.jpg", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "),
        ("below/._ada_01.HEIC", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "),
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("holiday/Thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("THUMBS.DB", b""),
        ("desktop.ini", b"[.ShellClassInfo]"),
        ("__MACOSX/._ada_01.jpg", b"\0\x05\x16\x07"),
        ("__MACOSX/set/notes", b"anything"),
        ("@eaDir/ada_01.jpg/SYNO@.fileindexdb", b"anything"),
    ],
)
def test_a_file_of_the_system_is_said_to_be_one(tmp_path: Path, name: str, data: bytes) -> None:
    reason = said_of(tmp_path, name, data)

    assert reason.code is ReasonCode.NOT_AN_IMAGE
    assert "operating system" in reason.hint


@pytest.mark.parametrize("name", ["1.jpg", "1.heic", "1", ".hidden.jpg"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    reason = said_of(tmp_path, name, b"")

    assert (reason.code, reason.hint) == (
        ReasonCode.NOT_AN_IMAGE,
        "The file is empty; copy it again.",
    )


VIDEOS = {
    "mov": MOV,
    "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    "m4v": b"\0\0\0\x18ftypM4V \0\0\2\0",
    "3gp": b"\0\0\0\x18ftyp3gp4\0\0\2\0",
    "old.mov": b"\0\0\x10\0moov\0\0\0\x6cmvhd",
    "cut.mov": b"\0\0\0\x08wide\0\0\0\x10mdat",
    "mkv": b"\x1aE\xdf\xa3\1\0\0\0",
    "avi": b"RIFF\x24\0\0\0AVI LIST",
    "mpg": b"\0\0\1\xba!\0\1\0",
}


@pytest.mark.parametrize("suffix", VIDEOS)
def test_a_video_is_said_to_be_one(tmp_path: Path, suffix: str) -> None:
    reason = said_of(tmp_path, f"1.{suffix}", VIDEOS[suffix])

    assert (reason.code, reason.hint) == (
        ReasonCode.NOT_AN_IMAGE,
        "A video; take single pictures out of it.",
    )


@pytest.mark.parametrize("photo", ["IMG_0001.HEIC", "IMG_0001.jpg", "IMG_0001.JPEG"])
def test_the_video_half_of_a_live_photo_names_the_other_half(tmp_path: Path, photo: str) -> None:
    (tmp_path / photo).write_bytes(encoded("JPEG", PLAIN))

    reason = said_of(tmp_path, "IMG_0001.MOV", MOV)

    assert reason.code is ReasonCode.NOT_AN_IMAGE
    # A folder that does not tell capitals apart may answer in either spelling.
    assert re.fullmatch(rf"The video half of the Live Photo {photo}\.", reason.hint, re.IGNORECASE)


@pytest.mark.parametrize("name", ["1.jpg", "1.HEIC"])
def test_a_video_with_the_name_of_a_photo_is_not_half_of_itself(tmp_path: Path, name: str) -> None:
    assert said_of(tmp_path, name, MOV).hint == "A video; take single pictures out of it."


@pytest.mark.parametrize("name", ["x" * 250 + ".MOV", "x" * 251 + ".txt"])
def test_a_name_that_cannot_grow_has_no_other_half(tmp_path: Path, name: str) -> None:
    assert said_of(tmp_path, name, MOV).hint == "A video; take single pictures out of it."


def test_a_caption_names_its_photo(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(encoded("PNG", PLAIN))

    assert said_of(tmp_path, "1.txt", b"p3r5on, smiling").hint == "The caption of 1.png."
    assert said_of(tmp_path, "2.txt", b"notes").hint == "Its bytes are no picture we know."


RAWS = {
    "dng": a_tiff((DNG_VERSION, 1, 4, 0x00000401)),
    "nef": a_tiff((MAKE, 2, 6, b"NIKON\0"), (SUB_FOLDERS, 4, 1, 8)),
    "arw": a_tiff((MAKE, 2, 5, b"SONY\0"), (SUB_FOLDERS, 4, 1, 8)),
    "cr2": a_tiff((MAKE, 2, 6, b"Canon\0"), after_header=b"CR\2\0\0\0\0\0"),
    "cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "raf": b"FUJIFILMCCD-RAW 0201FF",
    "orf": b"IIRO\x08\0\0\0",
    "rw2": b"IIU\0\x08\0\0\0",
    "x3f": b"FOVb\0\0\3\0",
}


@pytest.mark.parametrize("suffix", RAWS)
@pytest.mark.parametrize("renamed", [False, True], ids=["", "renamed"])
def test_a_camera_raw_file_is_said_to_be_one(tmp_path: Path, suffix: str, renamed: bool) -> None:
    reason = said_of(tmp_path, "1.jpg" if renamed else f"1.{suffix}", RAWS[suffix])

    assert (reason.code, reason.hint) == (
        ReasonCode.UNSUPPORTED,
        "A camera raw file; export it as JPEG.",
    )


@pytest.mark.parametrize(
    "data",
    [a_tiff(), a_tiff((MAKE, 2, 6, b"EPSON\0")), a_tiff((SUB_FOLDERS, 4, 1, 8))],
    ids=["plain", "scanner", "pyramid"],
)
def test_another_tiff_is_a_photo(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "1.tif").write_bytes(data)

    photo = read_photo(FoundFile("1.tif", tmp_path / "1.tif"))

    assert (photo.format, photo.width_px, photo.height_px) == ("TIFF", 16, 16)
    assert open_upright(photo.path).getpixel((3, 3)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("1.psd", b"8BPS\0\1", "A Photoshop document"),
        ("1.pdf", b"%PDF-1.4 a scan", "A PDF"),
        ("1.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "A PostScript program"),
        ("1.svg", SVG, "A drawing (SVG)"),
        ("2.svg", b'<?xml version="1.0"?>\n<!-- by hand -->\n' + SVG, "A drawing (SVG)"),
        ("3.svg", b'\xef\xbb\xbf<?xml version="1.0"?>' + SVG, "A drawing (SVG)"),
        ("1.jxl", b"\xff\x0a\xfa\x1f", "A JPEG XL picture"),
        ("2.jxl", b"\0\0\0\x0cJXL \r\n\x87\n", "A JPEG XL picture"),
        ("1.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "A JPEG 2000 picture"),
        ("1.j2k", b"\xff\x4f\xff\x51\0\x2f", "A JPEG 2000 picture"),
        ("1.ico", b"\0\0\1\0\1\0\x10\x10", "An icon"),
    ],
)
@pytest.mark.parametrize("renamed", [False, True], ids=["", "renamed"])
def test_a_picture_of_another_kind_is_named(
    tmp_path: Path, name: str, data: bytes, what: str, renamed: bool
) -> None:
    reason = said_of(tmp_path, "1.jpg" if renamed else name, data)

    assert (reason.code, reason.hint) == (
        ReasonCode.UNSUPPORTED,
        f"{what}; save it as JPEG or PNG.",
    )


@pytest.mark.parametrize(
    "data",
    [
        b"shopping list",
        b"<!DOCTYPE html><html><body>404 Not Found <svg/></body></html>",
        b'<?xml version="1.0"?><rss/>',
    ],
    ids=["text", "html", "xml"],
)
def test_text_is_no_picture_we_know(tmp_path: Path, data: bytes) -> None:
    reason = said_of(tmp_path, "1.jpg", data)

    assert (reason.code, reason.hint) == (
        ReasonCode.NOT_AN_IMAGE,
        "Its bytes are no picture we know.",
    )


@pytest.mark.parametrize("name", ["@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "__MACOSX/1.jpg"])
def test_a_thumbnail_that_the_system_made_is_no_photo(tmp_path: Path, name: str) -> None:
    reason = said_of(tmp_path, name, encoded("JPEG", PLAIN))

    assert "operating system" in reason.hint


@pytest.mark.parametrize("name", ["1.txt", "1.mov", "1"])
def test_what_is_a_picture_by_its_bytes_is_read_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded("JPEG", PLAIN))

    assert read_photo(FoundFile(name, path)).format == "JPEG"


def test_without_a_file_to_look_at_it_is_no_picture_we_know(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"shopping list")

    with pytest.raises(UnreadablePhoto) as unreadable:
        open_upright(tmp_path / "1.jpg")

    assert unreadable.value.reason == refusal(tmp_path / "1.jpg")
