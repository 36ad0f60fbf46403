"""Made-up selections over tiny pictures, and a reader of the page they become."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from lora_prep.model import (
    Box,
    Crop,
    Decision,
    Face,
    Photo,
    Reason,
    ReasonCode,
    Selection,
    Verdict,
)

VOID = {"meta", "img", "br", "hr", "link", "input"}
FACE = Face(Box(40.0, 30.0, 90.0, 123.4), 0.9, (), ())
BLURRY = Reason(ReasonCode.FACE_TOO_SMALL, "The face is too far away.", 37, 233, "px high")


def picture(path: Path, *, side=64, colour="teal", **options) -> Path:
    Image.new("RGB", (side, side), colour).save(path, "JPEG", **options)
    return path


def verdict(name, decision=Decision.KEPT, *reasons, path=None, face=FACE) -> Verdict:
    photo = path and Photo(name, path, "00", 1, "JPEG", 1200, 1600)
    return Verdict(name, decision, reasons, photo, face if photo else None)


def crop(number: int, source: str, path: Path) -> Crop:
    return Crop(f"{number:04d}.jpg", path, source, "00", Box(0, 0, 64, 64), 64, "00")


def selection(folder: Path, *verdicts: Verdict, needed=10) -> Selection:
    return Selection(folder, needed, tuple(verdicts))


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
        if tag != "bdi":
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
