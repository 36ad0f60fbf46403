"""Where the pictures of the page come from, and that nothing but pixels comes with them."""

import base64
import io

import pytest
from PIL import Image

from lora_prep.model import Decision

from .helpers import colour, crop, like, picture, selection, verdict

SECRET = b"where the camera was"


@pytest.fixture
def damaged(tmp_path):
    """Return files that are no whole picture, by what is wrong with them."""
    whole = io.BytesIO()
    Image.effect_noise((320, 240), 80).save(whole, "JPEG")
    made = {
        "missing": None,
        "empty": b"",
        "garbage": b"<script>alert(1)</script>" * 40,
        "cut off": whole.getvalue()[:2000],
        "head only": b"\xff\xd8\xff\xe0" + bytes(100),
    }

    def make(what):
        path = tmp_path / "damaged.jpg"
        if made[what] is not None:
            path.write_bytes(made[what])
        return path

    return make


def test_previews_are_used(tmp_path, written):
    preview = picture(tmp_path / "preview.jpg", colour="crimson")
    asked = []

    def preview_of(photo):
        asked.append(photo.name)
        return preview

    chosen = selection(
        tmp_path,
        verdict("a.jpg", path=picture(tmp_path / "a.jpg", colour="olive")),
        verdict("b.jpg", Decision.SPARE, path=tmp_path / "gone.jpg"),
        verdict("c.jpg", Decision.LEFT_OUT, path=tmp_path / "gone.jpg"),
        verdict("d.jpg", Decision.LEFT_OUT),
    )
    page = written(chosen, preview_of=preview_of)
    assert asked == ["a.jpg", "b.jpg", "c.jpg"]
    assert [colour(image) for image in page.thumbnails()] == [like("crimson")] * 3


def test_previews_of_crops_are_used(tmp_path, written):
    whole = picture(tmp_path / "0001.jpg", side=1024, colour="olive")
    preview = picture(tmp_path / "preview.jpg", side=368, colour="crimson")
    chosen = selection(tmp_path, verdict("a.jpg", path=whole))
    page = written(chosen, [crop(1, "a.jpg", whole, preview=preview)])
    image, beside = page.thumbnails()
    assert (colour(image), colour(beside)) == (like("crimson"), like("olive"))
    assert (image.size, beside.size) == ((368, 368), (288, 288))


@pytest.mark.parametrize("what", ["missing", "empty", "garbage", "cut off", "head only"])
def test_a_damaged_preview_is_not_embedded(tmp_path, written, damaged, what):
    photo = picture(tmp_path / "a.jpg", colour="olive")
    whole = picture(tmp_path / "0001.jpg", side=1024, colour="teal")
    preview = damaged(what)
    chosen = selection(
        tmp_path, verdict("a.jpg", path=photo), verdict("b.jpg", Decision.SPARE, path=photo)
    )
    crops = [crop(1, "a.jpg", whole, preview=preview)]
    page = written(chosen, crops, preview_of=lambda photo: preview)
    shown = [colour(image) for image in page.thumbnails()]
    assert shown == [like("teal"), like("olive"), like("olive")]
    if preview.exists() and preview.stat().st_size:
        assert base64.b64encode(preview.read_bytes()[:60]).decode() not in page.html


def test_where_all_is_damaged_the_page_says_so(tmp_path, written, damaged):
    bad = damaged("garbage")
    chosen = selection(tmp_path, verdict("a.jpg", path=bad), verdict("b.jpg", path=bad))
    page = written(chosen, [crop(1, "a.jpg", bad)], preview_of=lambda photo: bad)
    assert page.thumbnails() == []
    assert page.text.count("no preview") == 3


def test_only_the_pixels_of_a_preview_are_embedded(tmp_path, written):
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    preview = picture(tmp_path / "preview.jpg", exif=exif, comment=SECRET)
    preview.write_bytes(preview.read_bytes() + SECRET)
    assert preview.read_bytes().count(SECRET) == 3
    chosen = selection(tmp_path, verdict("a.jpg", path=preview))
    for page in (
        written(chosen, preview_of=lambda photo: preview),
        written(chosen, [crop(1, "a.jpg", preview)]),
    ):
        for image in page.thumbnails():
            assert not image.getexif()
            assert SECRET not in image.fp.getvalue()


@pytest.mark.parametrize(
    ("turned_deg", "top", "bottom"),
    [(0, "white", "white"), (90, "red", "white"), (180, "white", "red"), (270, "white", "red")],
)
def test_turned_photos_are_shown_upright(tmp_path, written, turned_deg, top, bottom):
    path = tmp_path / "scan.png"
    stored = Image.new("RGB", (800, 600), "white")
    # A quarter of the left edge, of which the lower end only counts for half a turn:
    stored.paste("red", (0, 200, 200, 400) if turned_deg != 180 else (300, 0, 500, 150))
    stored.save(path)
    chosen = selection(tmp_path, verdict("scan.png", path=path, turned_deg=turned_deg))
    (image,) = written(chosen).thumbnails()
    assert image.size == ((276, 368) if turned_deg in {90, 270} else (368, 276))
    assert colour(image, 0.5, 0.05) == like(top)
    assert colour(image, 0.5, 0.95) == like(bottom)


def test_small_pictures_are_not_enlarged(tmp_path, written):
    small = picture(tmp_path / "small.jpg", side=48)
    chosen = selection(tmp_path, verdict("a.jpg", path=small), verdict("b.jpg", path=small))
    page = written(chosen, [crop(1, "b.jpg", small)])
    assert [image.size for image in page.thumbnails()] == [(48, 48)] * 3
