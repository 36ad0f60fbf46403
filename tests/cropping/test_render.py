"""The written crops: their pixels, their size, and nothing in them but pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, JpegImagePlugin

from lora_prep.cropping import crop_box, crop_photos
from lora_prep.errors import LoraPrepError
from lora_prep.events import Event
from lora_prep.model import Box, Crop, Decision, Face, Photo, Verdict
from lora_prep.photos import FoundFile, open_upright, read_photo
from lora_prep.selection import select_photos
from tests.sample import SAMPLE_DATA, a_face, analyser, findings


@cache
def kept_ada() -> tuple[Verdict, ...]:
    return select_photos(
        SAMPLE_DATA / "people/ada", findings("people/ada"), needed=10, at_most=30
    ).kept


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> tuple[Crop, ...]:
    return crop_photos(kept_ada(), tmp_path_factory.mktemp("crops"), size_px=1024)


def made_up(path: Path, size: tuple[int, int], face: Face) -> Verdict:
    """A smooth, colourful picture on disk with a face that somebody says is there."""
    noise = Image.effect_noise((size[0] // 8, size[1] // 8), 120).convert("RGB")
    noise.resize(size).filter(ImageFilter.BoxBlur(4)).save(path, quality=98)
    photo = read_photo(FoundFile(path.name, path))
    return Verdict(path.name, Decision.KEPT, (), photo, face)


def segments(jpeg: bytes) -> Iterator[str]:
    """The names of all marker segments up to the pixels (ITU T.81, table B.1)."""
    assert jpeg[:2] == b"\xff\xd8"
    place = 2
    while (marker := jpeg[place + 1]) != 0xDA:
        assert jpeg[place] == 0xFF
        length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
        data = jpeg[place + 4 : place + 2 + length]
        yield {0xDB: "DQT", 0xC0: "SOF0", 0xC4: "DHT", 0xDD: "DRI"}.get(
            marker, f"{marker:02X} {data[:12]!r}"
        )
        place += 2 + length


@pytest.mark.slow
def test_every_kept_photo_becomes_one_square_with_a_neutral_name(ada: tuple[Crop, ...]) -> None:
    assert [crop.name for crop in ada] == [f"{number:04d}.jpg" for number in range(1, 17)]
    assert [crop.source for crop in ada] == [verdict.name for verdict in kept_ada()]
    for crop, verdict in zip(ada, kept_ada(), strict=True):
        assert verdict.photo is not None
        assert crop.source_sha256 == verdict.photo.sha256
        assert crop.sha256 == hashlib.sha256(crop.path.read_bytes()).hexdigest()
        assert crop.path.name == crop.name
        with Image.open(crop.path) as image:
            assert image.size == (crop.size_px, crop.size_px)
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
            assert crop.size_px == min(crop.box.width, 1024)


@pytest.mark.slow
def test_a_crop_holds_pixels_and_nothing_else(ada: tuple[Crop, ...]) -> None:
    for crop in ada:
        jpeg = crop.path.read_bytes()
        others = set(segments(jpeg)) - {"DQT", "SOF0", "DHT"}
        assert all(name.startswith("E0 b'JFIF") for name in others), others
        assert not any(word in jpeg for word in (b"Exif", b"GPS", b"Synthetica", b"ICC_PROFILE"))
        assert jpeg.rstrip(b"\0").endswith(b"\xff\xd9")  # nothing behind the pixels either


def test_the_photos_did_hold_a_place_to_begin_with() -> None:
    for name in ("ada_04.jpg", "ada_07.jpg"):
        with Image.open(SAMPLE_DATA / "people/ada" / name) as image:
            assert dict(image.getexif().get_ifd(0x8825))


@pytest.mark.slow
def test_the_face_is_found_again_in_every_crop(ada: tuple[Crop, ...]) -> None:
    for crop in ada:
        with Image.open(crop.path) as image:
            (face,) = analyser().analyse(image)
        share = face.box.height / crop.size_px
        assert 0.35 <= share <= 0.8, crop.source
        assert face.score > 0.8, crop.source


def test_a_crop_is_made_smaller_but_never_larger(tmp_path: Path) -> None:
    verdict = made_up(tmp_path / "1.jpg", (1000, 1200), a_face(300, x=300, y=300))

    (as_wanted,) = crop_photos([verdict], tmp_path / "small", size_px=512)
    (as_it_is,) = crop_photos([verdict], tmp_path / "large", size_px=1024)

    assert as_wanted.size_px == 512
    assert as_it_is.size_px == as_it_is.box.width == 660
    assert as_wanted.box == as_it_is.box
    with Image.open(as_it_is.path) as image:
        assert image.size == (660, 660)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_the_pixels_are_those_of_the_box(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"1.{suffix}"
    made_up(path, (360, 280), a_face())
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif.tobytes())
    photo = read_photo(FoundFile(path.name, path))
    verdict = Verdict(path.name, Decision.KEPT, (), photo, a_face(90, x=60, y=180))

    (crop,) = crop_photos([verdict], tmp_path / "crops", size_px=1024)

    left, top, side = (int(value) for value in (crop.box.x, crop.box.y, crop.box.width))
    expected = open_upright(path).crop((left, top, left + side, top + side))
    assert crop.box == crop_box(a_face(90, x=60, y=180).box, *open_upright(path).size)
    with Image.open(crop.path) as image:
        difference = np.abs(np.asarray(image, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 3


@pytest.mark.slow
def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    verdict = kept_ada()[3]

    (one,) = crop_photos([verdict], tmp_path / "one", size_px=512)
    (other,) = crop_photos([verdict], tmp_path / "other", size_px=512)

    assert one.sha256 == other.sha256


def test_the_original_is_not_touched_and_the_folder_is_made(tmp_path: Path) -> None:
    verdict = made_up(tmp_path / "1.jpg", (900, 900), a_face())
    before = verdict.photo and verdict.photo.path.read_bytes()

    crop_photos([verdict], tmp_path / "run" / "crops", size_px=512)

    assert (tmp_path / "1.jpg").read_bytes() == before
    assert [path.name for path in (tmp_path / "run/crops").iterdir()] == ["0001.jpg"]


def test_each_crop_is_an_event(tmp_path: Path) -> None:
    verdict = made_up(tmp_path / "1.jpg", (900, 900), a_face())
    events: list[Event] = []

    crop_photos([verdict, verdict], tmp_path / "crops", size_px=512, on_event=events.append)

    assert [(event.stage, event.done, event.total) for event in events] == [
        ("prepare", 1, 2),
        ("prepare", 2, 2),
    ]


def test_a_verdict_without_a_face_cannot_be_cropped(tmp_path: Path) -> None:
    verdict = Verdict("1.jpg", Decision.LEFT_OUT, (), None, None)

    with pytest.raises(ValueError, match=r"1\.jpg has no face"):
        crop_photos([verdict], tmp_path, size_px=512)


def test_a_photo_that_vanished_is_an_error_a_person_can_act_on(tmp_path: Path) -> None:
    photo = Photo("1.jpg", tmp_path / "1.jpg", "0" * 64, 1, "JPEG", 900, 900)

    with pytest.raises(LoraPrepError, match=r"1\.jpg"):
        crop_photos(
            [Verdict("1.jpg", Decision.KEPT, (), photo, a_face())], tmp_path / "c", size_px=512
        )


@pytest.mark.slow
def test_the_box_is_the_one_of_the_geometry(ada: tuple[Crop, ...]) -> None:
    for crop, verdict in zip(ada, kept_ada(), strict=True):
        assert verdict.face is not None
        assert verdict.photo is not None
        expected = crop_box(verdict.face.box, verdict.photo.width_px, verdict.photo.height_px)
        assert crop.box == expected
        assert isinstance(crop.box, Box)
