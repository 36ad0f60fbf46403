"""contact_sheet.jpg: the crops in a neat grid, whatever the title holds."""

import os
from pathlib import Path

import pytest
from PIL import Image

from lora_prep.report import write_contact_sheet

from .helpers import crop, picture

pytestmark = pytest.mark.slow  # real pictures are decoded and drawn

ADA = Path(__file__).parents[2] / "sample_data" / "people" / "ada"


@pytest.fixture
def crops(tmp_path):
    path = picture(tmp_path / "0001.jpg", side=400, colour="teal")
    return lambda count: [crop(number, "a.jpg", path) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 4, 1), (10, 5, 2), (12, 6, 2), (14, 5, 3), (16, 4, 4), (30, 5, 6)],
)
def test_grid(tmp_path, crops, count, columns, rows):
    path = tmp_path / "contact_sheet.jpg"
    assert write_contact_sheet(path, crops(count), title="ada") is True
    with Image.open(path) as sheet:
        assert sheet.format == "JPEG"
        cell = (1520 - (columns - 1) * 16) // columns
        assert sheet.size == (1600, 152 + rows * (cell + 30 + 16) - 16)
        teal = [_is_teal(sheet, 40 + cell // 2 + i * (cell + 16), 130) for i in range(columns)]
        assert sum(teal) == min(count, columns)
        middle = 112 + (rows - 1) * (cell + 46) + 18
        last = [_is_teal(sheet, 40 + cell // 2 + i * (cell + 16), middle) for i in range(columns)]
        assert sum(last) == count - (rows - 1) * columns


def test_of_a_very_large_set_the_first_are_shown(tmp_path, crops):
    path = tmp_path / "contact_sheet.jpg"
    write_contact_sheet(path, crops(2000), title="ada")
    with Image.open(path) as sheet:
        many = sheet.size
    write_contact_sheet(path, crops(60), title="ada")
    with Image.open(path) as sheet:
        assert sheet.size == many


def test_no_crops_no_file(tmp_path):
    path = tmp_path / "contact_sheet.jpg"
    assert write_contact_sheet(path, (), title="ada") is False
    assert list(tmp_path.glob("contact_sheet*")) == []


def test_no_metadata(tmp_path):
    path = tmp_path / "contact_sheet.jpg"
    write_contact_sheet(path, [crop(1, "ada_04.jpg", ADA / "ada_04.jpg")], title="ada")
    data = path.read_bytes()
    assert b"Exif" not in data
    assert b"http" not in data
    with Image.open(path) as sheet:
        assert not sheet.getexif()
        assert set(sheet.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize(
    "title",
    [
        "",
        "José Łuk",
        "山田 太郎",
        os.fsdecode(b"caf\xe9"),
        "a\nb\x00",
        "\ud83d",
        "x" * 5000,
        "👩‍🚀",
    ],
)
def test_any_title_can_be_drawn(tmp_path, crops, title):
    path = tmp_path / "contact_sheet.jpg"
    assert write_contact_sheet(path, crops(1), title=title)
    with Image.open(path) as sheet:
        assert sheet.width == 1600
        assert (
            sheet.crop((40, 40, 140, 100)).convert("L").getextrema()[0] < 100
        )  # something is there
        assert sheet.crop((1570, 0, 1600, 110)).convert("L").getextrema()[0] > 240  # margin is free


def test_a_vanished_crop_leaves_a_grey_cell(tmp_path, crops):
    path = tmp_path / "contact_sheet.jpg"
    write_contact_sheet(path, [crop(1, "a.jpg", tmp_path / "gone.jpg"), *crops(3)], title="ada")
    with Image.open(path) as sheet:
        assert sheet.getpixel((200, 200)) == pytest.approx((230, 232, 235), abs=4)


def test_small_crops_are_not_enlarged(tmp_path):
    path = tmp_path / "contact_sheet.jpg"
    small = picture(tmp_path / "0001.jpg", side=64)
    write_contact_sheet(path, [crop(1, "a.jpg", small)], title="ada")
    with Image.open(path) as sheet:
        assert _is_teal(sheet, 40 + 184, 112 + 184)
        assert not _is_teal(sheet, 40 + 184 - 60, 112 + 184)


def test_previews_are_drawn(tmp_path):
    path = tmp_path / "contact_sheet.jpg"
    whole = picture(tmp_path / "0001.jpg", side=400, colour="olive")
    preview = picture(tmp_path / "preview.jpg", side=368)
    write_contact_sheet(path, [crop(1, "a.jpg", whole, preview=preview)], title="ada")
    with Image.open(path) as sheet:
        assert _is_teal(sheet, 42, 114)
        assert _is_teal(sheet, 40 + 366, 112 + 366)


@pytest.mark.parametrize("damaged", [None, b"", b"no picture"])
def test_without_its_preview_the_crop_is_drawn(tmp_path, damaged):
    path, preview = tmp_path / "contact_sheet.jpg", tmp_path / "preview.jpg"
    if damaged is not None:
        preview.write_bytes(damaged)
    whole = picture(tmp_path / "0001.jpg", side=1024)
    write_contact_sheet(path, [crop(1, "a.jpg", whole, preview=preview)], title="ada")
    with Image.open(path) as sheet:
        assert _is_teal(sheet, 42, 114)
        assert sheet.getpixel((40 + 368 + 4, 200))[0] > 240  # it stays in its cell


def _is_teal(sheet, x, y) -> bool:
    red, green, blue = sheet.getpixel((x, y))
    return red < 40 and 100 < green < 160 and 100 < blue < 160
