"""Broken files come from phones, chats and strangers: they may cost a verdict, nothing else."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.photos import FoundFile, UnreadablePhoto, open_upright, read_photo
from tests.sample import examples


@cache
def small_picture(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Synthetica"
    out = io.BytesIO()
    Image.effect_noise((48, 32), 90).convert("RGB").save(out, kind, exif=exif.tobytes())
    return out.getvalue()


edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_changed_bytes_are_read_alike_by_both_functions_or_refused(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.mktemp("hostile") / "1.jpg"

    @examples(40)
    @hypothesis.given(edits, st.booleans(), st.floats(0.5, 1))
    def check(changes: list[tuple[float, int]], near_the_head: bool, kept: float) -> None:
        data = bytearray(small_picture(kind))
        reach = min(200, len(data)) if near_the_head else len(data)
        for place, value in changes:
            data[int(place * reach)] = value
        path.write_bytes(data[: int(len(data) * kept)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of corrupt EXIF
            try:
                photo = read_photo(FoundFile(path.name, path))
                picture = open_upright(path)
                small = open_upright(path, least_side_px=16)
            except UnreadablePhoto as unreadable:
                assert unreadable.reason.hint
                return
        assert picture.size == (photo.width_px, photo.height_px)
        assert picture.mode == small.mode == "RGB"
        assert max(small.size) < 32

    check()
