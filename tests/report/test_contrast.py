"""The report's colours can be told apart, by day and by night: WCAG 2.2, 1.4.3 and 1.4.11."""

import re
from pathlib import Path

import pytest

import lora_prep.report

CSS = (Path(lora_prep.report.__file__).parent / "templates" / "report.css").read_text()
TEXT, SHAPE = 4.5, 3.0
PAIRS = [
    *((ink, paper, TEXT) for ink in ("ink", "muted", "link") for paper in ("paper", "card")),
    *((ink, "card", TEXT) for ink in ("good", "bad", "note")),
    ("muted", "blank", TEXT),
    ("muted", "bad-paper", TEXT),
    ("good", "paper", SHAPE),
    ("bad", "paper", SHAPE),
    ("bad", "bad-paper", TEXT),
    ("good", "good-paper", TEXT),
    ("note", "note-paper", TEXT),
]


def colours(mode: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{([^}]*--card[^}]*)\}", CSS)
    said = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
    return dict(said.findall(light)) | (dict(said.findall(dark)) if mode == "dark" else {})


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(("ink", "paper", "least"), PAIRS)
def test_contrast(mode, ink, paper, least):
    known = colours(mode)
    dim, bright = sorted(luminance(known[name]) for name in (ink, paper))
    assert (bright + 0.05) / (dim + 0.05) >= least


def test_focus_is_seen_and_nothing_moves():
    assert re.search(r":focus-visible \{ outline: 3px solid var\(--link\)", CSS)
    assert not re.search(r"animation|transition|@keyframes", CSS)
