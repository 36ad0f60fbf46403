"""Made-up selections over tiny pictures, and a reader of the page they become."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from lora_prep.model import (
    Box,
    Crop,
    Decision,
    Face,
    NoteCode,
    Photo,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)

VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}
FACE = Face(Box(40.0, 30.0, 90.0, 123.4), 0.9, (), ())
DOUBTED = Reason(NoteCode.IDENTITY_DOUBTED, "Less like the others.", 0.46, 0.42, "distance")
BLURRY = Reason(ReasonCode.FACE_TOO_SMALL, "The face is too far away.", 37, 233, "px high")


def picture(path: Path, *, side=64, colour="teal", **options) -> Path:
    Image.new("RGB", (side, side), colour).save(path, "JPEG", **options)
    return path


def verdict(
    name, decision=Decision.KEPT, *reasons, path=None, face=FACE, turned_deg=0, **more
) -> Verdict:
    """more: notes, identity_distance, framing."""
    photo = path and Photo(name, path, "00", 1, "JPEG", 1200, 1600, turned_deg=turned_deg)
    return Verdict(name, decision, reasons, photo, face if photo else None, **more)


def crop(number: int, source: str, path: Path, *, preview=None, caption=None) -> Crop:
    """Without a preview the crop is its own."""
    name, box = f"{number:04d}.jpg", Box(0, 0, 64, 64)
    return Crop(name, path, preview or path, source, "00", box, 64, "00", caption)


def selection(folder: Path, *verdicts: Verdict, needed=10, **more) -> Selection:
    """more: advice, rivals."""
    return Selection(folder, needed, tuple(verdicts), **more)


def colour(image: Image.Image, across=0.5, down=0.5) -> tuple[int, int, int]:
    """Return the colour at a place of the picture, given in parts of its sides."""
    place = int(image.width * across), int(image.height * down)
    return image.convert("RGB").getpixel(place)


def like(name: str):
    """Return what equals a colour as JPEG keeps it."""
    return pytest.approx(ImageColor.getrgb(name), abs=8)


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each file name."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.files: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self._in_file = False
        self.feed(html)
        self.close()

    @classmethod
    def read(cls, path: Path) -> "Page":
        return cls(path.read_bytes().decode("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag not in {"bdi", "wbr"}:
            self.text += " "  # so that neighbours do not run together
        if tag == "bdi" and ("class", "file") in attrs:
            self._in_file = True
            self.files.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "bdi":
            self._in_file = False

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            return
        self.text += data
        if self._in_file:
            self.files[-1] += data

    def having(self, wanted: str) -> list[str]:
        """Return the tags of the elements with a class."""
        return [tag for tag, at in self.elements if wanted in (at.get("class") or "").split()]

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _attributes in self.elements}

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def thumbnails(self) -> list[Image.Image]:
        head = "data:image/jpeg;base64,"
        sources = [attributes["src"] for tag, attributes in self.elements if tag == "img"]
        assert all(source.startswith(head) for source in sources)
        return [
            Image.open(io.BytesIO(base64.b64decode(source.removeprefix(head), validate=True)))
            for source in sources
        ]
