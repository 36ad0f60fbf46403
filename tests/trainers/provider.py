"""A provider on loopback with a memory: it counts what it accepted, lists it, and can misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lora_prep.model import TrainingRequest
from lora_prep.trainers import WAN_14B_TRAINER, Intent, Ledger, TrainerClient, Waits

KEY = "wsk-very-secret"
PARAMETERS = {"trigger_word": "p3r5on", "steps": 2000}
ACCOUNT = TrainerClient("http://127.0.0.1:9", KEY).account
WAITS = Waits(margin_s=0.1, look_every_s=0.02, too_many_s=0.02, too_many_total_s=0.5)
SUBMIT_S = 0.4
DROP_BEFORE, DROP_AFTER, REFUSE, FULL, BROKEN, HANG_AFTER = (
    "drop-before",
    "drop-after",
    "refuse",
    "full",
    "broken",
    "hang-after",
)


@dataclass
class Provider:
    """faults: of the next submissions, in order; the rest of the fields are how the list is."""

    url: str = ""
    faults: list[str] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    posts: int = 0
    inputs: str = "shown"  # shown | refused | hidden
    consistent: bool = True
    lag: int = 0  # how many of the newest the list does not show yet
    page_limit: int = 100
    list_status: int = 200
    result_status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)

    def accept(self, model: str, inputs: dict[str, Any]) -> dict[str, Any]:
        task = {
            "id": f"task{len(self.accepted):04}",
            "model": model,
            "status": "created",
            "created_at": datetime.now(UTC).isoformat(),
            "inputs": inputs,
        }
        self.accepted.append(task)
        return task

    def page(self, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(wanted)
        if self.list_status != 200:
            return self.list_status, {"code": self.list_status, "message": "no"}
        if self.inputs == "refused" and "include_inputs" in wanted:
            return 400, {"code": 400, "message": "unknown field"}
        shown = list(reversed(self.accepted[: len(self.accepted) - self.lag]))
        size = min(wanted["page_size"], self.page_limit)
        items = [dict(task) for task in shown[(wanted["page"] - 1) * size :][:size]]
        for item in items:
            if self.inputs != "shown" or not wanted.get("include_inputs"):
                item.pop("inputs")
        return 200, {"code": 200, "data": {"page": wanted["page"], "items": items}}


def _handler(served: Provider) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/_service/stats":
                self.answer(200, {"accepted": 0, "consistent": served.consistent})
                return
            name = self.path.split("/")[-2]
            task = next((task for task in served.accepted if task["id"] == name), None)
            if served.result_status != 200:
                self.answer(served.result_status, {"code": served.result_status})
            elif task is None:
                self.answer(404, {"code": 404, "message": "not found"})
            else:
                self.answer(200, {"code": 200, "data": task})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v3/predictions":
                self.answer(*served.page(body))
                return
            with lock:
                served.posts += 1
                fault = served.faults.pop(0) if served.faults else ""
                if fault not in {DROP_BEFORE, REFUSE, FULL, BROKEN}:
                    task = served.accept(self.path.removeprefix("/api/v3/"), body)
            served.reached.set()
            match fault:
                case "refuse":
                    self.answer(400, {"code": 400, "message": "steps"})
                case "full":
                    self.answer(429, {"code": 429, "message": "slow down"})
                case "broken":
                    self.answer(500, {"code": 500})
                case "drop-before" | "drop-after":
                    self.close_connection = True
                case "hang-after":
                    time.sleep(SUBMIT_S + 1)
                    self.close_connection = True
                case _:
                    self.answer(200, {"code": 200, "data": task})

        def answer(self, status: int, body: dict[str, Any]) -> None:
            self.close_connection = True
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


@contextmanager
def provider(**how: Any) -> Iterator[Provider]:
    served = Provider(**how)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    server.daemon_threads = True
    server.block_on_close = False
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client_of(url: str) -> TrainerClient:
    return TrainerClient(url, KEY, submit_timeout_s=SUBMIT_S, read_timeout_s=2)


def intent_of(
    origin: str, run_id: str = "run1", *, attempt: int = 1, data: str = "abc", **how: Any
) -> Intent:
    return Intent(
        run_id=run_id,
        attempt=attempt,
        origin=origin,
        model=how.pop("model", WAN_14B_TRAINER),
        parameters=how.pop("parameters", PARAMETERS),
        dataset_sha256=data,
        bucket="photos",
        account=how.pop("account", ACCOUNT),
        object_key=f"datasets/2026/{run_id}-{attempt}/{data}.zip",
        **how,
    )


def request_of(intent: Intent) -> TrainingRequest:
    url = f"http://127.0.0.1:9/{intent.bucket}/{intent.object_key}?X-Amz-Signature=topsecret"
    return TrainingRequest(intent.model, url, "p3r5on", 2000)


def ledger_in(folder: Path) -> Ledger:
    return Ledger(folder / "ledger.sqlite", stale_s=1)
