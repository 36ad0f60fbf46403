"""One folder with every odd file that real folders have: each gets its verdict, none is lost."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_prep.inspection import inspect_photos
from lora_prep.model import Finding
from lora_prep.photos import find_photos
from tests.inspection.fakes import FakeAnalyser
from tests.photos.pictures import (
    a_tiff,
    display_p3_profile,
    encoded,
    orientation_tag,
    png_header,
    sixteen_bit_grey,
    stored,
)
from tests.sample import LIMITS, a_face, as_ordinary_user, textured

pytestmark = pytest.mark.slow  # a folder of every odd file

PICTURE = textured((600, 640))
MOV = b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + b"\0" * 40
LATIN_1 = os.fsdecode(b"caf\xe9.jpg")  # no UTF-8

USABLE = ""
GOOD: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {
    "phone.heic": ("HEIF", PICTURE, {}),
    "phone.avif": ("AVIF", PICTURE, {"speed": 10}),
    "web.webp": ("WEBP", PICTURE, {"method": 0}),
    "camera.tif": ("TIFF", PICTURE, {}),
    "old.bmp": ("BMP", PICTURE, {}),
    "really_a_jpeg.heic": ("JPEG", PICTURE, {}),
    "really_a_png.jpg": ("PNG", PICTURE, {"compress_level": 1}),
    "no_suffix": ("JPEG", PICTURE, {}),
    "display_p3.jpg": ("JPEG", PICTURE, {"icc_profile": display_p3_profile()}),
    "broken_profile.jpg": ("JPEG", PICTURE, {"icc_profile": b"none at all"}),
    "print.jpg": ("JPEG", PICTURE.convert("CMYK"), {}),
    "grey.jpg": ("JPEG", PICTURE.convert("L"), {}),
    "clear.png": ("PNG", PICTURE.convert("RGBA"), {"compress_level": 1}),
    "palette.png": ("PNG", PICTURE.quantize(64), {}),
    "moving.gif": ("GIF", PICTURE, {"save_all": True, "append_images": [PICTURE.rotate(90)]}),
    "moving.webp": (
        "WEBP",
        PICTURE,
        {"save_all": True, "append_images": [PICTURE.rotate(90)], "method": 0},
    ),
    "samsung.jpg": ("MPO", PICTURE, {"save_all": True, "append_images": [PICTURE]}),
    "with spaces and (1).jpg": ("JPEG", PICTURE, {}),
    "\U0001f642 zoë\u0301 日本.jpg": ("JPEG", PICTURE, {}),
    "two\nlines.jpg": ("JPEG", PICTURE, {}),
    "; rm -rf $HOME '\".jpg": ("JPEG", PICTURE, {}),
    "-rf.jpg": ("JPEG", PICTURE, {}),
    LATIN_1: ("JPEG", PICTURE, {}),
    "a/b/c/d/e/f/nested.jpg": ("JPEG", PICTURE, {}),
    "x" * 251 + ".jpg": ("JPEG", PICTURE, {}),
    "Live.HEIC": ("HEIF", PICTURE, {}),
    **{
        f"orientation_{number}.jpg": (
            "JPEG",
            stored(PICTURE, number),
            {"exif": orientation_tag(number)},
        )
        for number in range(1, 9)
    },
}
BAD: dict[str, tuple[str, bytes]] = {
    "tiny.jpg": ("crop_too_small face_too_small", encoded("JPEG", PICTURE.resize((200, 250)))),
    "grey16.png": ("blurred", encoded("PNG", sixteen_bit_grey(90, (600, 640)))),
    "truncated.jpg": ("unreadable", encoded("JPEG", PICTURE)[:9000]),
    "truncated.heic": ("unreadable", encoded("HEIF", PICTURE)[:200]),
    "empty.jpg": ("not_an_image", b""),
    "text.jpg": ("not_an_image", b"shopping list"),
    "page.jpg": ("not_an_image", b"<!DOCTYPE html><html>404</html>"),
    "notes.txt": ("not_an_image", b"notes"),
    "phone.txt": ("not_an_image", b"p3r5on on a bench"),
    "bomb.png": ("too_many_pixels", png_header(20_000, 20_000)),
    "._phone.jpg": ("not_an_image", b"\0\5\x16\7\0\2\0\0Mac OS X"),
    ".DS_Store": ("not_an_image", b"\0\0\0\1Bud1"),
    "a/Thumbs.db": ("not_an_image", b"\xd0\xcf\x11\xe0"),
    "desktop.ini": ("not_an_image", b"[.ShellClassInfo]"),
    "__MACOSX/._phone.jpg": ("not_an_image", b"\0\5\x16\7"),
    "Live.MOV": ("not_an_image", MOV),
    "holiday.mp4": ("not_an_image", b"\0\0\0\x18ftypisom\0\0\2\0"),
    "camera.dng": ("unsupported", a_tiff((50706, 1, 4, 0x401))),
    "camera.nef": ("unsupported", a_tiff((271, 2, 6, b"NIKON\0"), (330, 4, 1, 8))),
    "camera.cr2": ("unsupported", a_tiff(after_header=b"CR\2\0\0\0\0\0")),
    "camera.cr3": ("unsupported", b"\0\0\0\x18ftypcrx "),
    "camera.raf": ("unsupported", b"FUJIFILMCCD-RAW"),
    "camera.orf": ("unsupported", b"IIRO\x08\0"),
    "camera.rw2": ("unsupported", b"IIU\0\x08\0"),
    "design.psd": ("unsupported", b"8BPS\0\1"),
    "scan.pdf": ("unsupported", b"%PDF-1.4"),
    "logo.svg": ("unsupported", b"<svg/>"),
    "new.jxl": ("unsupported", b"\xff\x0a\xfa"),
    "cinema.jp2": ("unsupported", b"\0\0\0\x0cjP  \r\n"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Closed files are there too; they are only closed to somebody who is not root."""
    place = Path(tempfile.mkdtemp())  # the folders above pytest's own are closed to others
    place.chmod(0o755)
    root = place / "photos"
    for name, (kind, image, options) in GOOD.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(kind, image, **options))
    for name, (_, data) in BAD.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "closed.jpg").write_bytes(encoded("JPEG", PICTURE))
    (root / "closed.jpg").chmod(0o000)
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to("web.webp")
    (root / "broken_link.jpg").symlink_to("gone.jpg")
    (root / "link_to_itself.jpg").symlink_to("link_to_itself.jpg")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (root / "lost+found").mkdir(mode=0o000)
    yield root
    (root / "lost+found").chmod(0o700)
    shutil.rmtree(place)


SPECIAL = {
    "closed.jpg": "unreadable",
    "pipe.jpg": "not_an_image",
    "link.jpg": USABLE,
    "broken_link.jpg": "unreadable",
    "link_to_itself.jpg": "unreadable",
    "a/up": "not_an_image",
}
EXPECTED = {
    **dict.fromkeys(GOOD, USABLE),
    **{name: code for name, (code, _) in BAD.items()},
    **SPECIAL,
}


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """What every file is: its bytes, its times of change, its mode."""
    found: dict[str, tuple[object, ...]] = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent) / name
            status = path.lstat()
            regular = stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK)
            data = path.read_bytes() if regular else None
            found[str(path)] = (data, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
    return found


def codes(findings: tuple[Finding, ...]) -> dict[str, str]:
    """The reasons against each file and its face."""
    return {
        finding.name: " ".join(
            reason.code.value
            for reasons in (finding.reasons, *(face.reasons for face in finding.faces))
            for reason in reasons
        )
        for finding in findings
    }


def inspected(folder: Path) -> tuple[Finding, ...]:
    def seen(image: Image.Image) -> list[Any]:
        return [a_face(image.height / 2, x=image.width / 3, y=image.height / 3)]

    return inspect_photos(find_photos(folder), FakeAnalyser(seen=seen), LIMITS, workers=2)


@pytest.mark.timeout(120)
def test_every_odd_file_gets_its_own_verdict_and_no_original_changes(folder: Path) -> None:
    before = state(folder)

    def work() -> str:
        found = codes(inspected(folder))
        closed = found.pop("lost+found")  # to root it is an empty folder, and no file
        wrong = {
            name: (found.get(name), code)
            for name, code in EXPECTED.items()
            if found.get(name) != code
        }
        more = sorted(found.keys() - EXPECTED.keys())
        return ascii((closed, wrong, more, len(found)))

    answer = as_ordinary_user(folder, work)

    assert answer == ascii(("unreadable", {}, [], len(EXPECTED)))
    assert state(folder) == before


def test_every_odd_file_is_told_in_words(folder: Path) -> None:
    for finding in inspected(folder):
        for reason in finding.reasons:
            assert reason.hint.endswith(".")
            assert "\n" not in reason.hint or "two\nlines" in reason.hint


def test_the_video_half_and_the_caption_name_their_photo(folder: Path) -> None:
    hints = {
        finding.name: finding.reasons[0].hint for finding in inspected(folder) if finding.reasons
    }

    assert hints["Live.MOV"] == "The video half of the Live Photo Live.HEIC."
    assert hints["phone.txt"] == "The caption of phone.heic."
    assert "operating system" in hints[".DS_Store"]
