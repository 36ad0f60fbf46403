"""`python -m lora_prep.trainer_service`: what `lora-prep serve` starts.

The key is never an argument: other users of a machine can read those. It comes from
WAVESPEED_API_KEY, or is made once and kept in the state folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lora_prep.errors import LoraPrepError, MissingDependency

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
        from lora_prep.trainer_service.server import end_with_parent, serve
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
    serve(
        options.state_folder,
        host=options.host,
        port=options.port,
        rank=options.rank,
        blocks=options.blocks,
        seconds=options.seconds,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lora_prep.trainer_service",
        description="Serve the trainer's HTTP API on this machine, as a rehearsal.",
    )
    add = parser.add_argument
    add("--port", type=_number(int, 0, 65535), default=0, help="0 takes a free one")
    add("--host", default="127.0.0.1", help="a loopback address")
    add("--state-folder", type=Path, required=True, help="tasks, outputs and the key live here")
    add("--rank", type=_number(int, 1, 128), default=4, help="rank of the LoRA")
    add("--blocks", type=_number(int, 1, 40), default=40, help="blocks of the LoRA")
    add("--seconds", type=_number(float, 0, 86400), default=2.0, help="how long a task takes")
    add("--exit-with-parent", action="store_true", help="end when the starting process ends")
    return parser


def _number(kind: type[int | float], least: int, most: int) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not least <= value <= most:  # not a number (nan) fails this too
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}")
        return value

    parse.__name__ = "number"  # argparse: "invalid number value: 'x'"
    return parse


if __name__ == "__main__":
    sys.exit(main())
