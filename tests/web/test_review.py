"""The review page over HTTP: what it shows, what it changes, what it refuses."""

from __future__ import annotations

import io
import re
from pathlib import Path

import httpx
import pytest
from PIL import Image

from lora_prep.selection import Override, read_overrides
from lora_prep.web.guarded import CHANGE_HEADER, Guarded, Tokens
from lora_prep.web.review_app import Desk, review_app
from tests.sample import a_finding, a_judged_face
from tests.web.asking import HOST, asking
from tests.web.reviews import a_review, a_review_of, pictures

pytestmark = pytest.mark.slow  # the real models are loaded and run

COPY, FAR, LANDSCAPE, NO_IMAGE = 9, 10, 11, 13


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "overrides.toml"


@pytest.fixture
def desk(file: Path, tmp_path: Path) -> Desk:
    return Desk(a_review(file), pictures(tmp_path / "cache"))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def stranger(desk: Desk, tokens: Tokens) -> httpx.Client:
    guarded = Guarded(review_app(desk, tokens), tokens, [HOST], "lora_prep_8123")
    return asking(guarded)


@pytest.fixture
def user(stranger: httpx.Client, tokens: Tokens) -> httpx.Client:
    stranger.get(f"/?token={tokens.entry}")
    stranger.headers[CHANGE_HEADER] = tokens.change
    return stranger


def cards(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'<li id="card-(\d+)"', html)]


def test_every_file_has_a_card_and_the_meter_counts(user: httpx.Client) -> None:
    page = user.get("/").text

    assert cards(page) == list(range(15))
    assert "<b>9</b> of 10 needed" in page
    assert "1 photo more needed." in page
    assert re.search(r"No face <span class=\"number\">2<", page)


def test_a_filter_shows_its_cards_and_an_unknown_one_all(user: httpx.Client) -> None:
    assert cards(user.get("/grid?show=no_face").text) == [LANDSCAPE, 12]
    assert cards(user.get("/?show=alike").text) == [1, COPY]
    assert len(cards(user.get("/grid?show=<script>").text)) == 15


def test_a_decision_is_saved_and_what_changed_comes_back(user: httpx.Client, file: Path) -> None:
    answer = user.post("/photos/2/verdict", data={"verdict": "leave_out"})

    assert answer.status_code == 200
    assert cards(answer.text) == [2]
    assert "<b>8</b> of 10 needed" in answer.text
    assert "ada_03.jpg: Left out, by hand. 8 of 10 needed." in answer.text
    assert list(read_overrides(file).values()) == [Override("leave_out")]
    undone = user.post("/undo")
    assert undone.headers["x-photo"] == "2"
    assert "<b>9</b> of 10 needed" in undone.text
    assert read_overrides(file) == {}
    assert "There is nothing to undo." in user.post("/undo").text


def test_a_decision_in_vain_says_why(user: httpx.Client) -> None:
    answer = user.post(f"/photos/{FAR}/verdict", data={"verdict": "keep"}).text

    assert "Left out all the same: " in answer
    assert "37 px high (limit 233)" in answer


def test_the_large_view_has_its_numbers_and_its_box(user: httpx.Client) -> None:
    page = user.get("/photos/0").text

    assert 'data-least="512"' in page
    assert re.search(r'data-crop="\d+ \d+ \d+"', page)
    assert 'id="box"' in page
    assert 'id="box"' not in user.get(f"/photos/{LANDSCAPE}").text
    assert "cannot be shown" in user.get(f"/photos/{NO_IMAGE}").text
    compared = user.get(f"/photos/{COPY}/compare").text
    assert "ada_02.jpg" in compared
    assert "exact_duplicate_of_ada_02.jpg" in compared


def test_a_crop_is_fitted_saved_and_taken_away(user: httpx.Client, file: Path) -> None:
    box = {"left": "-50", "top": "99999", "side": "3", "view": "0"}
    answer = user.post("/photos/0/crop", data=box)

    (saved,) = read_overrides(file).values()
    assert saved.crop
    assert saved.crop.width == 512
    box_now = f"{saved.crop.x:.0f} {saved.crop.y:.0f} 512"
    assert f'data-crop="{box_now}"' in answer.text
    user.post("/photos/0/crop", data={"reset": "1"})
    assert read_overrides(file) == {}


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/photos/0/verdict", {}, 422),
        ("/photos/0/verdict", {"verdict": "kept"}, 422),
        ("/photos/0/crop", {"left": "1"}, 422),
        ("/photos/0/crop", {"left": "nan", "top": "0", "side": "1e9"}, 422),
        ("/photos/0/crop", {"left": "9" * 5000, "top": "0", "side": "1"}, 413),
        ("/photos/99/verdict", {"verdict": "keep"}, 404),
        ("/photos/-1/verdict", {"verdict": "keep"}, 404),
        ("/photos/0/verdict/../../x", {}, 404),
    ],
)
def test_what_is_not_understood_changes_nothing(
    path: str, data: dict[str, str], status: int, user: httpx.Client, file: Path
) -> None:
    assert user.post(path, data=data).status_code == status
    assert not file.exists()


def test_pictures_are_made_once_in_a_closed_cache(user: httpx.Client, tmp_path: Path) -> None:
    for size, longest in (("small", 320), ("large", 1600)):
        answer = user.get(f"/photos/0/{size}.jpg")
        assert answer.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert max(image.size) == longest
            assert not image.getexif()
    views = tmp_path / "cache" / "views"
    assert views.stat().st_mode & 0o777 == 0o700
    assert [one.stat().st_mode & 0o777 for one in views.iterdir()] == [0o600] * 2
    times = sorted(one.stat().st_ino for one in views.iterdir())
    assert user.get("/photos/0/large.jpg").content == answer.content
    assert sorted(one.stat().st_ino for one in views.iterdir()) == times


@pytest.mark.parametrize(
    "path",
    [
        f"/photos/{NO_IMAGE}/small.jpg",
        "/photos/99/small.jpg",
        "/photos/0/huge.jpg",
        "/photos/0/../../etc/passwd",
        "/photos/..%2f..%2fetc%2fpasswd/small.jpg",
        "/photos/ada_01.jpg/small.jpg",
        "/static/../guarded.py",
        "/static/%2e%2e/guarded.py",
        "/static//etc/passwd",
        "/static/",
        "/sample_data/nine/ada_01.jpg",
    ],
)
def test_no_path_of_a_request_reaches_a_file(path: str, user: httpx.Client) -> None:
    answer = user.get(path)
    assert answer.status_code == 404
    assert b"root:" not in answer.content


def test_nobody_sees_or_changes_anything_without_the_token(
    stranger: httpx.Client, tokens: Tokens, file: Path
) -> None:
    for path in ("/", "/photos/0", "/photos/0/small.jpg", "/static/review.js"):
        assert stranger.get(path).status_code == 403
    stranger.get(f"/?token={tokens.entry}")
    assert stranger.get("/photos/0").status_code == 200
    keep = {"verdict": "keep"}
    own = {CHANGE_HEADER: tokens.change}
    foreign = {**own, "origin": "https://evil.example"}
    assert stranger.post("/photos/0/verdict", data=keep).status_code == 403
    assert stranger.post("/photos/0/verdict", data=keep, headers=foreign).status_code == 403
    host = {**own, "host": "evil.example:8123"}
    assert stranger.post("/photos/0/verdict", data=keep, headers=host).status_code == 403
    assert not file.exists()
    assert stranger.get("/photos/0/verdict", headers=own).status_code == 405


def test_what_cannot_be_saved_is_said_and_not_done(user: httpx.Client, file: Path) -> None:
    file.write_text("[[")
    answer = user.post("/photos/0/verdict", data={"verdict": "keep"})
    assert answer.status_code == 409
    assert answer.text.startswith("Not saved. ")
    file.unlink()
    file.mkdir()
    answer = user.post("/photos/0/verdict", data={"verdict": "keep"})
    assert answer.status_code in (409, 507)
    assert 'aria-pressed="true"' not in user.get("/").text


def test_a_file_name_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>'\"\u202e{{7*7}}.jpg"
    review = a_review_of((a_finding(name),), tmp_path / "overrides.toml")
    app = review_app(Desk(review, pictures(tmp_path)), Tokens())
    client = asking(app)
    pages = [client.get("/").text, client.get("/photos/0").text]
    pages.append(client.post("/photos/0/verdict", data={"verdict": "keep"}).text)
    for page in pages:
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "{{7*7}}" in page


def test_no_page_has_a_script_or_a_style_in_it(user: httpx.Client) -> None:
    for path in ("/", "/photos/0", f"/photos/{COPY}/compare"):
        page = user.get(path).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! src=)|javascript:", page)


def test_two_people_are_said_and_what_to_do(tmp_path: Path) -> None:
    seen = tuple(
        a_finding(f"{index}.jpg", faces=(a_judged_face(embedding=(float(index % 2),) * 128),))
        for index in range(24)
    )
    desk = Desk(a_review_of(seen, tmp_path / "overrides.toml"), pictures(tmp_path))
    page = asking(review_app(desk, Tokens())).get("/").text
    assert "Two people are in this folder" in page
    assert "--reference PHOTO" in page


def test_of_more_than_are_wanted_the_rest_is_spare(tmp_path: Path) -> None:
    seen = tuple(a_finding(f"{index:02}.jpg") for index in range(33))
    desk = Desk(a_review_of(seen, tmp_path / "overrides.toml"), pictures(tmp_path))
    client = asking(review_app(desk, Tokens()))
    page = client.get("/").text
    assert "<b>33</b> of 10 needed" in page
    assert "The best and most varied 30 are trained on." in page
    spare = cards(client.get("/grid?show=spare").text)
    assert len(spare) == 3
    changed = client.post(f"/photos/{spare[0]}/verdict", data={"verdict": "keep"}).text
    assert len(cards(changed)) >= 2  # another one made room
