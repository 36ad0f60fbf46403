"""Pages served by the real command, for the browser to open."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.cli.command import command
from tests.sample import SAMPLE_DATA

__all__ = ["FOREIGN", "mixed_folder", "overseen", "reviewed", "serving"]

WAIT_S = 120
FOREIGN = "evil.example"


def mixed_folder(folder: Path) -> Path:
    """Fill a folder with the sample person's photos and everything that is left out."""
    folder.mkdir(parents=True)
    for source in (SAMPLE_DATA / "people" / "ada", SAMPLE_DATA / "rejects"):
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)
    return folder


def reviewed(folder: Path, environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """Serve the review of a folder and yield the address that lets in."""
    return _served(["review", str(folder)], environment)


def overseen(environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """Serve the dashboard and yield the address that lets in."""
    return _served(["dashboard"], environment)


@contextmanager
def _served(words: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    server = subprocess.Popen(
        command(*words, "--no-browser"),
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


@contextmanager
def serving(html: str) -> Iterator[str]:
    """Serve a page of somebody else's and yield its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
