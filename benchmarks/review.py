"""How fast the review page answers with 500 photos, over HTTP and behind its guard.

Promise: a fragment in <= 100 ms: what a key press or a click waits for. The photos' findings are
made up (500 different faces of one person); every decision is saved, and chooses anew among all.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from lora_prep.inspection import AnalysisCache
from lora_prep.web.guarded import CHANGE_HEADER, Guarded, Tokens
from lora_prep.web.review_app import Desk, review_app
from tests.sample import a_finding, a_judged_face
from tests.web.reviews import a_review_of

LIMIT_MS = 100
PHOTO_PX = (4000, 3000)
ONCE = {"the whole page", "12 MP at large, made"}
"""Asked for once: when the review begins, and of a photo that is looked at for the first time; then
most often while its neighbour is on the screen."""

COPIES = 5  # every so many photos one that repeats another


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--runs", type=int, default=20)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        desk = made_up_desk(wanted.count, folder)
        print(f"{wanted.count} photos, {wanted.runs} runs      median      worst      promise")
        with Served(desk) as client:
            times = {name: show(name, ask, wanted.runs) for name, ask in questions(client).items()}
    slow = [name for name, ms in times.items() if ms > LIMIT_MS and name not in ONCE]
    if slow:
        sys.exit(f"slower than {LIMIT_MS} ms: {', '.join(slow)}")


def made_up_desk(count: int, folder: Path) -> Desk:
    random = np.random.default_rng(1)
    person = random.normal(0, 0.05, 128)
    findings = []
    for index in range(count):
        embedding = tuple((person + random.normal(0, 0.02, 128)).tolist())
        face = a_judged_face(
            400,
            embedding=embedding,
            phash=int(random.integers(2**63)),
            yaw_deg=float(random.uniform(-40, 40)),
            sharpness=float(random.uniform(60, 200)),
        )
        finding = a_finding(f"IMG_{index:04d}.jpg", faces=(face,), size=PHOTO_PX)
        if findings and index % COPIES == 0:
            finding = a_finding(
                finding.name, faces=(face,), fingerprint=findings[-1].fingerprint, size=PHOTO_PX
            )
        findings.append(finding)
    noise = random.integers(0, 255, (PHOTO_PX[1] // 20, PHOTO_PX[0] // 20, 3), np.uint8)
    path = folder / "photo.jpg"
    Image.fromarray(noise).resize(PHOTO_PX).save(path, quality=90)
    from dataclasses import replace

    there = [
        replace(one, photo=replace(one.photo, path=path)) if one.photo else one for one in findings
    ]
    review = a_review_of(tuple(there), folder / "overrides.toml", folder)
    return Desk(review, AnalysisCache(folder / "cache", "made up"))


class Served:
    """The app on a port of loopback, and a client that was let in."""

    def __init__(self, desk: Desk) -> None:
        self._tokens = tokens = Tokens()
        app = Guarded(review_app(desk, tokens), tokens, ["page"], "page")
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> httpx.Client:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        headers = {
            "host": "page",
            CHANGE_HEADER: self._tokens.change,
            "cookie": f"page={self._tokens.entry}",
        }
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers)

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def questions(client: httpx.Client) -> dict[str, Callable[[int], httpx.Response]]:
    """Return what is asked for, in the order of a review; each is given the number of the run."""

    def post(path: str, **values: object) -> httpx.Response:
        return client.post(path, data={"view": 1, "show": "all", **values})

    return {
        "the whole page": lambda _: client.get("/"),
        "a filter, all cards": lambda _: client.get("/grid?show=all"),
        "a filter, few cards": lambda _: client.get("/grid?show=near_duplicate"),
        "a photo at large": lambda run: client.get(f"/photos/{run}"),
        "comparing": lambda _: client.get("/photos/5/compare"),
        "leave out": lambda run: post(f"/photos/{run}/verdict", verdict="leave_out"),
        "keep": lambda run: post(f"/photos/{run}/verdict", verdict="keep"),
        "crop": lambda run: post(f"/photos/{run}/crop", left=run, top=run, side=900),
        "undo": lambda _: post("/undo"),
        "a thumbnail, again": lambda _: client.get("/photos/0/small.jpg"),
        "12 MP at large, made": lambda run: client.get(f"/photos/{run}/large.jpg"),
        "12 MP at large, again": lambda _: client.get("/photos/0/large.jpg"),
    }


def show(name: str, ask: Callable[[int], httpx.Response], runs: int) -> float:
    """Print and return the median, ms."""
    times = []
    for run in range(runs):
        begun = time.perf_counter()
        answer = ask(run)
        times.append((time.perf_counter() - begun) * 1000)
        answer.raise_for_status()
    median = statistics.median(times)
    promise = "" if name in ONCE else f"{LIMIT_MS} ms"
    print(f"{name:<24} {median:7.1f} ms {max(times):7.1f} ms {promise:>12}")
    return median


if __name__ == "__main__":
    main()
