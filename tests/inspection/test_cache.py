"""Analyses made before: used when they are whole and of these bytes, else made anew."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from lora_prep.inspection import AnalysisCache, Limits, inspect_photos
from lora_prep.model import Finding
from lora_prep.photos import FoundFile, find_photos
from tests.inspection.fakes import FakeAnalyser, one_face
from tests.photos.pictures import encoded
from tests.sample import LIMITS, a_face, as_ordinary_user, examples, textured

pytestmark = pytest.mark.slow  # many entries are made and broken

NAMES = ("holiday.jpg", "below/office.png")


@cache
def photo_bytes(number: int) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    return encoded(("JPEG", "PNG")[number], textured((600, 560 + number)), exif=exif)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo_bytes(number))
    return folder


def inspected(
    photos: Path, cache: AnalysisCache | None, analyser: FakeAnalyser | None = None
) -> tuple[Finding, ...]:
    return inspect_photos(
        find_photos(photos), analyser or one_face(), LIMITS, cache=cache, workers=1
    )


def decoded(photos: Path, cache: AnalysisCache | None) -> int:
    """How many photos had to be looked at; what was found must be the same as without a cache."""
    analyser = one_face()
    assert inspected(photos, cache, analyser) == inspected(photos, None)
    return len(analyser.sizes)


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "analyses").iterdir())


def test_what_was_looked_at_before_is_not_looked_at_again(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")

    assert [decoded(photos, cache) for _ in range(3)] == [2, 0, 0]
    assert decoded(photos, AnalysisCache(tmp_path / "cache", "fake")) == 0


def test_the_second_run_decodes_no_pixel(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    first = inspected(photos, cache)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("lora_prep.inspection.analysis.open_upright", refuse)
    monkeypatch.setattr("lora_prep.inspection.analysis.open_region", refuse)
    monkeypatch.setattr("lora_prep.photos.decode.load_part", refuse)

    assert inspected(photos, cache) == first


def test_a_photo_is_known_under_any_name_and_by_its_place_of_now(
    photos: Path, tmp_path: Path
) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    photos.rename(tmp_path / "moved")
    (tmp_path / "moved" / "holiday.jpg").rename(tmp_path / "moved" / "renamed.jpg")

    assert decoded(tmp_path / "moved", cache) == 0
    found = inspected(tmp_path / "moved", cache)
    assert [finding.photo and finding.photo.path for finding in found] == [
        tmp_path / "moved" / "below" / "office.png",
        tmp_path / "moved" / "renamed.jpg",
    ]


def test_changed_bytes_are_looked_at(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    textured((900, 700)).save(photos / "holiday.jpg")

    assert decoded(photos, cache) == 1


def test_another_face_pack_has_entries_of_its_own(photos: Path, tmp_path: Path) -> None:
    mine, other = (AnalysisCache(tmp_path / "cache", pack) for pack in ("fake", "other"))

    assert [decoded(photos, cache) for cache in (mine, other, mine, other)] == [2, 2, 0, 0]
    assert len(entries(tmp_path / "cache")) == 4


def test_other_limits_are_judged_without_looking(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    analyser = one_face()

    found = inspect_photos(find_photos(photos), analyser, Limits(500, 2000), cache=cache)

    assert analyser.sizes == []
    assert {reason.code.value for finding in found for reason in finding.reasons} == {
        "crop_too_small"
    }
    assert {
        reason.code.value for finding in found for face in finding.faces for reason in face.reasons
    } == {"face_too_small"}


def test_a_photo_without_a_face_is_remembered_too(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache, FakeAnalyser())
    analyser = FakeAnalyser()

    found = inspected(photos, cache, analyser)

    assert analyser.sizes == []
    assert [finding.reasons[0].code.value for finding in found] == ["no_face", "no_face"]


def test_a_turned_photo_is_remembered_as_turned(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    turned = FakeAnalyser(a_face(), turned_deg=90)
    first = inspected(photos, cache, turned)

    assert inspected(photos, cache, FakeAnalyser()) == first
    assert [finding.photo and finding.photo.turned_deg for finding in first] == [90, 90]
    assert [finding.photo and finding.photo.width_px for finding in first] == [561, 560]


# ── damage ────────────────────────────────────────────────────────────────────────────────────


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_photo(path: Path) -> None:
    (other,) = (entry for entry in entries(path.parents[1]) if entry != path)
    path.write_bytes(other.read_bytes())


def of_an_older_version(path: Path) -> None:
    """Without a field that is there today, and with one that is not."""
    analysis = json.loads(path.read_bytes().partition(b"\n")[2])
    del analysis["fingerprint"]
    path.write_text(json.dumps({**analysis, "mood": "good"}))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm",
    [
        halved,
        of_another_photo,
        of_an_older_version,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"{}"),
        lambda path: path.write_bytes(b"[" * 100_000),
        lambda path: path.write_bytes(b"\xff" * 1000),
    ],
)
def test_a_damaged_entry_is_made_anew(
    photos: Path, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    whole = [path.read_bytes() for path in entries(tmp_path / "cache")]

    harm(entries(tmp_path / "cache")[0])

    assert decoded(photos, cache) == 1
    assert [path.read_bytes() for path in entries(tmp_path / "cache")] == whole
    assert decoded(photos, cache) == 0


def test_an_entry_that_is_a_folder_costs_the_cache_and_nothing_else(
    photos: Path, tmp_path: Path
) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    a_folder(entries(tmp_path / "cache")[0])

    assert [decoded(photos, cache) for _ in range(2)] == [1, 1]
    assert [path.name for path in tmp_path.glob("cache/**/.part-*")] == []


@pytest.mark.timeout(60)
def test_whatever_bytes_an_entry_holds_the_finding_is_the_same(
    photos: Path, tmp_path: Path
) -> None:
    (photos / NAMES[1]).unlink()
    cache = AnalysisCache(tmp_path / "cache", "fake")
    expected = inspected(photos, cache)
    (entry,) = entries(tmp_path / "cache")
    whole = entry.read_bytes()

    @examples(40)
    @hypothesis.given(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4),
        st.integers(0, len(whole)),
        st.binary(max_size=20),
    )
    def check(changes: list[tuple[int, int]], kept: int, more: bytes) -> None:
        data = bytearray(whole)
        for place, value in changes:
            data[place] = value
        entry.write_bytes(data[:kept] + more)

        assert inspected(photos, cache) == expected
        assert entry.read_bytes() == whole

    check()


# ── the folder ────────────────────────────────────────────────────────────────────────────────


def modes(folder: Path) -> set[str]:
    """The modes of all folders, and those of all files."""
    return {
        f"{'folder' if path.is_dir() else 'file'} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
    }


def test_only_the_owner_can_read_it(photos: Path, tmp_path: Path) -> None:
    inspected(photos, AnalysisCache(tmp_path / "new" / "cache", "fake"))

    assert modes(tmp_path / "new" / "cache") == {"folder 700", "file 600"}


def test_only_the_owner_can_read_it_when_that_is_an_ordinary_user(
    photos: Path,
) -> None:
    place = Path(tempfile.mkdtemp())  # the folders above pytest's own are closed to others
    place.chmod(0o777)
    shutil.copytree(photos, place / "photos")

    def work() -> str:
        os.umask(0)
        assert decoded(place / "photos", AnalysisCache(place / "cache", "fake")) == 2
        assert decoded(place / "photos", AnalysisCache(place / "cache", "fake")) == 0
        return " ".join(sorted(modes(place / "cache")))

    answer = as_ordinary_user(place, work)
    shutil.rmtree(place)

    assert answer == "file 600 folder 700"


def test_it_holds_no_name_and_no_place(photos: Path, tmp_path: Path) -> None:
    inspected(photos, AnalysisCache(tmp_path / "cache", "fake"))

    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 4
    told = b"\n".join(path.read_bytes() + str(path.name).encode() for path in files)
    for word in (b"holiday", b"office", b"below", b"photos", str(tmp_path).encode()):
        assert word not in told


def test_a_small_picture_of_each_photo_lies_beside(tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    photos = tmp_path / "photos"
    photos.mkdir()
    textured((1200, 1000)).save(photos / "1.jpg")

    for finding in inspected(photos, cache):
        assert finding.photo is not None
        preview = cache.preview(finding.photo)
        assert preview.stat().st_size < 60_000
        with Image.open(preview) as image:
            assert image.format == "JPEG"
            assert 320 <= max(image.size) <= 480
            assert not image.getexif()


def test_a_folder_that_was_deleted_meanwhile_costs_nothing_but_time(
    photos: Path, tmp_path: Path
) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    shutil.rmtree(tmp_path / "cache")

    assert [decoded(photos, cache) for _ in range(2)] == [2, 2]
    assert decoded(photos, AnalysisCache(tmp_path / "cache", "fake")) == 2


def test_a_place_where_no_folder_can_be_made_is_no_cache(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    for place in ("file", "file/below"):
        assert [decoded(photos, AnalysisCache(tmp_path / place, "fake")) for _ in "12"] == [2, 2]


def test_a_cache_that_may_not_be_written_is_no_error(photos: Path, tmp_path: Path) -> None:
    inspected(photos, AnalysisCache(tmp_path / "theirs", "fake"))
    (tmp_path / "empty").mkdir(mode=0o755)
    tmp_path.chmod(0o755)

    def work() -> str:
        return " ".join(
            str(decoded(Path("photos"), AnalysisCache(Path(place), "fake")))
            for place in ("theirs", "empty", "missing")
        )

    assert as_ordinary_user(tmp_path, work) == "2 2 2"


def test_only_what_was_not_used_for_long_is_pruned(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    inspected(photos, cache)
    files = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    long_ago = time.time() - 91 * 86400
    for path in files:
        os.utime(path, (long_ago, long_ago))
    lately = time.time() - 89 * 86400
    os.utime(files[-1], (lately, lately))
    (photos / "below" / "office.png").unlink()
    assert decoded(photos, cache) == 0  # that one is used

    cache.prune()

    left = {path for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert files[-1] in left
    assert len([path for path in left if path.suffix == ".json"]) == 1
    assert decoded(photos, cache) == 0


def test_pruning_a_cache_that_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    AnalysisCache(tmp_path / "file", "fake").prune()


def test_two_that_write_at_once_leave_a_whole_entry(photos: Path, tmp_path: Path) -> None:
    cache = AnalysisCache(tmp_path / "cache", "fake")
    file = FoundFile("holiday.jpg", photos / "holiday.jpg")

    inspect_photos([file] * 8, one_face(), LIMITS, cache=cache, workers=4)

    assert len(entries(tmp_path / "cache")) == 1
    analyser = one_face()
    inspect_photos([file], analyser, LIMITS, cache=cache)
    assert analyser.sizes == []
