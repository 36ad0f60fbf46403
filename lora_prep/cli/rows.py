"""Runs as text: a table, a block for one, and what is redrawn while somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lora_prep.cli.session import Session, shown
from lora_prep.wording import span
from pipelines.looking import Row
from pipelines.runs import run_by_id

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LEGEND", "block", "screen", "table"]

Cell = Callable[[Row], str]
Show = Callable[[Sequence[Row]], None]

PERSON_WIDTH = 17  # what is left of 100 columns
LEGEND = "!  needs you    >  a process works on it    soon: within archive.soon_h"


def table(rows: Sequence[Row]) -> str:
    """Return an aligned table of at most 100 columns, with its heads."""
    from rich.cells import cell_len, set_cell_size

    columns: list[tuple[str, Cell]] = [
        ("", _mark),
        ("RUN", lambda row: row.run),
        ("PERSON", _person),
        ("STATUS", lambda row: row.status or "-"),
        ("PROVIDER", lambda row: row.provider_state or "-"),
        ("ELAPSED", lambda row: span(row.elapsed_s)),
        ("LEFT", _left),
        ("PRICE", _price),
    ]
    lines = [[head for head, _ in columns], *([cell(row) for _, cell in columns] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    widths[0] = 1
    return "\n".join(
        "  ".join(set_cell_size(text, width) for text, width in zip(line, widths, strict=True))
        .replace("  ", " ", 1)
        .rstrip()
        for line in lines
    )


def block(row: Row) -> str:
    """Return all that is known of one run, a line each."""
    hand = ", a process works on it" if row.held else ""
    at = f", {row.stage} comes next" if row.stage and not row.held else ""
    at = f", at {row.stage}" if row.stage and row.held else at
    facts = {
        "run": row.run,
        "person": shown(row.name or ""),
        "status": f"{row.status or '-'}{at}{hand}",
        "elapsed": span(row.elapsed_s),
        "provider": row.provider_state or "",
        "prediction": row.prediction_id or "",
        "kept": _kept(row),
        "price": "" if row.price_usd is None else _price(row),
        "last": _last(row, with_time=True),
    }
    lines = [f"{name:<10}  {value}" for name, value in facts.items() if value]
    if row.error:
        lines += [
            f"{'error':<10}  {shown(str(row.error['message']))}",
            f"{'':<10}  {shown(str(row.error['why']))} [{row.error['code']}]",
        ]
    if advice := row.advice:
        lines.append(f"{'to do':<10}  {shown(advice)}")
    return "\n".join(lines)


@contextmanager
def screen(session: Session) -> Iterator[Show]:
    """Yield what shows rows again and again: redrawn on a terminal, else a line per change."""
    if session.json:
        yield _nothing
        return
    if not sys.stdout.isatty():
        yield _lines(session)
        return
    from rich.console import Console
    from rich.live import Live

    session.progress.settle()
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        yield lambda rows: live.update(_live_table(rows), refresh=True)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _nothing(rows: Sequence[Row]) -> None:
    """Show nothing: --json prints one object, at the end."""


def _lines(session: Session) -> Show:
    """Return what says a line for each run that has changed, in its status or in what it does."""
    had: dict[str, tuple[str | None, ...]] = {}

    def show(rows: Sequence[Row]) -> None:
        for row in rows:
            said = row.last_event or {}
            now = (row.status, row.stage, said.get("stage"), said.get("message"))
            if had.get(row.run) != now:
                had[row.run] = now
                what = _last(row) or row.stage or ""
                name = shown(row.name or "-")
                session.answer(f"{row.run}  {name}  {row.status or '-'}  {what}".rstrip())
        for run in had.keys() - {row.run for row in rows}:
            del had[run]
            gone = run_by_id(run)
            session.answer(f"{run}  {gone.record().get('status') if gone else 'removed'}")

    return show


def _live_table(rows: Sequence[Row]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, expand=True)
    for head in ("", "RUN", "PERSON", "STATUS", "ELAPSED", "LEFT"):
        drawn.add_column(head, no_wrap=True)
    drawn.add_column("NOW", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        cells = (
            _mark(row), row.run, _person(row), row.status or "-", span(row.elapsed_s), _left(row),
            _last(row) or (row.stage or ""),
        )  # fmt: skip
        style = "yellow" if row.needs_attention else "dim" if row.ended else None
        drawn.add_row(*map(escape, cells), style=style)
    return drawn


def _mark(row: Row) -> str:
    return "!" if row.needs_attention else ">" if row.held else ""


def _person(row: Row) -> str:
    from rich.cells import cell_len, set_cell_size

    name = shown(row.name or "-")
    if cell_len(name) <= PERSON_WIDTH:
        return name
    return f"{set_cell_size(name, PERSON_WIDTH - 1).rstrip()}…"


def _left(row: Row) -> str:
    left_s = row.left_s
    if left_s is None:
        return "-"
    return f"{span(left_s) if left_s > 0 else 'expired'}{' !' if row.soon else ''}"


def _kept(row: Row) -> str:
    left_s = row.left_s
    if left_s is None:
        return ""
    if left_s <= 0:
        return "the provider may have forgotten the result"
    return f"the provider keeps the result for {span(left_s)} more{', soon over' * row.soon}"


def _price(row: Row) -> str:
    return "-" if row.price_usd is None else f"{row.price_usd:g} USD"


def _last(row: Row, *, with_time: bool = False) -> str:
    text = row.now
    if text and with_time and row.last_event:
        try:
            passed = datetime.now(UTC) - datetime.fromisoformat(row.last_event["time"])
            text += f" ({span(passed.total_seconds())} ago)"
        except (ValueError, TypeError):
            pass
    return shown(text)
