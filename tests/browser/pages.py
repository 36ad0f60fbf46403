"""Pages served by the real command, for the browser to open."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import command
from tests.sample import SAMPLE_DATA

__all__ = ["mixed_folder", "reviewed"]

WAIT_S = 120


def mixed_folder(folder: Path) -> Path:
    """Fill a folder with the sample person's photos and everything that is left out."""
    folder.mkdir(parents=True)
    for source in (SAMPLE_DATA / "people" / "ada", SAMPLE_DATA / "rejects"):
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)
    return folder


@contextmanager
def reviewed(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the review of a folder and yield the address that lets in."""
    server = subprocess.Popen(
        command("review", str(folder), "--no-browser"),
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert server.stderr
    try:
        said = []
        for line in server.stderr:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                yield found[0]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(WAIT_S) == 0
        server.stderr.close()
