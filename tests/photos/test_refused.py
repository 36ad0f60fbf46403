"""What cannot or must not be opened: bombs, pieces of pictures, and what is none."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image

from lora_prep.model import ReasonCode
from lora_prep.photos import UnreadablePhoto, decode, open_upright, read_photo
from tests.photos.pictures import PLAIN, encoded, png_header, refusal, saved
from tests.sample import textured


def test_a_decompression_bomb_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(png_header(20_000, 20_000))

    reason = refusal(path)

    assert reason.code is ReasonCode.TOO_MANY_PIXELS
    assert (reason.measured, reason.unit) == (400e6, "px")
    assert reason.limit is not None
    assert 100e6 < reason.limit < 400e6
    with pytest.raises(UnreadablePhoto):
        open_upright(path)


@pytest.mark.timeout(5)
def test_a_file_with_far_more_bytes_than_pixels_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = saved(tmp_path / "1.jpg", PLAIN)
    os.truncate(file.path, 1 << 35)  # a hole: it takes no room

    reason = refusal(file.path)

    assert reason.code is ReasonCode.UNSUPPORTED
    assert (reason.measured, reason.limit, reason.unit) == (34_360, 1_200, "MB")


def test_a_camera_of_a_hundred_megapixels_is_no_bomb(tmp_path: Path) -> None:
    file = saved(tmp_path / "1.jpg", PLAIN)
    data = bytearray(file.path.read_bytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 8_736, 11_648)
    file.path.write_bytes(data)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode._prepare_pillow.cache_clear()  # else the filter is that of another test
        photo = read_photo(file)

    assert (photo.width_px, photo.height_px) == (11_648, 8_736)


def a_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("1.jpg", b"x")
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"shopping list",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        a_zip(),
        b"\0" * 4096,
    ],
    ids=["empty", "text", "html", "zip", "zeros"],
)
def test_other_bytes_are_no_image_whatever_the_name_says(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(data)

    assert refusal(path).code is ReasonCode.NOT_AN_IMAGE


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *(("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("gif", "GIF"), ("tif", "TIFF")),
        *(("heic", "HEIF"), ("avif", "AVIF")),
    ],
)
def test_a_picture_cut_off_is_unreadable_and_never_taken_for_a_video(
    tmp_path: Path, suffix: str, kind: str, share: float
) -> None:
    path = tmp_path / f"1.{suffix}"
    data = encoded(kind)
    path.write_bytes(data[: int(len(data) * share)])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of a cut TIFF
        reason = refusal(path)

    assert reason.code is ReasonCode.UNREADABLE
    assert reason.hint == "The file is damaged or cut off; copy it again."


@pytest.mark.parametrize("zeros", [True, False], ids=["filled with zeros", "left out"])
@pytest.mark.parametrize("least_side_px", [None, 100])
def test_a_jpeg_that_lost_a_part_is_unreadable_though_its_end_is_there(
    tmp_path: Path, zeros: bool, least_side_px: int | None
) -> None:
    data = encoded("JPEG", textured((600, 800)))
    half = len(data) // 2
    lost = bytes(len(data) - half - 2) if zeros else b""
    (tmp_path / "1.jpg").write_bytes(data[:half] + lost + b"\xff\xd9")

    with pytest.raises(UnreadablePhoto) as unreadable:
        open_upright(tmp_path / "1.jpg", least_side_px=least_side_px)

    assert unreadable.value.reason.code is ReasonCode.UNREADABLE


def test_a_jpeg_that_holds_a_few_bytes_too_many_is_sound(tmp_path: Path) -> None:
    data = encoded("JPEG", PLAIN)
    (tmp_path / "1.jpg").write_bytes(data[:-2] + bytes(7) + data[-2:])

    assert open_upright(tmp_path / "1.jpg").size == PLAIN.size


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_the_first_bytes_of_a_phones_picture_are_no_video(tmp_path: Path, kind: str) -> None:
    (tmp_path / "1.heic").write_bytes(encoded(kind)[:64])

    assert refusal(tmp_path / "1.heic").code is ReasonCode.UNREADABLE


def test_a_file_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    reason = refusal(tmp_path / "gone.jpg")

    assert reason.code is ReasonCode.UNREADABLE
    assert "No such file" in reason.hint


def test_postscript_named_as_a_photo_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"
    )
    runs = []

    def ghostscript(*_: object, **__: object) -> Any:
        runs.append("run")
        return Image.new("RGB", (64, 48)).im

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)

    reason = refusal(path)

    assert not runs
    assert reason.code in {ReasonCode.NOT_AN_IMAGE, ReasonCode.UNSUPPORTED}
