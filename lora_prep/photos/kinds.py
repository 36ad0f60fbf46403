"""What a file is that is no photo: each kind in words of its own, told by its bytes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lora_prep.model import Reason, ReasonCode
from lora_prep.photos.find import FoundFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "CAMERA_RAW",
    "DAMAGED",
    "LINKED_FOLDER",
    "NO_ORDINARY_FILE",
    "PHOTO_SUFFIXES",
    "SYSTEM_FILE",
    "SYSTEM_FOLDERS",
    "is_camera_raw",
    "is_system_file",
    "kind_of",
]

DAMAGED = Reason(ReasonCode.UNREADABLE, "The file is damaged or cut off; copy it again.")
SYSTEM_FILE = Reason(ReasonCode.NOT_AN_IMAGE, "A file of the operating system, not a photo.")
NO_ORDINARY_FILE = Reason(ReasonCode.NOT_AN_IMAGE, "It is no ordinary file.")
LINKED_FOLDER = Reason(
    ReasonCode.NOT_AN_IMAGE, "A link to a folder, which is not entered; give that folder itself."
)
CAMERA_RAW = Reason(ReasonCode.UNSUPPORTED, "A camera raw file; export it as JPEG.")

HEAD_BYTES = 512
SYSTEM_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".localized", ".directory"})
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", ".thumbnails", ".trashes"})
LIVE_PHOTO_SUFFIXES = (".heic", ".jpg", ".jpeg")
PHOTO_SUFFIXES = (*LIVE_PHOTO_SUFFIXES, ".png", ".webp", ".avif", ".tif", ".tiff")

DNG_VERSION, SUB_FOLDERS, MAKE = 50706, 330, 0x010F  # TIFF tags

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes, what it is
    (0, b"8BPS", "A Photoshop document"),
    (0, b"%PDF", "A PDF"),
    (0, b"%!PS", "A PostScript program"),
    (0, b"\xff\x0a", "A JPEG XL picture"),
    (0, b"\0\0\0\x0cJXL ", "A JPEG XL picture"),
    (0, b"\0\0\0\x0cjP  ", "A JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "A JPEG 2000 picture"),
    (0, b"\0\0\1\0", "An icon"),
)
_RAW = (
    (0, b"FUJIFILMCCD-RAW"),
    (0, b"IIRO"),
    (0, b"IIRS"),
    (0, b"MMOR"),
    (0, b"IIU\0"),
    (8, b"CR\2"),
    (4, b"ftypcrx"),
    (0, b"FOVb"),
)
_PHONE_PICTURE = tuple(  # the brands of HEIC and AVIF (ISO/IEC 23008-12, annex B)
    (4, b"ftyp" + brand)
    for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
)
_VIDEO = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (0, b"\x1aE\xdf\xa3"),
    (8, b"AVI "),
    (0, b"\0\0\1\xba"),
)


def kind_of(found: FoundFile | None) -> Reason:
    """Return what a file is that cannot be opened as a picture."""
    if found is None:
        return Reason(ReasonCode.NOT_AN_IMAGE, "Its bytes are no picture we know.")
    name = PurePosixPath(found.name)
    if name.suffix.lower() == ".txt" and (photo := _sibling(found, PHOTO_SUFFIXES)):
        return Reason(ReasonCode.NOT_AN_IMAGE, f"The caption of {photo}.")
    try:
        with found.path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        head = b"?"
    if not head:
        return Reason(ReasonCode.NOT_AN_IMAGE, "The file is empty; copy it again.")
    if _begins(head, _RAW):
        return CAMERA_RAW
    if _begins(head, _PHONE_PICTURE):  # a whole one was opened before anybody asks here
        return DAMAGED
    if _begins(head, _VIDEO):
        return _video(found)
    for at, mark, kind in _SIGNATURES:
        if head[at:].startswith(mark):
            return Reason(ReasonCode.UNSUPPORTED, f"{kind}; save it as JPEG or PNG.")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<svg")) and b"<svg" in head:
        return Reason(ReasonCode.UNSUPPORTED, "A drawing (SVG); save it as JPEG or PNG.")
    return Reason(ReasonCode.NOT_AN_IMAGE, "Its bytes are no picture we know.")


def is_system_file(found: FoundFile) -> bool:
    """Return whether the operating system or a NAS made the file; it may hold a thumbnail."""
    name = PurePosixPath(found.name)
    system = name.name.lower() in SYSTEM_NAMES or name.name.startswith("._")
    return system or bool(SYSTEM_FOLDERS & {part.lower() for part in name.parts})


def is_camera_raw(found: FoundFile, image: Image.Image) -> bool:
    """Return whether an opened TIFF is a camera's raw file, of which Pillow sees a thumbnail.

    DNG and CR2 say so themselves; NEF, ARW and PEF keep the real picture in a folder below a small
    one.
    """
    if image.format != "TIFF":
        return False
    with found.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    tags = getattr(image, "tag_v2", {})
    return _begins(head, _RAW) or DNG_VERSION in tags or (SUB_FOLDERS in tags and MAKE in tags)


def _begins(head: bytes, marks: tuple[tuple[int, bytes], ...]) -> bool:
    return any(head[at:].startswith(mark) for at, mark in marks)


def _video(found: FoundFile) -> Reason:
    if photo := _sibling(found, LIVE_PHOTO_SUFFIXES):
        return Reason(ReasonCode.NOT_AN_IMAGE, f"The video half of the Live Photo {photo}.")
    return Reason(ReasonCode.NOT_AN_IMAGE, "A video; take single pictures out of it.")


def _sibling(found: FoundFile, suffixes: tuple[str, ...]) -> str | None:
    """Return the name of a file beside this one that differs only in its suffix."""
    for suffix in (*suffixes, *(suffix.upper() for suffix in suffixes)):
        beside = found.path.with_suffix(suffix)
        with suppress(OSError):  # a name that grows too long
            if beside != found.path and beside.exists():
                return beside.name
    return None
