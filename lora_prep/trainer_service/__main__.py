"""`python -m lora_prep.trainer_service`: what `lora-prep serve` starts.

A key is never an argument: other users of a machine can read those. Keys come from --keys-file or
WAVESPEED_API_KEY; without either one is made once and kept in the state folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lora_prep.errors import LoraPrepError, MissingDependency
from lora_prep.trainer_service.faults import FAULTS

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130


def main() -> int:
    """Run the service; return the exit status."""
    parent = os.getppid()  # at once: a parent that dies during the imports must be missed too
    options = _parser().parse_args()
    os.umask(0o077)  # every file of the state folder is its owner's alone
    # WARNING for others: at INFO httpx writes each URL it fetches, with its signature.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("lora_prep").setLevel(logging.INFO)
    try:
        _serve(options, parent)
    except LoraPrepError as error:
        sys.stderr.write(f"{error.what}\n{error.why}\n{error.fix}\n[{error.code}]\n")
        return USAGE_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    return 0


def _serve(options: argparse.Namespace, parent: int) -> None:
    try:
        from lora_prep.trainer_service.server import Settings, end_with_parent, serve
    except ModuleNotFoundError as error:
        if error.name not in {"starlette", "uvicorn"}:
            raise
        raise MissingDependency(
            "The trainer service cannot start.",
            why=f"The Python package {error.name} is not installed.",
            fix='Run: pip install "lora_prep[local]"',
        ) from error
    if options.exit_with_parent:
        end_with_parent(parent)
    values = vars(options)
    serve(Settings(**{name: values[name] for name in values.keys() - {"exit_with_parent"}}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lora_prep.trainer_service",
        description="Serve the trainer's HTTP API on this machine, as a rehearsal.",
    )
    add = parser.add_argument
    add("--port", type=_number(int, 0, 65535), default=0, help="0 takes a free one")
    add("--host", default="127.0.0.1", help="an address; off loopback it takes a key")
    add("--state-folder", type=Path, required=True, help="tasks, outputs and the key live here")
    add("--rank", type=_number(int, 1, 128), default=4, help="rank of the LoRA")
    add("--blocks", type=_number(int, 1, 40), default=40, help="blocks of the LoRA")
    add("--seconds", type=_number(float, 0, 86400), default=2.0, help="how long a task takes")
    add("--keys-file", type=Path, help="one key a line; each sees its own tasks only")
    add("--public-url", default="", help="what links begin with, behind a proxy")
    at_once = _number(int, 1, 1000)
    add("--tasks-at-once", type=at_once, default=3, help="for each key; more wait")
    money = _number(float, 0, 10**9)
    add("--price-usd", type=money, default=0.0, help="of 1,000 steps; 0 is free")
    add("--balance-usd", type=money, default=0.0, help="of each key at the beginning")
    ahead = _number(float, 0, 10**9)
    add("--clock-offset-s", type=ahead, default=0.0, help="live this far ahead, to see the expiry")
    add(
        "--fault",
        dest="faults",
        action="append",
        default=[],
        metavar="NAME[@PLACE][:COUNT]",
        help=f"let something go wrong; repeatable: {', '.join(FAULTS)}",
    )
    add("--exit-with-parent", action="store_true", help="end when the starting process ends")
    return parser


def _number(kind: type[int | float], least: float, most: float) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not least <= value <= most:  # not a number (nan) fails this too
            raise argparse.ArgumentTypeError(f"must be between {least:g} and {most:g}")
        return value

    parse.__name__ = "number"  # argparse: "invalid number value: 'x'"
    return parse


if __name__ == "__main__":
    sys.exit(main())
