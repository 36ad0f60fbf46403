"""The trainer service (`lora_prep.trainer_service`) as a child: started, never imported."""

from __future__ import annotations

import sys

from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.servers import Server
from lora_prep.embedded.values import EmbeddedOptions
from lora_prep.embedded.wiring import Wiring

__all__ = ["TRAINER_MODULE", "trainer_server"]

TRAINER_MODULE = "lora_prep.trainer_service"


def trainer_server(folder: ServicesFolder, wiring: Wiring, options: EmbeddedOptions) -> Server:
    """Return how to run the trainer service in rehearsal mode; its tasks outlive it on disk."""
    return Server(
        name="trainer",
        command=(
            *(sys.executable, "-m", TRAINER_MODULE),
            *("--port", str(wiring.ports.trainer)),
            *("--state-folder", str(folder.trainer)),
            *("--rank", str(options.rehearsal_rank)),
            *("--blocks", str(options.rehearsal_blocks)),
            *("--seconds", f"{options.rehearsal_s:g}"),
            "--exit-with-parent",
        ),
        environment={"WAVESPEED_API_KEY": wiring.trainer_key},
        port=wiring.ports.trainer,
        ready_path="/_service/ready",
        ready_status=200,
        fetches=True,
    )
