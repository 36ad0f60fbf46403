"""A folder of broken pictures: every one gets its verdict, none ends the inspection."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.inspection import AnalysisCache, inspect_photos
from lora_prep.photos import find_photos
from tests.inspection.fakes import FakeAnalyser
from tests.sample import LIMITS, a_face, examples, textured

pytestmark = pytest.mark.slow  # many broken pictures

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
CODES = {"not_an_image", "unreadable", "unsupported", "too_many_pixels", "crop_too_small"}


@cache
def small_picture(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    out = io.BytesIO()
    tags = {} if kind in {"GIF", "BMP"} else {"exif": exif.tobytes()}
    textured((64, 48)).save(out, kind, **tags)
    return out.getvalue()


@st.composite
def broken_pictures(draw: st.DrawFn) -> bytes:
    """A picture with changed, missing, doubled or foreign bytes, often in its header."""
    data = bytearray(small_picture(draw(st.sampled_from(KINDS))))
    for _ in range(draw(st.integers(0, 6))):
        reach = draw(st.sampled_from([32, 200, len(data)]))
        data[draw(st.integers(0, min(reach, len(data)) - 1))] = draw(st.integers(0, 255))
    place = draw(st.integers(0, len(data)))
    match draw(st.integers(0, 3)):
        case 0:
            del data[place:]
        case 1:
            data[place:place] = draw(st.binary(max_size=30))
        case 2:
            data[place:place] = data[: draw(st.integers(0, 200))]
        case _:
            pass
    return bytes(data)


@pytest.mark.timeout(120)
def test_broken_pictures_get_a_verdict_each(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("hostile")
    cache = AnalysisCache(tmp_path_factory.mktemp("cache"), "fake")
    analyser = FakeAnalyser(a_face(30, x=5, y=5), a_face(300, x=-20, y=-20))

    @examples(50)
    @hypothesis.given(st.lists(broken_pictures(), min_size=1, max_size=4))
    def check(pictures: list[bytes]) -> None:
        for old in folder.iterdir():
            old.unlink()
        for number, data in enumerate(pictures):
            (folder / f"{number}.jpg").write_bytes(data)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF
            found = inspect_photos(find_photos(folder), analyser, LIMITS, cache=cache, workers=2)
            again = inspect_photos(find_photos(folder), analyser, LIMITS, cache=cache, workers=1)

        assert [finding.name for finding in found] == [f"{n}.jpg" for n in range(len(pictures))]
        for finding in found:
            assert {reason.code.value for reason in finding.reasons} <= CODES
            assert finding.reasons  # all are far too small for a crop, if they are pictures at all
            assert (finding.photo is None) == (finding.fingerprint is None)
        assert again == found

    check()
