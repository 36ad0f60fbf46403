"""Crops made before are taken when they are whole, and made anew when they are not."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.cropping import crop_photos
from lora_prep.model import Crop, Verdict
from tests.cropping.made_up import several
from tests.sample import as_ordinary_user, examples

pytestmark = pytest.mark.slow  # many crops are made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the name of every photo that is decoded for its crop."""
    from lora_prep.cropping import render

    names: list[str] = []
    decode = render.open_crop

    def watched(photo: Any, *given: Any) -> Any:
        names.append(photo.name)
        return decode(photo, *given)

    monkeypatch.setattr(render, "open_crop", watched)
    return names


def written(crops: tuple[Crop, ...]) -> list[bytes]:
    return [path.read_bytes() for crop in crops for path in (crop.path, crop.preview)]


def test_the_second_time_nothing_is_decoded(tmp_path: Path, made: list[str]) -> None:
    kept, cache = several(tmp_path, 3), tmp_path / "cache"

    plain = crop_photos(kept, tmp_path / "plain", size_px=256)
    first = crop_photos(kept, tmp_path / "first", size_px=256, cache=cache)
    made.clear()
    second = crop_photos(kept, tmp_path / "second", size_px=256, cache=cache)

    assert made == []
    assert written(first) == written(second) == written(plain)
    assert [replace(crop, path=Path(), preview=Path()) for crop in first] == [
        replace(crop, path=Path(), preview=Path()) for crop in second
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda verdict: replace(verdict, crop=replace(verdict.crop, x=verdict.crop.x + 1)),
        lambda verdict: replace(verdict, photo=replace(verdict.photo, sha256="7" * 64)),
        lambda verdict: replace(verdict, photo=replace(verdict.photo, turned_deg=180)),
    ],
    ids=["another square", "other bytes", "turned"],
)
def test_what_is_not_the_same_is_made_anew(
    tmp_path: Path, made: list[str], change: Callable[[Verdict], Verdict]
) -> None:
    kept, cache = several(tmp_path, 2), tmp_path / "cache"
    crop_photos(kept, tmp_path / "first", size_px=256, cache=cache)
    made.clear()

    crop_photos([change(kept[0]), kept[1]], tmp_path / "second", size_px=256, cache=cache)
    crop_photos(kept[:1], tmp_path / "third", size_px=200, cache=cache)

    assert made == ["0.jpg", "0.jpg"]


def test_another_name_and_place_is_the_same_photo(tmp_path: Path, made: list[str]) -> None:
    kept, cache = several(tmp_path, 1), tmp_path / "cache"
    first = crop_photos(kept, tmp_path / "first", size_px=256, cache=cache)
    made.clear()
    gone = replace(kept[0], photo=replace(kept[0].photo, name="x.jpg", path=Path("/gone/x.jpg")))

    again = crop_photos([gone], tmp_path / "second", size_px=256, cache=cache)

    assert made == []
    assert written(again) == written(first)
    assert again[0].source == "x.jpg"


@pytest.mark.parametrize("suffix", ["", ".preview"], ids=["crop", "preview"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, made: list[str], suffix: str) -> None:
    kept, cache = several(tmp_path, 1), tmp_path / "cache"
    expected = written(crop_photos(kept, tmp_path / "first", size_px=100, cache=cache))
    entry = next(path for path in cache.iterdir() if (".preview" in path.name) == bool(suffix))
    whole = entry.read_bytes()

    @examples(25)
    @hypothesis.given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=3),
        st.integers(0, len(whole)),
        st.binary(max_size=9),
    )
    def check(changes: list[tuple[int, int]], length: int, more: bytes) -> None:
        data = bytearray(whole)
        for place, value in changes:
            data[place] = value
        entry.write_bytes(data[:length] + more)
        damaged = entry.read_bytes() != whole
        made.clear()

        crops = crop_photos(kept, tmp_path / "again", size_px=100, cache=cache, workers=1)

        assert written(crops) == expected
        assert len(made) == damaged
        assert entry.read_bytes() == whole

    check()


def test_a_missing_or_foreign_entry_is_made_anew(tmp_path: Path, made: list[str]) -> None:
    kept, cache = several(tmp_path, 2), tmp_path / "cache"
    expected = written(crop_photos(kept, tmp_path / "first", size_px=256, cache=cache))
    for path in cache.glob("*.preview.jpg"):
        path.unlink()
    one = next(iter(cache.iterdir()))
    one.unlink()
    one.mkdir()
    made.clear()

    again = crop_photos(kept, tmp_path / "second", size_px=256, cache=cache)

    assert sorted(made) == ["0.jpg", "1.jpg"]
    assert written(again) == expected


def test_it_is_its_owners_and_holds_no_name(tmp_path: Path) -> None:
    cache = tmp_path / "below" / "cache"
    (verdict,) = several(tmp_path, 1)
    assert verdict.photo is not None
    photo = replace(verdict.photo, name="holiday.jpg")

    crop_photos([replace(verdict, photo=photo)], tmp_path / "c", size_px=256, cache=cache)

    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    for path in cache.iterdir():
        told = path.name.encode() + path.read_bytes()
        assert b"holiday" not in told
        assert str(tmp_path).encode() not in told


def test_a_cache_that_cannot_be_kept_is_no_error(tmp_path: Path, made: list[str]) -> None:
    kept = several(tmp_path, 1)
    (tmp_path / "file").write_text("in the way")

    for place in ("file", "file/below"):
        (crop,) = crop_photos(kept, tmp_path / "c", size_px=256, cache=tmp_path / place)
        assert crop.size_px == 256
    assert len(made) == 2


def test_a_cache_that_may_not_be_written_is_no_error(tmp_path: Path) -> None:
    kept, cache = several(tmp_path, 1), tmp_path / "cache"
    expected = crop_photos(kept, tmp_path / "first", size_px=256, cache=cache)
    photo = kept[0].photo
    assert photo is not None
    relative = replace(kept[0], photo=replace(photo, path=Path(photo.path.name)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    tmp_path.chmod(0o755)
    digests = []

    def work() -> str:
        for mode in ("theirs", "missing"):
            place = Path("cache" if mode == "theirs" else "out/cache/deep")
            crops = crop_photos([relative], Path("out"), size_px=256, cache=place)
            digests.append(crops[0].sha256)
        return " ".join(digests)

    answer = as_ordinary_user(tmp_path, work)
    shutil.rmtree(tmp_path / "out")

    assert answer == " ".join([expected[0].sha256] * 2)


def test_two_at_once_leave_whole_entries(tmp_path: Path, made: list[str]) -> None:
    kept, cache = several(tmp_path, 1), tmp_path / "cache"
    expected = written(crop_photos(kept, tmp_path / "first", size_px=256))[:2]

    crop_photos(kept * 6, tmp_path / "many", size_px=256, cache=cache, workers=4)
    made.clear()
    (crop,) = crop_photos(kept, tmp_path / "last", size_px=256, cache=cache)

    assert made == []
    assert [crop.path.read_bytes(), crop.preview.read_bytes()] == expected
