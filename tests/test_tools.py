"""`make` says what the system lacks before it downloads anything."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "check_system.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_system", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_apt_line_names_what_is_missing(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(library: str) -> None:
        if library != "libX11.so.6":
            raise OSError(library)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(tool.sys, "platform", "linux")
    assert tool.main() == 1
    assert capsys.readouterr().err == "sudo apt-get install -y libgl1 libglib2.0-0\n"


def test_an_old_python_is_refused(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "MINIMUM", (99, 0))
    assert tool.main() == 1
    assert "Python" in capsys.readouterr().err


def test_this_machine_has_them(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main() == 0
    assert capsys.readouterr().err == ""
