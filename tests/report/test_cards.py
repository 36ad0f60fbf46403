"""What a card says besides its reasons, the advice, and the two people of a mixed folder."""

import pytest
from PIL import Image

from lora_prep.model import Box, Decision, Face, Framing, NoteCode, Reason, ReasonCode
from lora_prep.report import Scale

from .helpers import DOUBTED, colour, crop, like, picture, selection, verdict

pytestmark = pytest.mark.slow  # real photos are drawn

SOFT = Reason(NoteCode.SOFT, "A little soft.", 61.2, 70, "sharpness")
BY_HAND = Reason(NoteCode.KEPT_BY_HAND, "Kept by hand.")
STRANGER = Reason(
    ReasonCode.OTHER_PERSON, "Another person than the one of this set.", 0.791, 0.6, "distance"
)


@pytest.fixture
def photo(tmp_path):
    return picture(tmp_path / "photo.jpg")


def test_notes_are_shown_and_are_no_reasons(tmp_path, written, photo):
    chosen = selection(tmp_path, verdict("a.jpg", path=photo, notes=(SOFT, BY_HAND)))
    page = written(chosen)
    assert "A little soft. 61.2 sharpness (limit 70) Kept by hand." in page.words
    assert page.having("note") == ["div", "div"]
    assert page.having("reason") == []
    assert [at["data-code"] for _tag, at in page.elements if "data-code" in at] == [
        "soft",
        "kept_by_hand",
    ]


def test_a_doubted_face_is_noticed(tmp_path, written, photo):
    chosen = selection(
        tmp_path,
        verdict("good.jpg", path=photo, notes=(SOFT,)),
        verdict("doubted.jpg", path=photo, notes=(DOUBTED,), identity_distance=0.46),
        verdict("copy.jpg", Decision.LEFT_OUT, STRANGER, path=photo, notes=(DOUBTED,)),
    )
    page = written(chosen)
    head = page.words[: page.words.index("Kept")]
    assert "Look again at 1 photo: it may show somebody else. doubted.jpg" in head
    assert "copy.jpg" not in head
    assert len(page.having("doubted")) == 2
    assert "Less like the others. 0.46 distance (limit 0.42)" in page.words
    assert "distance 0.46" not in page.words  # its number stands in the note


def test_without_doubt_there_is_no_warning(tmp_path, written, photo):
    page = written(selection(tmp_path, verdict("a.jpg", path=photo, notes=(SOFT,))))
    assert "Look again" not in page.words
    assert page.having("doubted") == page.having("doubt") == []


def test_the_distance_is_among_the_measures(tmp_path, written, photo):
    chosen = selection(
        tmp_path,
        verdict("a.jpg", path=photo, identity_distance=0.3123),
        verdict("b.jpg", path=photo),
        verdict("c.jpg", Decision.LEFT_OUT, STRANGER, path=photo, identity_distance=0.791),
    )
    words = written(chosen).words
    assert "face 123 px high distance 0.31 detector 0.90 b.jpg" in words
    assert "distance 0.79" not in words
    assert "0.791 distance (limit 0.6)" in words


def test_the_farthest_are_named_beside_the_strip(tmp_path, written, photo):
    far = [
        verdict(
            f"far_{n}.jpg", Decision.LEFT_OUT, STRANGER, path=photo, identity_distance=0.7 + n / 100
        )
        for n in range(6)
    ]
    odd = verdict("odd.jpg", path=photo, notes=(DOUBTED,), identity_distance=0.46)
    near = verdict("a.jpg", path=photo, identity_distance=0.3)
    words = written(selection(tmp_path, *far, odd, near), scale=Scale(identity_cut=0.6)).words
    assert "far_5.jpg 0.75 somebody else far_4.jpg 0.74 somebody else" in words
    assert "far_2.jpg 0.72 somebody else and 3 more" in words
    words = written(selection(tmp_path, odd, near), scale=Scale(identity_cut=0.6)).words
    assert "odd.jpg 0.46 look again" in words
    assert "a.jpg: 0.30" in words  # said of its dot


def test_kept_photos_come_by_the_names_of_their_crops(tmp_path, written, photo):
    names = ["a.jpg", "b.jpg", "c.jpg"]
    chosen = selection(tmp_path, *(verdict(name, path=photo) for name in names))
    crops = [crop(3, "a.jpg", photo), crop(1, "b.jpg", photo), crop(2, "c.jpg", photo)]
    assert written(chosen, crops).files == ["b.jpg", "c.jpg", "a.jpg"]


def test_an_unusual_framing_is_named(tmp_path, written, photo):
    chosen = selection(
        tmp_path,
        verdict("a.jpg", path=photo, framing=Framing.HEAD_AND_SHOULDERS),
        verdict("b.jpg", path=photo, framing=Framing.UPPER_BODY),
    )
    words = written(chosen, [crop(1, "a.jpg", photo), crop(2, "b.jpg", photo)]).words
    assert "a.jpg crop 64 × 64 px" in words
    assert "b.jpg upper-body crop 64 × 64 px" in words


@pytest.mark.parametrize("caption", [None, "p3r5on, smiling"])
def test_captions_are_shown_as_what_is_sent(tmp_path, written, photo, caption):
    chosen = selection(tmp_path, verdict("a.jpg", path=photo))
    page = written(chosen, [crop(1, "a.jpg", photo, caption=caption)])
    assert page.having("caption") == (["p"] if caption else [])
    assert ("p3r5on, smiling" in page.words) is bool(caption)
    assert ("with its caption if it has one, and nothing else," in page.words) is bool(caption)


def test_advice_is_shown(tmp_path, written):
    chosen = selection(tmp_path, verdict("a.jpg"), advice=("Add a profile.", "Add other days."))
    words = written(chosen).words
    assert "What would make the set better Add a profile. Add other days. Kept" in words
    assert "better" not in written(selection(tmp_path, verdict("a.jpg"))).words


@pytest.fixture
def mixed(tmp_path):
    """Return a folder of two people: faces of the first are red, of the second blue."""

    def shot(name, *faces):
        """Paint 1200 x 1600 with faces, as (colour, left edge), 300 wide and 400 high."""
        image = Image.new("RGB", (1200, 1600), "white")
        for paint, left in faces:
            image.paste(paint, (left, 600, left + 300, 1000))
        path = tmp_path / name
        image.save(path)
        return path

    red, blue = ("red", 100), ("blue", 800)
    at_red = Face(Box(100.0, 600.0, 300.0, 400.0), 0.9, (), ())
    at_blue = Face(Box(800.0, 600.0, 300.0, 400.0), 0.9, (), ())
    first = [
        verdict(name, Decision.SPARE, path=shot(name, red), face=at_red, identity_distance=0.2)
        for name in (f"a{number:02d}.png" for number in range(12))
    ]
    both = verdict(
        "both.png",
        Decision.SPARE,
        path=shot("both.png", red, blue),
        face=Face(Box(100.0, 600.0, 300.0, 450.0), 0.9, (), ()),  # the largest of all
        identity_distance=0.3,
    )
    names = [f"b{number:02d}.png" for number in range(9)]
    second = [
        verdict(
            name,
            Decision.LEFT_OUT,
            STRANGER,
            path=shot(name, blue),
            face=at_blue,
            identity_distance=0.8,
        )
        for name in names
    ]
    third = verdict("mug.png", Decision.LEFT_OUT, path=shot("mug.png"), face=None)
    return selection(tmp_path, *first, both, *second, third, rivals=("both.png", *names))


def test_two_people_are_shown_side_by_side(written, mixed):
    page = written(mixed)
    words = page.words
    assert words.index("Person A 13 photos") < words.index("Person B 10 photos")
    assert words.index("Person B") < words.index("Usable; they wait")
    assert "Say whom you mean with --reference PHOTO, a photo of that person alone" in words
    assert "For example --reference a00.png" in words
    assert "For example --reference b00.png" in words
    assert page.having("person") == ["div", "div"]
    assert sorted(page.files) == sorted(verdict.name for verdict in mixed.verdicts)


def test_each_person_is_shown_by_faces(written, mixed):
    page = written(mixed)
    faces = [
        image
        for image, at in zip(page.thumbnails(), _images(page), strict=True)
        if "Person" in at["alt"]
    ]
    assert [at["alt"] for at in _images(page)][:12] == ["Person A"] * 6 + ["Person B"] * 6
    assert [colour(face) for face in faces] == [like("red")] * 6 + [like("blue")] * 6
    for face in faces:
        assert face.width == face.height
        assert 120 <= face.width <= 192
        # The face fills most of it: only a little of the white around it is left.
        assert colour(face, 0.5, 0.3) != like("white")
        assert colour(face, 0.03, 0.5) == like("white")


def test_two_people_are_no_set_however_many_photos(written, mixed):
    page = written(mixed)
    assert "Two people: it is not clear whose set this is." in page.words
    assert [at for _tag, at in page.elements if at.get("class") == "verdict two-people"]
    assert page.having("enough") == []
    assert "they wait until it is clear whose set it is" in page.words
    assert "Person" not in written(selection(mixed.folder, *mixed.verdicts)).words


def test_faces_of_turned_photos_are_cut_upright(tmp_path, written):
    path = tmp_path / "scan.png"
    upright = Image.new("RGB", (1200, 1600), "white")
    upright.paste("red", (100, 100, 400, 500))
    upright.rotate(90, expand=True).save(path)  # anticlockwise: to be turned 90 clockwise
    face = Face(Box(100.0, 100.0, 300.0, 400.0), 0.9, (), ())
    chosen = selection(
        tmp_path,
        verdict("scan.png", Decision.SPARE, path=path, face=face, turned_deg=90),
        rivals=("other.png",),
    )
    assert colour(written(chosen).thumbnails()[0]) == like("red")


def test_people_whose_photos_are_gone(tmp_path, written):
    preview = picture(tmp_path / "preview.jpg", colour="crimson")
    gone = tmp_path / "gone.jpg"
    chosen = selection(
        tmp_path,
        verdict("a.jpg", Decision.SPARE, path=gone),
        verdict("b.jpg", Decision.LEFT_OUT, STRANGER, path=gone, identity_distance=0.8),
        rivals=("b.jpg",),
    )
    page = written(chosen)
    assert page.thumbnails() == []
    assert "Person A 1 photo Person B 1 photo" in page.words
    page = written(chosen, preview_of=lambda photo: preview)
    assert [colour(image) for image in page.thumbnails()] == [like("crimson")] * 4


def test_the_first_person_where_no_photo_is_usable(tmp_path, written, photo):
    blurred = Reason(ReasonCode.BLURRED, "Blurred.", 21, 40, "sharpness")
    chosen = selection(
        tmp_path,
        verdict("a.jpg", Decision.LEFT_OUT, blurred, path=photo, identity_distance=0.1),
        verdict("b.jpg", Decision.LEFT_OUT, STRANGER, path=photo, identity_distance=0.8),
        verdict("mug.jpg", Decision.LEFT_OUT, path=photo, face=None),
        rivals=("b.jpg",),
    )
    assert (
        "Person A 1 photo For example --reference a.jpg Person B 1 photo" in written(chosen).words
    )


def _images(page) -> list[dict[str, str | None]]:
    return [at for tag, at in page.elements if tag == "img"]
