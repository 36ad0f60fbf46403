"""Whatever colours a file is written in, what comes out is sRGB."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_prep.photos import open_upright
from tests.photos.pictures import (
    PLAIN,
    SKIN,
    display_p3_profile,
    largest_difference,
    p3_to_srgb,
    saved,
    srgb_profile,
    upright_picture,
)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("least_side_px", [None, 16])
def test_display_p3_becomes_srgb(tmp_path: Path, suffix: str, least_side_px: int | None) -> None:
    expected = p3_to_srgb(SKIN)
    assert max(abs(a - b) for a, b in zip(expected, SKIN, strict=True)) > 6
    file = saved(tmp_path / f"1.{suffix}", PLAIN, icc_profile=display_p3_profile(), quality=95)

    picture = open_upright(file.path, least_side_px=least_side_px)

    assert picture.getpixel((9, 9)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("profile", [srgb_profile(), b"no profile at all", srgb_profile()[:200]])
def test_an_srgb_or_broken_profile_changes_no_pixel(tmp_path: Path, profile: bytes) -> None:
    file = saved(tmp_path / "1.png", upright_picture(), icc_profile=profile)

    assert largest_difference(open_upright(file.path), upright_picture()) <= 1


def test_a_profile_of_another_kind_of_pixels_changes_none(tmp_path: Path) -> None:
    file = saved(tmp_path / "1.jpg", PLAIN.convert("CMYK"), icc_profile=srgb_profile(), quality=95)

    assert open_upright(file.path).getpixel((9, 9)) == pytest.approx(SKIN, abs=6)
