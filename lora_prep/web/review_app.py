"""The review page as an app: it reads what is asked, calls one function, and draws what changed.

Photos are named by their place in the folder's list; nothing of a request is ever a path.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from lora_prep.errors import LoraPrepError
from lora_prep.inspection import AnalysisCache
from lora_prep.model import Box
from lora_prep.photos import UnreadablePhoto
from lora_prep.web.guarded import Tokens
from lora_prep.web.review_page import ALL, Page, facts_of, large_of, page_of, said_of
from lora_prep.web.serving import body_of, environment, static_files
from lora_prep.workers import core_count
from pipelines.reviewing import Review, decide, recrop, undo

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Desk", "review_app"]

SIDES_PX = {"small": 320, "large": 1600}
VERDICTS: dict[str, Any] = {"keep": "keep", "leave_out": "leave_out", "measures": None}

Change = Callable[[Review], tuple[Review, int | None]]


class Desk:
    """The one review that is open: changed by one request at a time, read by any."""

    def __init__(self, review: Review, pictures: AnalysisCache) -> None:
        self.review = review
        self.page = page_of(review)
        self.pictures = pictures
        self.decoding = threading.BoundedSemaphore(core_count())
        self._changing = threading.Lock()

    def change(self, change: Change) -> tuple[Page, int | None]:
        """Change the review; return the page before, and which photo it was about."""
        with self._changing:
            before = self.page
            self.review, index = change(self.review)
            self.page = page_of(self.review)
            return before, index


def review_app(desk: Desk, tokens: Tokens) -> Starlette:
    """Return the page of a review; who may see it is the guard's business."""
    templates = environment(tokens)

    def draw(name: str, **values: Any) -> HTMLResponse:
        page, review = desk.page, desk.review
        template = templates.get_template(f"review/{name}.html")
        return HTMLResponse(template.render(page=page, review=review, **values))

    def index_of(request: Request) -> int:
        index: int = request.path_params["index"]
        if index >= len(desk.page.cards):
            raise HTTPException(404)
        return index

    def whole(request: Request) -> Response:
        return draw("page", show=_filter(request.query_params, desk.page))

    def grid(request: Request) -> Response:
        return draw("grid", show=_filter(request.query_params, desk.page))

    def large(request: Request) -> Response:
        return draw("large", large=large_of(desk.review, desk.page, index_of(request)))

    def compare(request: Request) -> Response:
        one = large_of(desk.review, desk.page, index_of(request))
        facts = {card.index: facts_of(desk.review, card.index) for card in one.alike}
        return draw("compare", large=one, facts=facts)

    def picture(request: Request) -> Response:
        photo = desk.review.verdict(index_of(request)).photo
        side_px = SIDES_PX.get(request.path_params["size"])
        if photo is None or side_px is None:
            raise HTTPException(404)
        preview = desk.pictures.preview(photo)
        if side_px == SIDES_PX["small"] and preview.exists():
            return _jpeg(preview.read_bytes())
        try:
            with desk.decoding:
                return _jpeg(desk.pictures.view(photo, side_px))
        except UnreadablePhoto as error:
            raise HTTPException(404) from error

    def changed(change: Change, asked: Mapping[str, str]) -> Response:
        """Make a change and draw whatever it changed, wherever it stands on the page."""
        try:
            before, index = desk.change(change)
        except LoraPrepError as error:
            return PlainTextResponse(f"Not saved. {error.why} {error.fix}", 409)
        except OSError as error:
            return PlainTextResponse(f"Not saved: {error.strerror}.", 507)
        page = desk.page
        cards = [new for old, new in zip(before.cards, page.cards, strict=True) if new != old]
        view = asked.get("view", "")
        viewed = int(view) if view.isascii() and view.isdecimal() else -1
        shown = large_of(desk.review, page, viewed) if 0 <= viewed < len(page.cards) else None
        said = "There is nothing to undo." if index is None else said_of(page, index)
        answer = draw(
            "changed", cards=cards, show=_filter(asked, page), said=said, large=shown, index=index
        )
        answer.headers["x-photo"] = "" if index is None else str(index)
        return answer

    def verdict(index: int, asked: Mapping[str, str]) -> Change:
        if asked.get("verdict") not in VERDICTS:
            raise HTTPException(422, "verdict must be keep, leave_out or measures")
        return lambda review: (decide(review, index, VERDICTS[asked["verdict"]]), index)

    def crop(index: int, asked: Mapping[str, str]) -> Change:
        box = None if asked.get("reset") else _box(asked)
        return lambda review: (recrop(review, index, box), index)

    def changing(
        kind: Callable[[int, Mapping[str, str]], Change],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            asked = await body_of(request)
            change = kind(index_of(request), asked)
            return await run_in_threadpool(changed, change, asked)

        return answer

    async def take_back(request: Request) -> Response:
        return await run_in_threadpool(changed, undo, await body_of(request))

    return Starlette(
        routes=[
            Route("/", whole),
            Route("/grid", grid),
            Route("/photos/{index:int}", large),
            Route("/photos/{index:int}/compare", compare),
            Route("/photos/{index:int}/{size}.jpg", picture),
            Route("/photos/{index:int}/verdict", changing(verdict), methods=["POST"]),
            Route("/photos/{index:int}/crop", changing(crop), methods=["POST"]),
            Route("/undo", take_back, methods=["POST"]),
            *static_files("htmx.min.js", "icon.svg", "page.css", "review.css", "review.js"),
        ]
    )


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


def _filter(asked: Mapping[str, str], page: Page) -> str:
    """Return which cards are shown; what nobody knows shows all."""
    key = asked.get("show", ALL)
    return key if any(key == one.key for one in page.filters) else ALL


def _box(asked: Mapping[str, str]) -> Box:
    try:
        left, top, side = (int(asked[name]) for name in ("left", "top", "side"))
    except (KeyError, ValueError) as error:
        raise HTTPException(422, "left, top and side must be whole numbers") from error
    return Box(left, top, side, side)
