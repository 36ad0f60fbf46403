"""What the documents link is there, and the examples in docs/ run."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from lora_prep.trainer_service.webhooks import signed_headers
from tests.trainer_service.helpers import WAIT_S, run_in_thread

DOCS = Path(__file__).parents[1] / "docs"
SECRET = "whsec_of-this-test"
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')


def test_every_link_leads_somewhere_and_every_picture_is_linked() -> None:
    found = {
        (page.parent / (link or picture).partition("#")[0]).resolve()
        for page in (DOCS.parent / "README.md", *DOCS.rglob("*.md"))
        for link, picture in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in link
    }
    assert [path for path in found if not path.exists()] == []
    assert set((DOCS / "pictures").iterdir()) <= found


@pytest.mark.slow
def test_the_webhook_receiver_takes_what_the_service_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "webhooks.md").read_text(), re.M | re.S)
    example: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/webhooks.md", "exec"), example)
    server, thread, url = run_in_thread(example["app"])
    body = b'{"id": "p1", "status": "completed", "outputs": ["https://x.test/lora"]}'
    headers = signed_headers(SECRET, "message", int(time.time()), body)
    try:
        for _ in range(2):
            answer = httpx.post(f"{url}/trained", content=body, headers=headers)
            assert answer.status_code == 204
        forged = httpx.post(f"{url}/trained", content=body + b" ", headers=headers)
    finally:
        server.should_exit = True
        thread.join(WAIT_S)
    assert forged.status_code == 400
    assert example["ended"] == {"p1": "completed"}
