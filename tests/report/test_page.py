"""report.html: complete, honest, self-contained, and safe against hostile names."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_prep.model import Box, Decision, Face, NoteCode, Reason, ReasonCode
from lora_prep.report import Fact, StageTime, write_report

from .helpers import BLURRY, DOUBTED, Page, colour, crop, like, picture, selection, verdict

pytestmark = pytest.mark.slow  # real pictures are decoded and drawn

ROOT = Path(__file__).parents[2]
ADA = ROOT / "sample_data" / "people" / "ada"
HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '"><img src=http://x.example onerror=alert(1)>.jpg',
    "'onload='x.jpg",
    "two\nlines\r.jpg",
    os.fsdecode(b"caf\xe9.jpg"),
    "\ud83d.jpg",
    "gpj.\u202eexe.jpg",
    "</style></title>--><!--.jpg",
    "{{ 7 * 7 }}{% raw %}.jpg",
    "&lt;b&gt;&amp;.jpg",
    "Zoë 山田 👩‍🚀\u202f.jpg",
]


@pytest.fixture
def full(tmp_path):
    """Return a selection with every decision, and its crops."""
    photo = picture(tmp_path / "photo.jpg", colour="olive")
    names = [f"ada_{number:02d}.jpg" for number in range(1, 11)]
    crops = [
        crop(number, name, picture(tmp_path / f"{number:04d}.jpg"))
        for number, name in enumerate(names, start=1)
    ]
    chosen = selection(
        tmp_path / "private" / "ada",
        *(verdict(name, path=photo) for name in names),
        verdict(
            "sub/spare.jpg",
            Decision.SPARE,
            Reason(ReasonCode.NOT_CHOSEN, "Others were kept.", 480, 481.5, "px high"),
            path=photo,
        ),
        verdict("far.jpg", Decision.LEFT_OUT, BLURRY, path=photo),
        verdict(
            "mug.jpg",
            Decision.LEFT_OUT,
            Reason(ReasonCode.NO_FACE, "No face was found.", 0, 1, "faces"),
            path=photo,
            face=None,
        ),
        verdict(
            "tiny.jpg",
            Decision.LEFT_OUT,
            BLURRY,
            Reason(ReasonCode.CROP_TOO_SMALL, "The photo is too small.", 120, 512, "px"),
            path=photo,
        ),
        verdict(
            "huge.png",
            Decision.LEFT_OUT,
            Reason(ReasonCode.TOO_MANY_PIXELS, "Too large.", 250_000_000.0, 179_000_000.0, "px"),
        ),
        verdict("twin.jpg", Decision.LEFT_OUT, Reason(ReasonCode.DUPLICATE, "Same.", None)),
        verdict("bare.jpg", Decision.LEFT_OUT),
    )
    return chosen, crops


def test_every_file_appears_once(written, full):
    chosen, crops = full
    page = written(chosen, crops)
    assert sorted(page.files) == sorted(verdict.name for verdict in chosen.verdicts)
    assert page.open == []


def test_head_counts_and_says_the_verdict(written, full):
    page = written(*full)
    assert "11 of 17 files are usable; 10 are needed." in page.words
    assert "usable 11 needed 10 kept 10 spare 1 left out 6" in page.words
    assert any("enough" in (attributes.get("class") or "") for _tag, attributes in page.elements)


@pytest.mark.parametrize(
    ("usable", "left_out", "sentence"),
    [
        (9, 6, "Only 9 of 15 files are usable; 10 are needed."),
        (1, 0, "Only 1 of 1 file is usable; 10 are needed."),
        (0, 3, "Only 0 of 3 files are usable; 10 are needed."),
    ],
)
def test_too_few_says_so(tmp_path, written, usable, left_out, sentence):
    page = written(
        selection(
            tmp_path,
            *(verdict(f"{number}.jpg", Decision.SPARE) for number in range(usable)),
            *(verdict(f"x{number}.jpg", Decision.LEFT_OUT, BLURRY) for number in range(left_out)),
        )
    )
    assert sentence in page.words
    assert any(attributes.get("class") == "verdict too-few" for _tag, attributes in page.elements)
    assert "Kept" not in page.words


def test_kept_photos_show_their_crop(written, full):
    page = written(*full)
    assert "0001.jpg ada_01.jpg crop 64 × 64 px face 123 px in photo" in page.words
    assert colour(page.thumbnails()[0]) == like("teal")


def test_kept_photos_without_crops_show_themselves(written, full):
    page = written(full[0])
    assert "ada_01.jpg 1200 × 1600 px face 123 px high" in page.words
    assert colour(page.thumbnails()[0]) == like("olive")


def test_reasons_are_grouped_and_show_number_limit_and_unit(written, full):
    words = written(*full).words
    left_out = words[words.rindex("Left out") :]
    assert left_out.startswith("Left out 6 Face too small face_too_small 2 far.jpg")
    assert "37 px high (limit 233)" in words
    assert "Also: crop too small The photo is too small. 120 px (limit 512)" in words
    assert "0 faces (limit 1)" in words
    assert "480 px high (limit 481.5)" in words
    assert "250,000,000 px (limit 179,000,000)" in words
    assert "No reason given 1" in words


def test_unreadable_and_vanished_files_get_a_placeholder(tmp_path, written):
    page = written(
        selection(
            tmp_path,
            verdict("gone.jpg", path=tmp_path / "gone.jpg"),
            verdict("x.jpg", Decision.LEFT_OUT, Reason(ReasonCode.UNREADABLE, "Damaged.")),
        ),
        [crop(1, "gone.jpg", tmp_path / "0001.jpg")],
    )
    assert page.text.count("no preview") == 3  # neither the crop nor its photo
    assert page.thumbnails() == []


@pytest.mark.parametrize("rehearsal", [True, False])
def test_rehearsal_banner(written, full, rehearsal):
    page = written(*full, rehearsal=rehearsal)
    sentence = "Rehearsal: nothing was trained and nothing was paid."
    assert (sentence in page.words) is rehearsal


def test_facts_and_outcome(written, full):
    page = written(
        *full,
        [Fact("Price", "4.00 USD"), Fact("LoRA <sha256>", "ab" * 32)],
        outcome="It failed.\nTry again.",
    )
    assert "Price 4.00 USD LoRA <sha256> " + "ab" * 32 in page.words
    assert [tag for tag, at in page.elements if at.get("class") == "outcome"] == ["p", "p"]


def test_no_path_and_no_signature(tmp_path, written, full):
    chosen, crops = full
    page = written(
        chosen,
        crops,
        [Fact("Data set", "https://s3.example/b/k.zip?X-Amz-Signature=5ec7e7&X-Amz-Date=1")],
        outcome=f"Only 9 of the 15 files in {chosen.folder} are usable photos.",
    )
    assert "https://s3.example/b/k.zip" in page.words
    assert "files in ada are usable" in page.words
    assert "5ec7e7" not in page.html
    assert str(tmp_path) not in page.html
    assert "private" not in page.html


def test_paths_of_a_relative_folder_go_whole(tmp_path, written, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("private/ada")
    page = written(
        selection(folder), outcome=f"{folder.absolute()} and {folder} and https://x.example/a"
    )
    assert "ada and ada and https://x.example/a" in page.words


def test_page_is_self_contained(written, full):
    page = written(*full, rehearsal=True)
    assert page.html.startswith("<!doctype html>\n<html lang")
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base", "use"}
    for _tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"xlink:href", "srcset", "poster", "action", "style"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("src") or "data:").startswith("data:")
    assert not re.findall(r"(?:https?:|file:|//)", re.sub(r"data:[^\"]+", "", page.html))
    style = page.html[page.html.index("<style>") : page.html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policies = [at["content"] for _tag, at in page.elements if "http-equiv" in at]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path, written, name):
    photo = picture(tmp_path / "photo.jpg")
    chosen = selection(
        tmp_path / name.replace("/", "_").encode("utf-8", "replace").decode(),
        verdict(
            name,
            path=photo,
            identity_distance=0.3,
            notes=(DOUBTED, Reason(NoteCode.SIMILAR, f"Much like {name}.")),
        ),
        verdict("b" + name, Decision.LEFT_OUT, Reason(ReasonCode.DUPLICATE, f"Same as {name}.")),
        advice=(name,),
        rivals=("b" + name,),
    )
    crops = [crop(1, name, photo, caption=name)]
    page = written(chosen, crops, [Fact(name, name)], title=name, outcome=name)
    assert page.open == []
    assert len(page.files) == 2
    assert page.tags <= TAGS
    assert len(page.thumbnails()) == 3  # the crop, its photo and the face of the first person
    for mark in "\r\u202e\ud83d\udce9":
        assert mark not in page.text


def test_names_are_shown_as_they_are_or_as_escapes(tmp_path, written):
    page = written(selection(tmp_path, *(verdict(name) for name in HOSTILE)))
    shown = dict(zip(HOSTILE, page.files, strict=True))
    assert shown.pop("two\nlines\r.jpg") == r"two\nlines\r.jpg"
    assert shown.pop(os.fsdecode(b"caf\xe9.jpg")) == r"caf\xe9.jpg"
    assert shown.pop("\ud83d.jpg") == r"\ud83d.jpg"
    assert shown.pop("gpj.\u202eexe.jpg") == r"gpj.\u202eexe.jpg"
    assert all(name == text for name, text in shown.items())


def test_long_names_break_where_their_parts_meet(tmp_path, written):
    page = written(selection(tmp_path, verdict("trip/IMG_2026<b>.jpg"), verdict("plain")))
    assert ">trip/<wbr>IMG_<wbr>2026&lt;b&gt;.jpg<" in page.html
    assert ">plain<" in page.html
    assert page.files == ["trip/IMG_2026<b>.jpg", "plain"]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_name_makes_the_same_page(tmp_path, name):
    path = tmp_path / "report.html"
    chosen = selection(tmp_path, verdict(name, Decision.LEFT_OUT, BLURRY))
    write_report(path, chosen, title=name, outcome=name, facts=[Fact(name, name)])
    page = Page.read(path)
    assert page.open == []
    assert len(page.files) == 1
    assert page.tags <= TAGS


def test_thumbnails_are_small_and_carry_no_metadata(tmp_path, written):
    gps = ADA / "ada_04.jpg"
    assert b"Exif" in gps.read_bytes()
    page = written(
        selection(ADA, verdict("ada_04.jpg", path=gps), verdict("b.jpg", Decision.SPARE, path=gps)),
        [crop(1, "ada_04.jpg", gps)],
    )
    for thumbnail in page.thumbnails():
        assert thumbnail.format == "JPEG"
        assert thumbnail.size in {(276, 368), (216, 288)}
        assert not thumbnail.getexif()
        assert set(thumbnail.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_kept_photos_show_where_they_were_cut(tmp_path, written):
    photo = picture(tmp_path / "photo.jpg")
    face = Face(Box(40.4, 30, 90, 123.4), 0.9, tuple((10.2 * n, 20.0) for n in range(1, 6)))
    cut = replace(verdict("a.jpg", path=photo, face=face), crop=Box(0, 10, 800, 800))
    page = written(selection(tmp_path, cut), [crop(1, "a.jpg", photo)])
    boxes = [
        at for tag, at in page.elements if tag == "rect" and at.get("class") in {"face", "cut"}
    ]
    assert [(at["class"], at["x"], at["y"], at["width"]) for at in boxes] == [
        ("cut", "0", "10", "800"),
        ("face", "40", "30", "90"),
    ]
    (points,) = [at["d"] for tag, at in page.elements if at.get("class") == "point"]
    assert points == "M10 20h0M20 20h0M31 20h0M41 20h0M51 20h0"
    (frame,) = [
        at["viewbox"] for tag, at in page.elements if at.get("viewbox", "").endswith("1600")
    ]
    assert frame == "0 0 1200 1600"
    alts = [at["alt"] for tag, at in page.elements if tag == "img"]
    assert alts == [
        "Crop 0001.jpg",
        "Photo a.jpg with its face box, five points and the square that is cut",
    ]


def test_a_duplicate_is_beside_what_it_repeats(tmp_path, written):
    better = picture(tmp_path / "better.jpg", colour="crimson")
    copy = picture(tmp_path / "copy.jpg", colour="olive")
    reason = Reason(ReasonCode.DUPLICATE, "The same file as a.jpg.", of="a.jpg")
    lost = Reason(ReasonCode.DUPLICATE, "The same file as gone.jpg.", of="gone.jpg")
    page = written(
        selection(
            tmp_path,
            verdict("a.jpg", path=better),
            verdict("b.jpg", Decision.LEFT_OUT, reason, path=copy),
            verdict("c.jpg", Decision.LEFT_OUT, lost, path=copy),
        )
    )
    shown = [colour(image) for image in page.thumbnails()]
    assert shown == [like("crimson"), like("olive"), like("crimson"), like("olive")]
    assert "this one better: a.jpg b.jpg" in page.words
    assert page.files == ["a.jpg", "b.jpg", "c.jpg"]


def test_settings_loras_and_stages(tmp_path, written, full):
    page = written(
        *full,
        settings=[Fact("Framing", "close-up")],
        loras=[[Fact("File", "s3://bucket/loras/1.safetensors"), Fact("Rank", "32")]],
        stages=[
            StageTime("Trained", 4000.0, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            StageTime("Archived", 0.43),
        ],
    )
    assert "Settings Framing close-up" in page.words
    assert "File s3://bucket/loras/1.safetensors Rank 32" in page.words
    assert "Trained 1 h 06 min 2026-01-02 03:04:05 Archived 0.43 s" in page.words


def test_the_meter_has_a_square_for_each_usable_photo(tmp_path, written):
    few = written(selection(tmp_path, *(verdict(f"{n}.jpg", Decision.SPARE) for n in range(9))))
    assert len(few.having("usable")) == 9
    assert len(few.having("missing")) == 1
    many = written(selection(tmp_path, *(verdict(f"{n}.jpg") for n in range(900))))
    assert len(many.having("usable")) == 10
    assert len(many.having("more")) == 50


def test_headings_descend_and_every_link_leads_somewhere(tmp_path, written, full):
    page = written(*full, stages=[StageTime("Trained", 1.0)], loras=[[Fact("File", "x")]])
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [at["id"] for _, at in page.elements if "id" in at]
    assert len(set(ids)) == len(ids)
    links = [at["href"].removeprefix("#") for tag, at in page.elements if tag == "a"]
    assert set(links) <= set(ids)
    assert {"kept", "spare", "left-out", "timeline", "loras"} <= set(links)
    assert all(at.get("alt") for tag, at in page.elements if tag == "img")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "0.00 s"),
        (0.43, "0.43 s"),
        (8.59, "8.6 s"),
        (59.6, "1 min 00 s"),
        (3600, "1 h 00 min"),
    ],
)
def test_times_are_for_people(tmp_path, written, seconds, words):
    page = written(selection(tmp_path, verdict("a.jpg")), stages=[StageTime("Trained", seconds)])
    assert f"Trained {words}" in page.words


def test_sixty_photos_stay_under_5_mb(tmp_path, written):
    detailed = tmp_path / "detailed.jpg"
    with Image.open(ADA / "ada_11.jpg") as photo:  # bricks: the largest thumbnail of the set
        photo.reduce(2).save(detailed, quality=95)
    verdicts = [verdict(f"{number:02d}.jpg", path=detailed) for number in range(60)]
    crops = [crop(number, f"{number:02d}.jpg", detailed) for number in range(60)]
    page = written(selection(ADA, *verdicts), crops)  # twice as many as a set has by default
    assert len(page.thumbnails()) == 120
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_failure_leaves_the_old_report(tmp_path, monkeypatch, full):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", _refuse)
    with pytest.raises(OSError, match="disk"):
        write_report(path, full[0], title="ada")
    assert path.read_text() == "old"


def test_import_is_light():
    code = "import sys, lora_prep.report; print({'jinja2', 'PIL', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True, cwd=ROOT).strip() == "set()"


def test_the_folder_may_be_gone(tmp_path, written):
    folder = tmp_path / "ada"
    folder.mkdir()
    chosen = selection(folder, verdict("a.jpg", path=picture(folder / "a.jpg")))
    shutil.rmtree(folder)
    assert written(chosen).files == ["a.jpg"]


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"),
    *("h1", "h2", "h3", "p", "bdi", "strong", "b", "span", "code", "img", "wbr"),
    *("dl", "dt", "dd", "div", "ul", "li", "nav", "a", "figure", "figcaption"),
    *("svg", "g", "rect", "path", "circle", "text", "table", "thead", "tbody", "tr", "th", "td"),
}


def _refuse(self, target):
    raise OSError(28, "disk full")
