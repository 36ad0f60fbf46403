"""Every command and number of the README is true: blocks are replayed, the example is run."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lora_prep.cli.commands import COMMANDS
from lora_prep.settings import load_settings
from tests.cli.command import command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_command_and_only_commands_stand_in_the_table() -> None:
    table = README.partition("## Commands")[2].partition("## Settings")[0]
    for entry in COMMANDS:
        assert f"`lora-prep {entry.usage}`" in table or f"`{entry.words}`" in table
    first_cells = "".join(line.split("|")[1] for line in table.splitlines() if line[:3] == "| `")
    named = re.findall(r"`(?:lora-prep )?([^`]+)`", first_cells)
    usages = {entry.usage for entry in COMMANDS} | {entry.words for entry in COMMANDS}
    assert set(named) <= usages


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_settings_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = blocks("toml")
    Path("lora-prep.toml").write_text(example)
    settings = load_settings()
    assert settings.dataset.max_images == 20
    assert settings.store.url == "s3://my-bucket/loras"


def test_the_example_in_steps_is_the_readme_s() -> None:
    import pipelines.steps

    (example,) = blocks("python")
    documented = re.sub(r"^    ", "", pipelines.steps.__doc__ or "", flags=re.MULTILINE)
    code = [line.split("#")[0].strip() for line in example.splitlines()]
    assert all(line in documented for line in code)
    assert len([line for line in code if line]) == 7


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.splitlines()[0][2:])
def test_console_blocks_show_what_is_really_printed(block: str, home: Path) -> None:
    first, _, expected = block.partition("\n")
    done = subprocess.run(
        command(*shlex.split(first.removeprefix("$ lora-prep "))),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        timeout=120,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert doctest.OutputChecker().check_output(expected, done.stdout, doctest.ELLIPSIS), (
        f"expected\n{expected}\ngot\n{done.stdout}"
    )


@pytest.mark.slow
def test_the_seven_lines_for_a_notebook_run(home: Path) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    url, report = done.stdout.split(" ", 1)
    assert url.startswith("s3://lora-prep/loras/")
    assert Path(report.strip()).exists()
