"""`contact_sheet.jpg`: all training pictures at one glance."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_prep.model import Crop
from lora_prep.photos import UnreadablePhoto, open_upright
from lora_prep.report.text import plural, visible

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["write_contact_sheet"]

WIDTH_PX = 1600
MARGIN_PX = 40
GAP_PX = 16
HEADER_PX = 72
LABEL_PX = 30
COLUMNS = (5, 6, 4)
"""Grids to choose from; the one that leaves the fewest cells of the last row empty wins, the
earlier of two equals."""

SHOWN_MOST = 60
"""Twice what a set has at most; a JPEG cannot be higher than 65,535 px."""

HASH_SHOWN = 12  # hexadecimal digits of the settings' hash, as in the report
JPEG_QUALITY = 88
TITLE_SIZE_PX = 34
SMALL_SIZE_PX = 20
LONGEST_TEXT = 250  # characters: more than fit; measuring a longer text costs its square
NAMELESS = "Contact sheet"
PAPER, INK, MUTED, EMPTY = "#ffffff", "#1c1e21", "#6a6f76", "#e6e8eb"


def write_contact_sheet(
    path: Path, crops: Sequence[Crop], *, title: str, settings_sha256: str | None = None
) -> bool:
    """Write one JPEG with the crops, numbered by their neutral names, and return True.

    Its head shows the title, how many there are, and the beginning of `settings_sha256`: what they
    were made by. Of more than 60 the first 60 are shown, and the sheet says so.

    Without crops nothing is written and the answer is False. The sheet is 1600 px wide and has no
    metadata. Pillow's own font has little more than ASCII: the title loses its accents, and letters
    of other scripts become "?". It is written beside and renamed, so that `path` is whole or
    absent.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not crops:
        return False
    count = plural(len(crops), "training picture")
    if len(crops) > SHOWN_MOST:
        count, crops = f"{SHOWN_MOST} of {count}", crops[:SHOWN_MOST]
    if settings_sha256:
        count = f"{count}, settings {settings_sha256[:HASH_SHOWN]}"
    columns = min(COLUMNS, key=lambda columns: -len(crops) % columns)
    cell_px = (WIDTH_PX - 2 * MARGIN_PX - (columns - 1) * GAP_PX) // columns
    row_px = cell_px + LABEL_PX + GAP_PX
    rows = -(-len(crops) // columns)
    height_px = MARGIN_PX + HEADER_PX + rows * row_px - GAP_PX + MARGIN_PX
    sheet = Image.new("RGB", (WIDTH_PX, height_px), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, title, count)
    small = ImageFont.load_default(SMALL_SIZE_PX)
    for number, crop in enumerate(crops):
        row, column = divmod(number, columns)
        left = MARGIN_PX + column * (cell_px + GAP_PX)
        top = MARGIN_PX + HEADER_PX + row * row_px
        picture = _picture(crop, cell_px)
        sheet.paste(
            picture, (left + (cell_px - picture.width) // 2, top + (cell_px - picture.height) // 2)
        )
        label = _fitting(Path(crop.name).stem, small, cell_px)
        draw.text((left, top + cell_px + LABEL_PX), label, MUTED, small, anchor="ld")
    part = path.with_name(path.name + ".part")
    sheet.save(part, "JPEG", quality=JPEG_QUALITY)
    part.replace(path)
    return True


def _draw_header(draw: ImageDraw.ImageDraw, title: str, count: str) -> None:
    """Draw the title at the left and the count at the right, on one base line."""
    from PIL import ImageFont

    large = ImageFont.load_default(TITLE_SIZE_PX)
    small = ImageFont.load_default(SMALL_SIZE_PX)
    base = MARGIN_PX + TITLE_SIZE_PX
    draw.text((WIDTH_PX - MARGIN_PX, base), count, MUTED, small, anchor="rs")
    room_px = WIDTH_PX - 2 * MARGIN_PX - draw.textlength(count, small) - GAP_PX
    draw.text((MARGIN_PX, base), _fitting(title, large, room_px), INK, large, anchor="ls")


def _picture(crop: Crop, side_px: int) -> Image.Image:
    """Return the crop fitted into a square, never enlarged; a grey square if it is gone.

    The preview is as wide as the widest cell.
    """
    from PIL import Image

    for path in (crop.preview, crop.path):
        try:
            picture = open_upright(path, least_side_px=side_px)
        except UnreadablePhoto:
            continue
        picture.thumbnail((side_px, side_px), Image.Resampling.HAMMING)
        return picture
    return Image.new("RGB", (side_px, side_px), EMPTY)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room_px: float) -> str:
    """Return `text` in the characters the font has, cut with "..." to at most `room_px`."""
    text = _drawable(text[:LONGEST_TEXT], font)
    if font.getlength(text) <= room_px:
        return text
    while text and font.getlength(text + "...") > room_px:
        text = text[:-1]
    return text + "..."


def _drawable(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return `text` without accents and with "?" for what is no Latin letter.

    Pillow's own font knows little more than ASCII; a text with nothing left in it is replaced.
    """
    missing = bytes(font.getmask("\U0010ffff"))
    plain = [
        character if character == " " or bytes(font.getmask(character)) != missing else "?"
        for character in unicodedata.normalize("NFKD", visible(text))
        if not unicodedata.combining(character)
    ]
    drawable = "".join(plain)
    return drawable if any(map(str.isalnum, plain)) else NAMELESS
