"""The written crops: their pixels, their size, their order, and nothing in them but pixels."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from lora_prep.cropping import crop_photos
from lora_prep.errors import DatasetError, LoraPrepError
from lora_prep.events import Event
from lora_prep.model import Box, Crop, Decision, Photo, Verdict
from lora_prep.photos import open_upright
from tests.cropping.jpeg import only_pixels, segments
from tests.cropping.made_up import made_up, several, verdict_on
from tests.photos.pictures import (
    GPS,
    MAKE,
    SKIN,
    colourful,
    display_p3_profile,
    orientation_tag,
    p3_to_srgb,
    stored,
)

pytestmark = pytest.mark.slow  # many crops are made


def bytes_of(crops: tuple[Crop, ...]) -> list[bytes]:
    return [path.read_bytes() for crop in crops for path in (crop.path, crop.preview)]


def test_every_kept_photo_becomes_one_square_with_a_neutral_name(tmp_path: Path) -> None:
    kept = several(tmp_path)

    crops = crop_photos(kept, tmp_path / "crops", size_px=512)

    assert [crop.name for crop in crops] == [f"{number:04d}.jpg" for number in range(1, 6)]
    by_name = {verdict.name: verdict for verdict in kept}
    for crop in crops:
        verdict = by_name[crop.source]
        assert verdict.photo is not None
        assert crop.source_sha256 == verdict.photo.sha256
        assert crop.box == verdict.crop
        assert crop.caption is None
        assert crop.sha256 == hashlib.sha256(crop.path.read_bytes()).hexdigest()
        assert crop.path == tmp_path / "crops" / crop.name
        with Image.open(crop.path) as image:
            assert image.size == (crop.size_px, crop.size_px) == (512, 512)
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4


def test_they_are_in_the_order_of_the_photos_hashes_whatever_order_they_come_in(
    tmp_path: Path,
) -> None:
    kept = several(tmp_path)
    crops = crop_photos(kept, tmp_path / "one", size_px=256)
    shuffled = random.Random(1).sample(kept, len(kept))
    for verdict in shuffled:
        assert verdict.photo is not None

    again = crop_photos(shuffled, tmp_path / "other", size_px=256)

    assert [crop.source_sha256 for crop in crops] == sorted(crop.source_sha256 for crop in crops)
    assert [crop.source for crop in again] == [crop.source for crop in crops]
    assert bytes_of(again) == bytes_of(crops)


@pytest.mark.parametrize("workers", [2, 4, 0])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path, workers: int) -> None:
    kept = several(tmp_path)

    one = crop_photos(kept, tmp_path / "one", size_px=300, workers=1)
    more = crop_photos(kept, tmp_path / "more", size_px=300, workers=workers)

    assert bytes_of(more) == bytes_of(one)
    assert [crop.sha256 for crop in more] == [crop.sha256 for crop in one]


def full_of_traces(path: Path, profile: bytes | None) -> Verdict:
    """A photo with everything that a file can carry besides its pixels."""
    exif = orientation_tag(6)
    exif[MAKE] = "Synthetica"
    exif.get_ifd(GPS)[1] = "N"
    return made_up(
        path,
        (900, 700),
        Box(20, 10, 600, 600),
        exif=exif.tobytes(),
        comment=b"home",
        xmp=b"<x:xmpmeta>home</x:xmpmeta>",
        icc_profile=profile,
        dpi=(300, 300),
    )


@pytest.mark.parametrize("profile", [None, display_p3_profile()], ids=["sRGB", "Display P3"])
def test_a_crop_holds_pixels_and_nothing_else(tmp_path: Path, profile: bytes | None) -> None:
    verdict = full_of_traces(tmp_path / "1.jpg", profile)
    names = {name for name, _ in segments((tmp_path / "1.jpg").read_bytes())}
    # What must not be left; converting the colours would lose some of it by itself.
    assert {"APP1", "COM", *(["APP2"] if profile else [])} <= names

    for size_px in (1024, 256):
        (crop,) = crop_photos([verdict], tmp_path / str(size_px), size_px=size_px)
        for jpeg in (crop.path.read_bytes(), crop.preview.read_bytes()):
            assert only_pixels(jpeg)
            assert not any(word in jpeg for word in (b"Exif", b"home", b"Synthetica", b"ICC_"))


def test_quality_is_95_in_the_crop(tmp_path: Path) -> None:
    verdict = made_up(tmp_path / "1.jpg", (600, 600), Box(0, 0, 600, 600))
    (crop,) = crop_photos([verdict], tmp_path / "crops", size_px=512)
    colourful(64, 64).save(tmp_path / "95.jpg", quality=95, subsampling=0)

    with Image.open(crop.path) as ours, Image.open(tmp_path / "95.jpg") as reference:
        assert ours.quantization == reference.quantization
        assert ours.layer == reference.layer


def test_colours_are_those_of_srgb(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    Image.new("RGB", (700, 700), SKIN).save(path, quality=95, icc_profile=display_p3_profile())

    (crop,) = crop_photos([verdict_on(path, Box(0, 0, 700, 700))], tmp_path / "c", size_px=512)

    with Image.open(crop.path) as image:
        assert image.getpixel((9, 9)) == pytest.approx(p3_to_srgb(SKIN), abs=3)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "I;16"])
def test_any_kind_of_pixels_gives_an_rgb_jpeg(tmp_path: Path, mode: str) -> None:
    picture = colourful(700, 600)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << 8)
    else:
        picture = picture.quantize() if mode == "P" else picture.convert(mode)
    path = tmp_path / ("1.tif" if mode == "CMYK" else "1.png")
    picture.save(path)

    (crop,) = crop_photos([verdict_on(path, Box(50, 0, 600, 600))], tmp_path / "c", size_px=256)

    with Image.open(crop.path) as image:
        assert (image.mode, image.size) == ("RGB", (256, 256))
    assert only_pixels(crop.path.read_bytes())


def test_a_crop_is_made_smaller_but_never_larger(tmp_path: Path) -> None:
    verdict = made_up(tmp_path / "1.jpg", (1000, 1200), Box(100, 200, 660, 660))

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
    exif = orientation_tag(orientation).tobytes()
    stored(colourful(360, 280), orientation).save(path, exif=exif, quality=98)
    box = Box(60, 30, 220, 220)

    (crop,) = crop_photos([verdict_on(path, box)], tmp_path / "crops", size_px=1024)

    expected = open_upright(path).crop((60, 30, 280, 250))
    with Image.open(crop.path) as image:
        difference = np.abs(np.asarray(image, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 3


def test_a_photo_that_had_to_be_turned_is_cropped_as_it_was_turned(tmp_path: Path) -> None:
    upright = colourful(500, 800)
    upright.rotate(90, expand=True).save(tmp_path / "1.png")  # stored on its side
    lying = verdict_on(tmp_path / "1.png", Box(50, 300, 400, 400))
    photo = lying.photo
    assert photo is not None
    turned = Photo(*("1.png", photo.path, photo.sha256, 1, "PNG", 500, 800), turned_deg=90)
    verdict = Verdict("1.png", Decision.KEPT, (), turned, crop=lying.crop)

    (crop,) = crop_photos([verdict], tmp_path / "crops", size_px=400)

    expected = upright.crop((50, 300, 450, 700))
    with Image.open(crop.path) as image:
        difference = np.abs(np.asarray(image, np.int16) - np.asarray(expected, np.int16))
    assert difference.mean() < 2


def test_a_small_copy_lies_beside(tmp_path: Path) -> None:
    (crop,) = crop_photos(several(tmp_path, 1), tmp_path / "crops", size_px=600)

    assert crop.preview == tmp_path / "crops" / "previews" / "0001.jpg"
    with Image.open(crop.preview) as small, Image.open(crop.path) as large:
        assert small.size == (368, 368)
        shrunk = large.resize(small.size)
        difference = np.abs(np.asarray(small, np.int16) - np.asarray(shrunk, np.int16))
    assert difference.mean() < 3
    assert crop.preview.stat().st_size < 40_000


def test_a_caption_goes_with_its_photo(tmp_path: Path) -> None:
    kept = several(tmp_path, 3)

    crops = crop_photos(
        kept, tmp_path / "crops", size_px=256, captions={"1.jpg": "p3r5on, smiling", "x": "other"}
    )

    assert {crop.source: crop.caption for crop in crops} == {
        "0.jpg": None,
        "1.jpg": "p3r5on, smiling",
        "2.jpg": None,
    }


def test_the_original_is_not_touched_and_the_folder_is_made(tmp_path: Path) -> None:
    verdict = full_of_traces(tmp_path / "1.jpg", None)
    before = (tmp_path / "1.jpg").read_bytes(), (tmp_path / "1.jpg").stat().st_mtime_ns

    crop_photos([verdict], tmp_path / "run" / "crops", size_px=512)

    assert ((tmp_path / "1.jpg").read_bytes(), (tmp_path / "1.jpg").stat().st_mtime_ns) == before
    assert sorted(
        path.relative_to(tmp_path / "run/crops").as_posix()
        for path in (tmp_path / "run/crops").rglob("*")
    ) == ["0001.jpg", "previews", "previews/0001.jpg"]


def test_each_crop_is_an_event(tmp_path: Path) -> None:
    events: list[Event] = []

    crop_photos(several(tmp_path, 2), tmp_path / "c", size_px=256, on_event=events.append)

    assert [(event.stage, event.done, event.total) for event in events] == [
        ("prepare", 1, 2),
        ("prepare", 2, 2),
    ]


def test_no_photo_gives_no_crop(tmp_path: Path) -> None:
    assert crop_photos([], tmp_path / "crops", size_px=512) == ()


def test_a_verdict_without_a_square_cannot_be_cropped(tmp_path: Path) -> None:
    verdict = Verdict("1.jpg", Decision.LEFT_OUT, ())

    with pytest.raises(ValueError, match=r"1\.jpg has no face"):
        crop_photos([verdict], tmp_path, size_px=512)


def test_a_photo_that_vanished_is_an_error_a_person_can_act_on(tmp_path: Path) -> None:
    photo = Photo("1.jpg", tmp_path / "1.jpg", "0" * 64, 1, "JPEG", 900, 900)
    verdict = Verdict("1.jpg", Decision.KEPT, (), photo, crop=Box(0, 0, 600, 600))

    with pytest.raises(LoraPrepError, match=r"1\.jpg") as refusal:
        crop_photos([verdict], tmp_path / "c", size_px=512)

    assert isinstance(refusal.value, DatasetError)
    assert "No such file" in refusal.value.why
    assert refusal.value.fix


def test_a_profile_of_ours_is_not_needed_to_read_it(tmp_path: Path) -> None:
    """Without a profile every reader takes a JPEG for sRGB; ours is."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile = made_up(tmp_path / "1.jpg", (600, 600), Box(0, 0, 600, 600), icc_profile=srgb)
    without = made_up(tmp_path / "2.jpg", (600, 600), Box(0, 0, 600, 600))

    (one,) = crop_photos([with_profile], tmp_path / "one", size_px=600)
    (other,) = crop_photos([without], tmp_path / "other", size_px=600)

    with Image.open(one.path) as tagged, Image.open(other.path) as bare:
        difference = np.abs(np.asarray(tagged, np.int16) - np.asarray(bare, np.int16))
    assert difference.mean() < 1
