"""`python -m lora_prep.embedded`: the supervisor, spawned by a client that hands it its lock."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.locks import Lock
from lora_prep.embedded.supervisor import run
from lora_prep.embedded.values import EmbeddedOptions


def main() -> int:
    """Read the command line and be the supervisor."""
    parser = argparse.ArgumentParser(prog="python -m lora_prep.embedded", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--options", type=json.loads, required=True, help="EmbeddedOptions as JSON")
    parser.add_argument("--lock-descriptor", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = ServicesFolder(arguments.folder)
    lock = Lock(folder.supervisor_lock, arguments.lock_descriptor)
    os.set_inheritable(lock.descriptor, False)  # a child that outlived us would be the supervisor
    try:
        return run(folder, EmbeddedOptions(**arguments.options), lock)
    except Exception:
        logging.exception("the supervisor failed")
        raise


if __name__ == "__main__":
    sys.exit(main())
