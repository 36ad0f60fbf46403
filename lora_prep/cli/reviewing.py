"""review: decide about photos by hand, on a page of this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lora_prep.cli.flags import DatasetFlags, settings_flags
from lora_prep.cli.pages import NoBrowser, Port, show_page
from lora_prep.cli.session import SessionParameter
from lora_prep.inspection import AnalysisCache
from lora_prep.settings import load_settings
from pipelines.reviewing import folder_of, open_review, settings_of
from pipelines.runs import run_by_id

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from lora_prep.web.guarded import Tokens
    from lora_prep.web.review_app import Desk

__all__ = ["review"]


def review(
    folder: Annotated[Path, Parameter(name="FOLDER", help="A folder of photos, or a run's id.")],
    /,
    *,
    port: Port = 0,
    no_browser: NoBrowser = False,
    dataset: DatasetFlags = DatasetFlags(),
    session: SessionParameter,
) -> None:
    """Look at every photo, keep or leave out single ones, and change crops, on a local page.

    The page is served to this machine alone until Ctrl-C. Every decision is saved at once in the
    folder's overrides file, which `inspect`, `prepare` and `run` obey.
    """
    flags = settings_flags(dataset)
    run = None if folder.exists() else run_by_id(str(folder))
    folder = folder_of(run) if run else folder
    settings = settings_of(run, flags) if run else load_settings(flags)
    reviewed = open_review(folder, settings, session.on_event)
    session.progress.settle()

    desk: Desk | None = None

    def make_app(tokens: Tokens) -> Starlette:
        nonlocal desk
        from lora_prep.web.review_app import Desk, review_app  # once it is known to be installed

        desk = Desk(reviewed, pictures)
        return review_app(desk, tokens)

    with tempfile.TemporaryDirectory(prefix="lora-prep-") as temporary:  # 0700
        pictures = reviewed.looked.cache or AnalysisCache(Path(temporary), "")
        show_page(
            make_app,
            session,
            port=port,
            no_browser=no_browser,
            what=f"Review {folder}",
            at_the_end="every decision is saved at once",
        )
    now = desk.review if desk else reviewed
    chosen = now.selection
    session.result = lambda: {
        "schema": 1,
        "folder": str(folder),
        "overrides": str(now.file),
        "decisions": len(now.overrides),
        "needed": chosen.needed,
        "usable": len(chosen.usable),
        "selected": len(chosen.kept),
    }
    usable = f"{len(chosen.usable)} of {chosen.needed} needed"
    session.facts([("usable", usable), ("overrides", now.file)])
