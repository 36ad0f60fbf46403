"""A pack is fetched whole or not at all, over a real connection, from a zip nobody believes."""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lora_prep.errors import ConfigurationError, LoraPrepError, TemporaryError
from lora_prep.events import Event
from lora_prep.faces import Fetched, KnownPack, fetch_pack, find_pack, verify_pack
from tests.cli.schemas import valid
from tests.faces.fake_packs import (
    known_too,
    raw_zip,
    sha256,
    small_pack,
    zip_of,
)
from tests.faces.stalling import stalling
from tests.origin import Answer, closed_port, origin

pytestmark = pytest.mark.slow  # servers on threads

GOOD = zip_of()


def fetch(
    home: Path,
    *answers: Answer,
    pack: KnownPack | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Fetched:
    with origin(*answers) as server:
        return fetch_pack(
            pack or small_pack(),
            home,
            accept_noncommercial=True,
            base_url=server.url,
            read_timeout_s=5,
            on_event=on_event,
        )


def refused(home: Path, *answers: Answer, pack: KnownPack | None = None) -> LoraPrepError:
    """Return the error of a fetch; asserts that it leaves nothing behind but the acceptance."""
    before = packs_in(home)
    with pytest.raises(LoraPrepError) as refusal:
        fetch(home, *answers, pack=pack)
    assert packs_in(home) == before
    error = refusal.value
    assert all((error.what, error.why, error.fix))
    return error


def packs_in(home: Path) -> dict[str, bytes]:
    """Every file of every pack, half or whole."""
    faces = home / "faces"
    own = {faces / "accepted.json", faces / ".lock"}
    assert not list(faces.glob(".part-*"))
    return {
        str(path.relative_to(faces)): path.read_bytes()
        for path in faces.rglob("*")
        if path.is_file() and path not in own
    }


# ── what a fetch leaves ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("published", [True, False])
def test_a_fetched_pack_lies_in_a_folder_of_its_own_with_its_hashes(
    published: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = known_too(monkeypatch, small_pack(published=published))
    data = zip_of(landmarks__onnx=b"not used", readme__txt=b"hello")
    events: list[Event] = []

    fetched = fetch(tmp_path, Answer(body=data), pack=known, on_event=events.append)

    folder = tmp_path / "faces" / "small"
    assert fetched.downloaded
    assert fetched.pack == find_pack("small", tmp_path, accept_noncommercial=False)
    assert fetched.sha256 == verify_pack(fetched.pack)
    assert sorted(path.name for path in folder.iterdir()) == ["det.onnx", "pack.json", "rec.onnx"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert (folder / "det.onnx").read_bytes() == b"det"
    said = json.loads((folder / "pack.json").read_text())
    valid(said, "faces-pack")
    assert said["detector"] == {"file": "det.onnx", "sha256": sha256(b"det"), "bytes": 3}
    assert said["recogniser"]["sha256"] == sha256(b"rec")
    assert said["source"]["sha256"] == sha256(data)
    assert said["source"]["bytes"] == len(data)
    assert said["noncommercial"] is True
    downloading = [event for event in events if event.unit == "bytes"]
    assert downloading[-1] == Event(
        "prepare", "fetching small", done=len(data), total=len(data), unit="bytes"
    )


def test_a_fetched_folder_can_be_carried_elsewhere(tmp_path: Path) -> None:
    fetched = fetch(tmp_path, Answer(body=GOOD))
    elsewhere = tmp_path / "usb stick"
    fetched.pack.folder.rename(elsewhere)

    pack = find_pack(str(elsewhere), tmp_path / "other home", accept_noncommercial=True)

    assert (pack.name, pack.metric, pack.cut) == ("small", "cosine", fetched.pack.cut)
    assert pack.pinned
    assert verify_pack(pack) == fetched.sha256


def test_models_in_a_folder_of_the_zip_are_found(tmp_path: Path) -> None:
    data = raw_zip(("small/", b""), ("small/det.onnx", b"det"), ("small/rec.onnx", b"rec"))

    assert fetch(tmp_path, Answer(body=data)).downloaded


def test_what_is_there_and_whole_is_not_fetched_again(tmp_path: Path) -> None:
    first = fetch(tmp_path, Answer(body=GOOD))
    with origin(Answer(body=GOOD)) as server:
        again = fetch_pack(small_pack(), tmp_path, accept_noncommercial=False, base_url=server.url)
        assert server.requests == []

    assert not again.downloaded
    assert (again.pack, again.sha256) == (first.pack, first.sha256)


@pytest.mark.parametrize("published", [True, False])
def test_a_damaged_pack_is_mended(published: bool, tmp_path: Path) -> None:
    known = small_pack(published=published)
    first = fetch(tmp_path, Answer(body=GOOD), pack=known)
    (first.pack.folder / "det.onnx").write_bytes(b"damaged")
    (first.pack.folder / "rec.onnx").unlink()

    again = fetch(tmp_path, Answer(body=GOOD), pack=known)

    assert again.downloaded
    assert again.sha256 == first.sha256


@pytest.mark.parametrize("published", [True, False])
def test_other_models_than_the_first_time_are_refused(published: bool, tmp_path: Path) -> None:
    known = small_pack(published=published)
    first = fetch(tmp_path, Answer(body=GOOD), pack=known)
    (first.pack.folder / "det.onnx").write_bytes(b"damaged")

    error = refused(tmp_path, Answer(body=zip_of(rec__onnx=b"evil")), pack=known)

    assert isinstance(error, ConfigurationError)
    assert "rec.onnx does not match" in error.why


def test_other_models_than_the_published_are_refused_the_first_time(tmp_path: Path) -> None:
    error = refused(tmp_path, Answer(body=zip_of(det__onnx=b"evil")))

    assert "det.onnx does not match" in error.why
    assert packs_in(tmp_path) == {}


@pytest.mark.parametrize("described", [True, False])
def test_a_folder_that_was_not_fetched_is_left_alone(described: bool, tmp_path: Path) -> None:
    folder = tmp_path / "faces" / "small"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    if described:
        (folder / "pack.json").write_text("garbage")

    error = refused(tmp_path, Answer(body=GOOD))

    assert "in the way" in error.what
    assert str(folder) in error.fix


# ── terms ─────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_asked_for_before_the_terms_are_accepted(tmp_path: Path) -> None:
    with origin(Answer(body=GOOD)) as server:
        with pytest.raises(ConfigurationError, match="not accepted"):
            fetch_pack(small_pack(), tmp_path, accept_noncommercial=False, base_url=server.url)
        assert server.requests == []
    assert list(tmp_path.iterdir()) == []


# ── the way ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ConfigurationError), (403, ConfigurationError), (206, ConfigurationError),
     (500, TemporaryError), (503, TemporaryError), (429, TemporaryError)],
)  # fmt: skip
def test_a_server_that_says_no(status: int, kind: type[LoraPrepError], tmp_path: Path) -> None:
    error = refused(tmp_path, Answer(status, GOOD))

    assert type(error) is kind
    assert str(status) in error.why


@pytest.mark.parametrize(
    "answer", [Answer(drop=True), Answer(body=GOOD, cut=1000)], ids=["dropped", "truncated"]
)
def test_a_connection_that_breaks_is_temporary(answer: Answer, tmp_path: Path) -> None:
    error = refused(tmp_path, answer)

    assert isinstance(error, TemporaryError)
    assert "small" in error.what


def test_no_server_at_all_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError):
        fetch_pack(
            small_pack(),
            tmp_path,
            accept_noncommercial=True,
            base_url=f"http://127.0.0.1:{closed_port()}",
        )


def test_a_server_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    with stalling(GOOD[:100], len(GOOD)) as server:
        begun = time.monotonic()
        with pytest.raises(TemporaryError, match="Timeout"):
            fetch_pack(
                small_pack(),
                tmp_path,
                accept_noncommercial=True,
                base_url=server.url,
                read_timeout_s=0.3,
            )
    assert time.monotonic() - begun < 5
    assert packs_in(tmp_path) == {}


@pytest.mark.parametrize("told", [True, False], ids=["told before", "not told"])
def test_more_than_a_pack_can_have_is_not_taken(told: bool, tmp_path: Path) -> None:
    with stalling(b"x" * 2_200_000, 5_000_000 if told else None) as server:
        with pytest.raises(ConfigurationError, match="too large") as refusal:
            fetch_pack(small_pack(), tmp_path, accept_noncommercial=True, base_url=server.url)

    assert "may have 1.1 MB" in refusal.value.why
    assert packs_in(tmp_path) == {}


def test_redirects_are_followed_on_this_machine(tmp_path: Path) -> None:
    with origin(Answer(body=GOOD)) as storage:
        moved = Answer(302, headers={"Location": f"{storage.url}/elsewhere?key=secret"})
        assert fetch(tmp_path, moved).downloaded

    assert storage.requests[0].path == "/elsewhere?key=secret"


@pytest.mark.parametrize(
    "location",
    [
        "http://models.test/small.zip",
        "ftp://models.test/small.zip",
        "file:///etc/passwd",
        "http://[broken",
        "/round/and/round",
    ],
)
def test_redirects_that_lead_astray_are_not_followed(location: str, tmp_path: Path) -> None:
    error = refused(tmp_path, Answer(302, headers={"Location": location}))

    assert any(words in error.why for words in ("not https", "redirects", "protocol"))


def test_an_address_without_encryption_is_not_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not https"):
        fetch_pack(small_pack(), tmp_path, accept_noncommercial=True, base_url="http://models.test")


# ── interruptions, room, company ──────────────────────────────────────────────────────────────


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    def press(event: Event) -> None:
        if event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, Answer(body=GOOD), on_event=press)

    assert packs_in(tmp_path) == {}


def test_what_a_killed_fetch_left_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    with stalling(GOOD[:100], len(GOOD)) as server:
        child = os.fork()
        if child == 0:
            fetch_pack(small_pack(), tmp_path, accept_noncommercial=True, base_url=server.url)
            os._exit(0)
        assert server.begun.wait(20)
        for _ in range(500):
            if list(tmp_path.glob("faces/.part-*/pack.zip")):
                break
            time.sleep(0.01)
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert list(tmp_path.glob("faces/.part-*/pack.zip"))
    with pytest.raises(ConfigurationError):
        find_pack("small", tmp_path, accept_noncommercial=True)

    assert fetch(tmp_path, Answer(body=GOOD)).downloaded

    assert len(packs_in(tmp_path)) == 3


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("where", ["downloading", "unpacking"])
def test_no_room_is_a_clear_error(where: str, tmp_path: Path) -> None:
    big = b"\0" * 9000
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("det.onnx", big if where == "unpacking" else os.urandom(9000))
        archive.writestr("rec.onnx", b"rec")
    pack = small_pack(published=False)

    with files_of_at_most(5000):
        error = refused(tmp_path, Answer(body=file.getvalue()), pack=pack)

    assert isinstance(error, ConfigurationError)
    assert "cannot be kept" in error.what
    assert "too large" in error.why  # what the kernel says of this limit
    assert "room" in error.fix


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("in the way")

    with pytest.raises(ConfigurationError, match="cannot be kept"):
        fetch(tmp_path, Answer(body=GOOD))


def test_the_second_of_two_fetches_waits_and_takes_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir(mode=0o700)
    waiting = threading.Event()
    done: list[Fetched] = []
    with (tmp_path / "faces" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(
            target=lambda: done.append(
                fetch(
                    tmp_path,
                    Answer(body=GOOD),
                    on_event=lambda event: waiting.set() if "waiting" in event.message else None,
                )
            )
        )
        second.start()
        assert waiting.wait(20)
        assert done == []
    second.join(20)

    assert done[0].downloaded
