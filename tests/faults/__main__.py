"""`python -m tests.faults short|long|SEED...`: run the campaign and print its figures by fault."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign import Ended, campaign
from tests.faults.scenario import LONG, SHORT

FEW = 20  # runs that are told one by one
AT_ONCE = 2 * (os.cpu_count() or 1)


def main(words: Sequence[str]) -> int:
    """Run what is asked for; 1 when something was seen that must never be."""
    seeds = {"short": SHORT, "long": LONG}.get(words[0]) or [int(word) for word in words]
    began, ended = time.monotonic(), []
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    for one in campaign(seeds, folder, at_once=AT_ONCE):
        ended.append(one)
        if one.wrong:
            place = folder / f"{one.scenario.seed:06}"
            _say(f"WRONG  {one.scenario}", f"       {one.wrong}", f"       see {place}")
        elif len(seeds) <= FEW:
            _say(f"right  {one.scenario}; {one.seconds:.1f} s")
    _say(table(ended), f"{len(ended)} runs in {time.monotonic() - began:.0f} s")
    wrong = any(one.wrong for one in ended)
    if not wrong:
        shutil.rmtree(folder)
    return int(wrong)


def table(ended: Sequence[Ended]) -> str:
    """Return the figures by fault; a run with two faults counts for both."""
    columns = (
        "runs",
        "rivals",
        "lives",
        "killed",
        "resolved",
        "accepted",
        "refused",
        "empty",
        "wrong",
    )
    head = f"{'fault':<20}" + "".join(f"{name:>10}" for name in columns)
    lines = [head, "-" * len(head)]
    names = {name: None for one in ended for name in (one.scenario.names or ("(none)",))}
    for name in sorted(names):
        with_it = [one for one in ended if name in (one.scenario.names or ("(none)",))]
        lines += [_row(name, with_it)]
    lines += ["-" * len(head), _row("all", ended)]
    statuses = Counter(status for one in ended for status in one.kills)
    killed = ", ".join(f"{status} {count}" for status, count in statuses.most_common())
    races = Counter(one.scenario.race for one in ended)
    lines.append(f"killed while the record said: {killed}")
    lines.append(f"races: {', '.join(f'{race} {count}' for race, count in races.most_common())}")
    lines.append(f"from the photos on: {sum(one.scenario.cold for one in ended)}")
    return "\n".join(lines)


def _row(name: str, ended: Sequence[Ended]) -> str:
    figures = (
        len(ended),
        sum(len(one.scenario.kills) > 1 for one in ended),
        sum(one.lives for one in ended),
        sum(len(one.kills) for one in ended),
        sum(one.resolved for one in ended),
        sum(one.accepted for one in ended),
        sum(one.scenario.refused for one in ended),
        sum(one.scenario.without_result for one in ended),
        sum(bool(one.wrong) for one in ended),
    )
    return f"{name:<20}" + "".join(f"{figure:>10}" for figure in figures)


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["short"]))
