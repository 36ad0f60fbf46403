"""The picture of a terminal in the README shows what a run really leaves there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "terminal_picture.py"
OF_A_RUN = {  # what is another with every run
    r"\d{8}t\d{6}-[0-9a-f]{6}": "RUN",
    r"RUN-[0-9a-f]{12}\.": "RUN-HASH.",
    r"\b[0-9a-f]{32}\b": "PREDICTION",
    r"\d{4}-\d\d-\d\d \d\d:\d\d": "DATE",
    r"\d+(\.\d)? s$": "TIME",
}


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("terminal_picture", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(svg: str) -> list[str]:
    """The lines of a picture, in words, without what is another with every run."""
    lines: dict[str, str] = {}
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        height = element.attrib["y"]
        lines[height] = lines.get(height, "") + (element.text or "")
    words = [" ".join(line.split()) for line in lines.values()]
    for pattern, name in OF_A_RUN.items():
        words = [re.sub(pattern, name, line) for line in words]
    return words


def test_it_loads_nothing_and_names_nobody(tool: ModuleType) -> None:
    svg = tool.PICTURE.read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@font-face|@import|/tmp|/home|/root|/work|127\.0\.0\.1", svg)


@pytest.mark.slow
def test_it_is_what_a_run_leaves(tool: ModuleType) -> None:
    committed, fresh = (
        shown(tool.PICTURE.read_text(encoding="utf-8")),
        shown(tool.picture(tool.run())),
    )
    assert committed == fresh, "draw it anew: make pictures"
    assert committed[0] == f"$ {tool.TYPED}"
    assert "✓ prepare 16 photos cropped, 5.7 MB TIME" in committed
    assert "report ~/.local/share/lora-prep/runs/RUN/report.html" in committed
