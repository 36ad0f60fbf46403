"""Every file of a folder, once, in one order; and what is no folder of photos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_prep.errors import LoraPrepError, NoPhotos, NotAPhotoFolder
from lora_prep.model import ReasonCode
from lora_prep.photos import UnreadablePhoto, find_photos, read_photo
from tests.sample import as_ordinary_user


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_in(folder: Path) -> list[str]:
    return [file.name for file in find_photos(folder)]


def test_every_file_is_found_once_in_the_order_of_its_name(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/2.HEIC", "a/deep/er/1.png", "a/10.jpg", ".DS_Store", "notes.txt")

    assert names_in(tmp_path) == [
        ".DS_Store",
        "a/10.jpg",
        "a/2.HEIC",
        "a/deep/er/1.png",
        "b.jpg",
        "notes.txt",
    ]
    assert all(file.path == tmp_path / file.name for file in find_photos(tmp_path))


def test_the_order_does_not_depend_on_how_the_folder_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "set/b.jpg", "set/a.jpg", "set/c/d.jpg")
    monkeypatch.chdir(tmp_path)

    assert names_in(Path("set")) == names_in(tmp_path / "set") == ["a.jpg", "b.jpg", "c/d.jpg"]


@pytest.mark.parametrize("given", ["set", "."], ids=["above it", "relative"])
def test_our_own_home_is_no_place_for_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    make(tmp_path, "set/a.jpg", "set/home/runs/1/crops/0001.jpg", "set/home2/b.jpg")
    monkeypatch.chdir(tmp_path if given == "set" else tmp_path / "set")

    found = find_photos(Path(given), skip=(tmp_path / "set" / "home").resolve())

    assert [file.name for file in found] == ["a.jpg", "home2/b.jpg"]


def test_a_loop_of_links_ends_and_the_link_gets_a_verdict(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)

    photo, link = find_photos(tmp_path)

    assert (photo.name, link.name) == ("a/1.jpg", "a/up")
    with pytest.raises(UnreadablePhoto, match="A link to a folder") as unreadable:
        read_photo(link)
    assert unreadable.value.reason.code is ReasonCode.NOT_AN_IMAGE


def test_a_link_to_our_own_home_is_not_entered_either(tmp_path: Path) -> None:
    make(tmp_path, "set/a.jpg", "home/runs/1/crops/0001.jpg")
    (tmp_path / "set" / "home").symlink_to(tmp_path / "home", target_is_directory=True)

    found = find_photos(tmp_path / "set", skip=(tmp_path / "home").resolve())

    assert [file.name for file in found] == ["a.jpg"]


def test_a_linked_file_is_found_and_a_broken_link_gets_a_verdict(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/1.jpg")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "good.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "gone.jpg")

    broken, good = find_photos(folder)

    assert good.path.read_bytes() == b"x"
    with pytest.raises(UnreadablePhoto) as unreadable:
        read_photo(broken)
    assert unreadable.value.reason.code is ReasonCode.UNREADABLE


def test_a_name_that_is_no_utf_8_is_found(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")

    assert [os.fsencode(name) for name in names_in(tmp_path)] == [b"caf\xe9.jpg"]


@pytest.mark.timeout(3)
def test_a_pipe_in_the_folder_gets_a_verdict_instead_of_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (file,) = find_photos(tmp_path)

    with pytest.raises(UnreadablePhoto) as unreadable:
        read_photo(file)

    assert unreadable.value.reason.code in {ReasonCode.UNREADABLE, ReasonCode.NOT_AN_IMAGE}


def refused(folder: Path) -> LoraPrepError:
    with pytest.raises(LoraPrepError) as refusal:
        find_photos(folder)
    return refusal.value


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "foto")

    assert type(error) is NotAPhotoFolder
    assert error.code == "not_a_photo_folder"
    assert str(tmp_path / "foto") in error.what


def test_a_file_is_refused_and_its_folder_is_offered(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg")

    error = refused(tmp_path / "1.jpg")

    assert type(error) is NotAPhotoFolder
    assert str(tmp_path) in error.fix


@pytest.mark.parametrize("below", ["", "only/empty/folders"])
def test_a_folder_without_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(parents=True, exist_ok=True)

    error = refused(tmp_path)

    assert type(error) is NoPhotos
    assert error.code == "no_photos"


def test_a_path_that_no_system_can_open_is_refused() -> None:
    assert type(refused(Path("x" * 300))) is NotAPhotoFolder
    assert type(refused(Path("a\0b"))) is NotAPhotoFolder


@pytest.mark.parametrize(
    ("closed", "given"),
    [("set", "set"), ("set", "set/private")],
    ids=["the folder itself", "the folder above"],
)
def test_a_folder_that_may_not_be_listed_is_refused(
    tmp_path: Path, closed: str, given: str
) -> None:
    make(tmp_path, "set/1.jpg", "set/private/2.jpg")
    tmp_path.chmod(0o755)
    (tmp_path / closed).chmod(0o000)

    def code() -> str:
        try:
            return f"found {find_photos(Path(given))}"
        except LoraPrepError as error:
            return error.code

    answer = as_ordinary_user(tmp_path, code)
    (tmp_path / closed).chmod(0o755)

    assert answer == "not_a_photo_folder"


def test_a_folder_below_that_may_not_be_listed_is_a_verdict(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "lost+found/2.jpg")
    tmp_path.chmod(0o755)
    (tmp_path / "lost+found").chmod(0o000)

    def reason() -> str:
        photo, closed = find_photos(Path())
        try:
            return f"{photo.name}, read {read_photo(closed)}"
        except UnreadablePhoto as unreadable:
            return f"{photo.name}, {closed.name}: {unreadable.reason.code}, {unreadable}"

    answer = as_ordinary_user(tmp_path, reason)
    (tmp_path / "lost+found").chmod(0o755)

    assert answer == "1.jpg, lost+found: unreadable, It cannot be read: Permission denied."


def test_a_file_that_may_not_be_read_is_a_verdict(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg")
    tmp_path.chmod(0o755)
    (tmp_path / "1.jpg").chmod(0o000)

    def reason() -> str:
        try:
            return f"read {read_photo(find_photos(Path())[0])}"
        except UnreadablePhoto as unreadable:
            return f"{unreadable.reason.code}: {unreadable.reason.hint}"

    assert as_ordinary_user(tmp_path, reason) == (
        "unreadable: It cannot be read: Permission denied."
    )
