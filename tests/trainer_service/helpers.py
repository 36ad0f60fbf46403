"""A data server, and a client and a process of the trainer service; all real, on loopback."""

from __future__ import annotations

import io
import os
import ssl
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from PIL import Image

import lora_prep
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.options import ServiceOptions

KEY = "test-key"
OTHER_KEY = "other-key"
OPTIONS = ServiceOptions(api_keys=(KEY, OTHER_KEY), webhook_retry_s=0.05)
SUBMIT = "/api/v3/wavespeed-ai/wan-14b-trainer"
WAIT_S = 20


def jpeg(shade: int = 0, side: int = 32) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (side, side), (shade % 256, 90, 120)).save(content, "JPEG")
    return content.getvalue()


def zip_of(files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def zip_of_images(count: int) -> bytes:
    return zip_of({f"{number:04}.jpg": jpeg(number) for number in range(count)})


class DataServer:
    """Serves what a test puts under a path; a path can also be made to hang or to redirect."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.content: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.requests: list[str] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                path = self.path.partition("?")[0]
                if path == "/hang":
                    outer.released.wait(WAIT_S)
                if path in outer.redirects:
                    self.send_response(302)
                    self.send_header("Location", outer.redirects[path])
                elif path in outer.content:
                    self.send_response(200)
                else:
                    self.send_response(403)
                body = outer.content.get(path, b"<Error>AccessDenied</Error>")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls:
            plain = self._server.socket
            self._server.socket = tls.wrap_socket(plain, server_side=True)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, content: bytes, path: str = "/data.zip") -> str:
        self.content[path] = content
        return f"{self.origin}{path}?X-Amz-Signature=topsecret"

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Clock:
    """A clock that a test moves."""

    moved: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.moved


def send(method: str, url: str, **headers: str) -> httpx.Response:
    """Send a request without the key. verify: loading certificates costs more than the request."""
    encoded = {name: value.encode() for name, value in headers.items()}
    return httpx.request(method, url, headers=encoded, trust_env=False, verify=False)


class Api:
    """A client of one running service."""

    def __init__(self, base_url: str, key: str = KEY) -> None:
        self.base_url = base_url
        self.http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        )

    def other(self) -> Api:
        """Return a client of the same service with another key."""
        return Api(self.base_url, OTHER_KEY)

    def post(self, path: str, **body: Any) -> Any:
        """Return `data` of the envelope that answers."""
        answer = self.http.post(f"/api/v3/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def list(self, **query: Any) -> Any:
        return self.post("predictions", **{"page": 1, "page_size": 100, **query})

    def stats(self) -> dict[str, Any]:
        return dict(self.http.get("/_service/stats").json())

    def submit(self, url: str, **parameters: Any) -> str:
        answer = self.http.post(SUBMIT, json={"data": url, **parameters})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["id"]

    def prediction(self, task_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/api/v3/predictions/{task_id}/result")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def wait(self, task_id: str, *statuses: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            prediction = self.prediction(task_id)
            if prediction["status"] in (statuses or ("completed", "failed")):
                return prediction
            time.sleep(0.02)
        raise AssertionError(f"still {prediction['status']}")

    def train(self, url: str, **parameters: Any) -> dict[str, Any]:
        return self.wait(self.submit(url, **parameters))


@dataclass
class RunningService:
    """The service on a thread of the test process, with a clock that can be moved."""

    api: Api
    clock: Clock
    state: Path
    faults: FaultScript


def run_in_thread(app: Any) -> tuple[uvicorn.Server, threading.Thread, str]:
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return server, thread, f"http://127.0.0.1:{port}"


def child_environment(**more: str) -> dict[str, str]:
    """Return what a service process needs: this lora_prep wherever it starts, no real key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAVESPEED_")}
    return kept | {"PYTHONPATH": str(Path(lora_prep.__file__).parents[1])} | more


@dataclass
class ServiceProcess:
    """The service as a process of its own; stderr goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def api(self, key: str = KEY) -> Api:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if line.startswith("trainer service (rehearsal) on "):
                    return Api(line.rpartition(" ")[2], key)
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())


StartService = Callable[..., ServiceProcess]
