"""Terms are shown until they are accepted, and accepted once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_prep.faces import find_pack
from tests.faces.fake_packs import (
    bare_folder,
    declare,
    known_too,
    put_fetched,
    refused,
    small_pack,
)


def accepted(home: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((home / "faces" / "accepted.json").read_text())["accepted"]
    return record


def test_terms_are_shown_until_they_are_accepted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_too(monkeypatch, small_pack())
    put_fetched(tmp_path)

    error = refused("small", tmp_path, accept=False)
    assert "non-commercial research only" in error.why
    assert "--accept-noncommercial" in error.fix
    assert "faces.accept_noncommercial" in error.fix

    find_pack("small", tmp_path, accept_noncommercial=True)
    find_pack("small", tmp_path, accept_noncommercial=False)
    assert list(accepted(tmp_path)) == ["small"]
    assert (tmp_path / "faces" / "accepted.json").stat().st_mode & 0o077 == 0


def test_other_terms_must_be_accepted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_too(monkeypatch, small_pack())
    put_fetched(tmp_path)
    find_pack("small", tmp_path, accept_noncommercial=True)

    known_too(monkeypatch, replace(known, licence="Only on Sundays."))

    assert "Sundays" in refused("small", tmp_path, accept=False).why


def test_each_folder_is_accepted_for_itself(tmp_path: Path) -> None:
    folders = [bare_folder(tmp_path / name / "pack") for name in "ab"]
    assert "does not say" in refused(folders[0], tmp_path, accept=False).why
    find_pack(str(folders[0]), tmp_path, accept_noncommercial=True)

    find_pack(str(folders[0]), tmp_path, accept_noncommercial=False)
    refused(folders[1], tmp_path, accept=False)


def test_a_folder_cannot_borrow_the_acceptance_of_a_known_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_too(monkeypatch, small_pack())
    put_fetched(tmp_path)
    find_pack("small", tmp_path, accept_noncommercial=True)
    folder = declare(bare_folder(tmp_path / "x"), name="small", licence="Send money.")

    assert "Send money" in refused(folder, tmp_path, accept=False).why


@pytest.mark.parametrize("text", ["garbage", "[]", '{"accepted": 3}', '{"accepted": {"x": 1}}'])
def test_a_record_that_is_broken_accepts_nothing_and_is_written_anew(
    text: str, tmp_path: Path
) -> None:
    folder = bare_folder(tmp_path / "x")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "accepted.json").write_text(text)

    refused(folder, tmp_path, accept=False)
    find_pack(str(folder), tmp_path, accept_noncommercial=True)
    find_pack(str(folder), tmp_path, accept_noncommercial=False)


def test_an_acceptance_that_cannot_be_recorded_holds_for_this_time(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("in the way")

    folder = bare_folder(tmp_path / "x")
    assert find_pack(str(folder), home, accept_noncommercial=True).name == "x"
