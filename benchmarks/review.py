"""How fast the review page answers with 500 photos, over HTTP and behind its guard.

Promise: a fragment in <= 100 ms: what a key press or a click waits for. The photos' findings are
made up (500 different faces of one person); every decision is saved, and chooses anew among all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import compare, served
from lora_prep.inspection import AnalysisCache
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
        print(f"{wanted.count} photos, {wanted.runs} runs")
        with served(lambda tokens: review_app(desk, tokens)) as client:
            compare(questions(client), wanted.runs, LIMIT_MS, but_for=ONCE)


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


if __name__ == "__main__":
    main()
