"""Photos in a bucket are copied for a while, on a real store; nothing leads out of the copy."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import ConfigurationError, NoPhotos, StorageError, TemporaryError
from lora_prep.events import Event
from lora_prep.photos import find_photos
from lora_prep.settings import Settings, load_settings
from lora_prep.stores import S3Store
from pipelines import sources
from pipelines.backends import connect_store
from pipelines.jobs import expand, read_jobs
from pipelines.sources import fetched, subfolders
from tests.sample import SAMPLE_DATA

ADA = sorted((SAMPLE_DATA / "people" / "ada").iterdir())


def test_a_folder_of_this_machine_is_given_as_it_is(tmp_path: Path) -> None:
    with fetched("people/ada", tmp_path / "copy", load_settings()) as folder:
        assert folder == Path("people/ada")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("ada.jpg", True),
        ("2024/summer/ADA.HEIC", True),
        ("ada.txt", True),
        ("IMG_0001", True),
        ("Ada und ich?.jpg", True),
        ("clip.mp4", False),
        ("dataset.zip", False),
        ("../ada.jpg", False),
        ("a/../../ada.jpg", False),
        ("a/./ada.jpg", False),
        ("/etc/ada.jpg", False),
        ("a//ada.jpg", False),
        ("..\\ada.jpg", False),
        ("C:ada.jpg", False),
        ("ada\0.jpg", False),
        ("ada\n.jpg", False),
        (".hidden/ada.jpg", False),
        ("._ada.jpg", False),
        ("@eaDir/ada.jpg", False),
        (f"{'x' * 252}.jpg", False),
    ],
)
def test_only_what_may_be_a_photo_and_stays_inside_is_taken(name: str, may: bool) -> None:
    assert sources._may_be_a_photo(name) is may


# ── a real bucket ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings()


@pytest.fixture
def bucket(settings: Settings) -> Iterator[S3Store]:
    """The embedded store, all of it, without the photos of the tests before."""
    with connect_store(settings) as opened:
        store = S3Store(replace(opened.access, prefix=""))
        for stored, _ in list(store.listed("people/")):
            store.delete(stored.key)
        yield store


@pytest.fixture
def ada(bucket: S3Store) -> S3Store:
    for path in ADA:
        put(bucket, f"people/ada/{path.name}", path.read_bytes())
    return bucket


def put(store: S3Store, key: str, data: bytes = b"a photo") -> None:
    store.put_bytes(data, key, content_type="image/jpeg")


def reads(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes] = bytes) -> list[str]:
    """Return the keys that are read from now on, each of whose bytes `change` may change."""
    keys: list[str] = []
    read = S3Store.read

    def watched(self: S3Store, key: str) -> Iterator[bytes]:
        keys.append(key)
        yield change(b"".join(read(self, key)))

    monkeypatch.setattr(S3Store, "read", watched)
    return keys


def names(folder: Path) -> list[str]:
    return [found.name for found in find_photos(folder)]


URL = "s3://lora-prep/people/ada"


@pytest.mark.slow
def test_the_copy_is_the_folder_and_is_gone_afterwards(
    ada: S3Store, settings: Settings, tmp_path: Path
) -> None:
    put(ada, "people/ada/more/one.jpg")
    put(ada, "people/ada/clip.mp4")
    put(ada, "people/ada/empty.jpg", b"")
    put(ada, "people/adam/other.jpg")  # the beginning of its name is the same
    events: list[Event] = []
    mask = os.umask(0)
    try:
        with fetched(f"{URL}/", tmp_path / "a" / "copy", settings, events.append) as folder:
            assert folder.name == "ada"
            assert names(folder) == [path.name for path in ADA] + ["more/one.jpg"]
            for path in ADA:
                assert (folder / path.name).read_bytes() == path.read_bytes()
            assert stat.S_IMODE((tmp_path / "a" / "copy").stat().st_mode) == 0o700
    finally:
        os.umask(mask)
    assert not (tmp_path / "a" / "copy").exists()
    assert events[-1].message.endswith("MB; 2 other objects stay there")
    steps = [event for event in events if event.unit == "bytes"]
    assert steps[-1].done == steps[-1].total


@pytest.mark.slow
def test_the_copy_is_gone_also_after_an_error(
    ada: S3Store, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), fetched(URL, tmp_path / "copy", settings):
        1 / 0  # noqa: B018
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_what_else_lies_there_is_left_alone(
    ada: S3Store, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    with fetched(URL, tmp_path, settings):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
def test_after_a_kill_only_what_is_missing_or_new_is_fetched(
    bucket: S3Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg", "4.jpg"):
        put(bucket, f"people/ada/{name}", f"photo {name}".encode())
    copy = tmp_path / "copy"
    monkeypatch.setattr(sources, "_remove", lambda to: None)  # as a kill leaves it
    with fetched(URL, copy, settings) as folder:
        pass
    (folder / "2.jpg").unlink()
    (folder / "3.jpg").write_bytes(b"cut")
    put(bucket, "people/ada/4.jpg", b"another")
    bucket.delete("people/ada/1.jpg")
    put(bucket, "people/ada/5.jpg")
    with (copy / "seen.jsonl").open("a") as seen:
        seen.write('["5.jpg", 3]\n[[], 1]\n{"x": 1}\nnull\n["6.j')
    keys = reads(monkeypatch)
    with fetched(URL, copy, settings) as folder:
        assert names(folder) == ["2.jpg", "3.jpg", "4.jpg", "5.jpg"]
        assert (folder / "3.jpg").read_bytes() == b"photo 3.jpg"
        assert (folder / "4.jpg").read_bytes() == b"another"
    assert sorted(keys) == [f"people/ada/{name}" for name in ("2.jpg", "3.jpg", "4.jpg", "5.jpg")]
    keys.clear()
    with fetched(URL, copy, settings) as folder:
        assert len(names(folder)) == 4
    assert keys == []


@pytest.mark.slow
def test_a_name_that_is_a_file_and_a_folder_is_the_folder(
    bucket: S3Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "people/ada/x/y.jpg")
    (real,) = list(bucket.listed("people/ada/x/y.jpg"))
    clash = replace(real[0], key="people/ada/x")
    monkeypatch.setattr(S3Store, "listed", lambda *_: iter([(clash, real[1]), real]))
    with fetched(URL, tmp_path / "copy", settings) as folder:
        assert names(folder) == ["x/y.jpg"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [lambda data: data + b"more", lambda data: data[:-1]])
def test_an_object_that_changes_meanwhile_is_an_error(
    bucket: S3Store,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[bytes], bytes],
) -> None:
    put(bucket, "people/ada/1.jpg")
    keys = reads(monkeypatch, change)
    with pytest.raises(StorageError, match="not what"), fetched(URL, tmp_path / "copy", settings):
        pass
    assert len(keys) == sources.ATTEMPTS
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_body_that_was_cut_is_asked_for_again(
    bucket: S3Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "people/ada/1.jpg")
    once = iter([b"cut"])
    reads(monkeypatch, lambda data: next(once, data))
    with fetched(URL, tmp_path / "copy", settings) as folder:
        assert (folder / "1.jpg").read_bytes() == b"a photo"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "value", "error"),
    [
        ("LARGEST_FOLDER_BYTES", 100, ConfigurationError),
        ("LARGEST_FOLDER_OBJECTS", 3, ConfigurationError),
        ("LARGEST_BYTES", 100, NoPhotos),
        ("SPARE_BYTES", 1 << 60, TemporaryError),
    ],
)
def test_too_much_is_refused_before_it_is_fetched(
    ada: S3Store,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(sources, limit, value)
    keys = reads(monkeypatch)
    with pytest.raises(error), fetched(URL, tmp_path / "copy", settings):
        pass
    assert keys == []
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_disk_that_does_not_take_them_is_told(
    ada: S3Store, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "copy").write_text("a file is in the way")
    with pytest.raises(TemporaryError, match="disk"), fetched(URL, tmp_path / "copy", settings):
        pass


@pytest.mark.slow
def test_a_prefix_without_photos_is_told_by_its_address(
    bucket: S3Store, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(NoPhotos, match=URL), fetched(URL, tmp_path / "copy", settings):
        pass


@pytest.mark.slow
def test_another_bucket_is_read_with_the_key_of_the_environment(
    ada: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine of its own reads it: by endpoint and AWS_* alone, and nothing is written."""
    access = ada.access
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(access.access_key))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(access.secret_key))
    wanted: dict[str, Any] = {
        "url": "s3://elsewhere",
        "endpoint_url": access.endpoint_url,
        "region": access.region,
    }
    before = [stored.key for stored, _ in ada.listed("")]
    with fetched(URL, tmp_path / "copy", load_settings({"store": wanted})) as folder:
        assert names(folder) == [path.name for path in ADA]
    assert [stored.key for stored, _ in ada.listed("")] == before


@pytest.mark.slow
def test_a_pattern_of_a_bucket_becomes_its_folders(
    bucket: S3Store, settings: Settings, tmp_path: Path
) -> None:
    # A place of its own: SeaweedFS lists a folder for a while whose objects are deleted.
    for key in ("ada/1.jpg", "ben/1.jpg", "ben/more/2.jpg", "stray.jpg", "c l+e%o/1.jpg"):
        put(bucket, f"all/{key}")
    assert subfolders("s3://lora-prep/all", settings) == ("ada", "ben", "c l+e%o")
    assert subfolders("s3://lora-prep/all/none", settings) == ()
    assert "all" in subfolders("s3://lora-prep", settings)
    path = tmp_path / "jobs.toml"
    path.write_text('[[job]]\nfolder = "s3://lora-prep/all/*"')
    jobs = expand(read_jobs(path, {}), lambda url: subfolders(url, settings))
    assert [job.folder for job in jobs][:2] == ["s3://lora-prep/all/ada", "s3://lora-prep/all/ben"]
    with fetched(jobs[2].folder, tmp_path / "copy", settings) as folder:
        assert names(folder) == ["1.jpg"]


@pytest.mark.slow
def test_what_came_is_written_down_line_by_line(
    ada: S3Store, settings: Settings, tmp_path: Path
) -> None:
    with fetched(URL, tmp_path / "copy", settings):
        lines = (tmp_path / "copy" / "seen.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines] == [path.name for path in ADA]
