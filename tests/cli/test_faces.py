"""faces list, faces fetch, faces verify: as their user types them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lora_prep.faces import KNOWN_PACKS, OPEN_PACK
from tests.cli.command import Done, command, in_process, lora_prep
from tests.cli.schemas import valid
from tests.faces.fake_packs import bare_folder, known_too, small_pack, zip_of
from tests.faces.stalling import stalling
from tests.origin import Answer, Origin, origin

ACCEPT = "--accept-noncommercial"


@pytest.fixture
def home() -> Path:
    return Path(os.environ["LORA_PREP_HOME"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    known_too(monkeypatch, small_pack())


def ask(monkeypatch: pytest.MonkeyPatch, server: Origin) -> None:
    monkeypatch.setenv("LORA_PREP_FACES__BASE_URL", server.url)


def fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Done:
    with origin(Answer(body=zip_of())) as server:
        ask(monkeypatch, server)
        return in_process(capsys, "faces", "fetch", "small", *arguments)


def test_list_shows_every_pack_and_what_it_may_be_used_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = in_process(capsys, "faces", "list")

    assert (done.status, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert list(lines) == ["open", *KNOWN_PACKS]
    assert "free for every use" in lines["open"]
    assert "289 MB" in lines["buffalo_l"]
    assert "non-commercial only" in lines["buffalo_l"]
    assert max(map(len, lines.values())) <= 100


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    done = in_process(capsys, "faces", "list", "--json")

    valid(done.json, "faces-list")
    rows = {row["name"]: row for row in done.json["packs"]}
    assert rows["open"]["here"]
    assert rows["open"]["accepted"]
    assert not rows["antelopev2"]["here"]
    assert not rows["antelopev2"]["accepted"]
    assert "non-commercial research only" in rows["antelopev2"]["licence"]


def test_fetch_states_the_terms_and_asks_nobody_before_they_are_accepted(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    done = in_process(capsys, "faces", "fetch", "buffalo_l", "--json")

    assert (done.status, done.error_code) == (2, "configuration")
    valid(done.json, "faces-fetch")
    assert "non-commercial research only" in done.stderr
    assert ACCEPT in done.stderr
    assert not (home / "faces").exists()


def test_fetch_verify_list_and_fetch_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
    small: None,
) -> None:
    done = fetched(monkeypatch, capsys, ACCEPT, "--json")
    assert done.status == 0
    valid(done.json, "faces-fetch")
    assert done.json["downloaded"]
    assert done.json["accepted"]
    assert Path(done.json["folder"]) == home.resolve() / "faces" / "small"
    assert "fetching small" in done.stderr
    assert "--face-pack small" in done.stderr

    verified = in_process(capsys, "faces", "verify", "--json")
    valid(verified.json, "faces-verify")
    assert [row["name"] for row in verified.json["packs"]] == ["open", "small"]
    assert verified.json["packs"][1]["sha256"] == done.json["sha256"]

    listed = in_process(capsys, "faces", "list", "--json").json
    row = next(row for row in listed["packs"] if row["name"] == "small")
    assert (row["here"], row["accepted"]) == (True, True)

    again = fetched(monkeypatch, capsys)  # accepted once is accepted
    assert again.status == 0
    assert again.stdout == f"{done.json['folder']}\n"


def test_the_terms_may_be_accepted_by_a_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small: None
) -> None:
    Path("lora-prep.toml").write_text("[faces]\naccept_noncommercial = true\n")

    assert fetched(monkeypatch, capsys).status == 0


def test_a_damaged_pack_is_told_from_the_sound_ones(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
    small: None,
) -> None:
    fetched(monkeypatch, capsys, ACCEPT)
    (home / "faces" / "small" / "rec.onnx").write_bytes(b"damaged")

    for arguments in (["small"], []):
        done = in_process(capsys, "faces", "verify", "--json", *arguments)
        assert (done.status, done.error_code) == (2, "configuration")
        valid(done.json, "faces-verify")
        assert "rec.onnx does not match" in done.stderr
        assert "faces fetch small" in done.stderr
    assert [row["name"] for row in done.json["packs"]] == ["open"]


def test_verify_takes_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "mine")

    done = in_process(capsys, "faces", "verify", folder)

    assert done.status == 0
    name, state, sha256 = done.stdout.split()
    assert (name, state, len(sha256)) == ("mine", "unpinned", 64)
    copy = in_process(capsys, "faces", "verify", OPEN_PACK.folder)
    assert copy.stdout.split()[:2] == ["open", "sound"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fetch", "bufalo_l"], "buffalo_l"),
        (["fetch", "open"], "comes along"),
        (["verify", "buffalo_l"], "faces fetch buffalo_l"),
        (["verify", "./nowhere"], "no folder"),
        (["fetch"], "NAME"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process(capsys, "faces", *arguments)

    assert (done.status, done.error_code) == (2, "configuration")
    assert says in done.stderr


@pytest.mark.parametrize("url", ["models", "ftp://models.test", "https://me:secret@models.test"])
def test_a_base_url_that_is_none_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORA_PREP_FACES__BASE_URL", url)

    done = in_process(capsys, "faces", "fetch", "buffalo_l", ACCEPT)

    assert (done.status, done.error_code) == (2, "configuration")
    assert "faces.base_url" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fetch_leaves_no_half_pack(how: signal.Signals, home: Path) -> None:
    with stalling(b"PK", 1_000_000) as server:
        child = subprocess.Popen(
            command("faces", "fetch", "buffalo_sc", ACCEPT),
            env=os.environ | {"LORA_PREP_FACES__BASE_URL": server.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert server.begun.wait(60)
        child.send_signal(how)
        _, told = child.communicate(timeout=60)

    assert child.returncode == 130
    assert "[interrupted]" in told
    assert sorted(path.name for path in (home / "faces").iterdir()) == [".lock", "accepted.json"]
    again = lora_prep("faces", "verify", "buffalo_sc")
    assert (again.status, again.error_code) == (2, "configuration")
