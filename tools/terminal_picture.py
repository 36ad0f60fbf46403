"""Make the picture of a terminal: what a real `lora-prep run` leaves on it, as an SVG."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path

from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_prep.embedded import stop_services  # noqa: E402
from tests.cli.terminal import FAINT, terminal  # noqa: E402

PICTURE = ROOT / "docs" / "pictures" / "terminal.svg"
TYPED = "lora-prep run sample_data/people/ada"
COLUMNS = 100
THEME = TerminalTheme(
    (22, 27, 34),
    (214, 221, 228),
    [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65),
     (121, 192, 255), (210, 168, 255), (86, 212, 221), (214, 221, 228)],
)  # fmt: skip
FAINT_COLOUR = "#8b949e"
# Rich's own loads fonts from elsewhere; a picture in a README loads nothing. Whichever font there
# is, every piece of text has the length that its columns have.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
.{unique_id}-title {{ display: none }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    PICTURE.write_text(picture(run()), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


def run() -> list[list[Char]]:
    """Return what a run leaves on a terminal, cell by cell, for somebody who has nothing yet."""
    with tempfile.TemporaryDirectory() as place:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": place,
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        words = shlex.split(TYPED)
        with terminal(*words, columns=COLUMNS, environment=environment, cwd=ROOT) as shown:
            status = shown.ended()
            cells = shown.cells[: len(shown.lines)]
        for data in Path(place).glob(".local/share/*"):
            stop_services(data)
        if status != 0:
            sys.exit(shown.text)
    return cells


def picture(cells: Sequence[Sequence[Char]]) -> str:
    """Return the SVG of a terminal, with what was typed above."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), color_system="truecolor")
    console.print(Text.assemble(("$ ", FAINT_COLOUR), TYPED))
    for line in cells:
        text = Text()
        for style, run in groupby(line, _style):
            text.append("".join(cell.data for cell in run), style)
        text.rstrip()
        console.print(text)
    return console.export_svg(
        title="", theme=THEME, code_format=TEMPLATE, unique_id="terminal", font_aspect_ratio=0.6
    )


def _style(cell: Char) -> Style:
    colour = {"default": None, FAINT: FAINT_COLOUR, "brown": "yellow"}.get(cell.fg, cell.fg)
    return Style(color=colour, bold=cell.bold)


if __name__ == "__main__":
    main()
