"""serve, store up, store status, store down: the servers on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lora_prep.cli.session import SessionParameter
from lora_prep.embedded import services_status, start_services, stop_services
from lora_prep.errors import ConfigurationError
from lora_prep.settings import home_folder, load_settings
from pipelines.backends import embedded_options

MAX_PORT = 65535

__all__ = ["serve", "store_down", "store_status", "store_up"]


def serve(
    *,
    port: Annotated[int, Parameter(help="Port; 0 takes a free one.")],
    host: Annotated[
        str, Parameter(help="Address; off loopback it takes a key, and fetches from public hosts.")
    ] = "127.0.0.1",
    rank: Annotated[int | None, Parameter(help="Rank of the LoRAs it returns.")] = None,
    keys_file: Annotated[
        Path | None, Parameter(help="One key a line; each sees its own tasks only.")
    ] = None,
    public_url: Annotated[
        str, Parameter(help="What its links begin with, behind a proxy.", show_default=False)
    ] = "",
    tasks_at_once: Annotated[int, Parameter(help="Tasks of one key at a time; more wait.")] = 3,
    price_usd: Annotated[float, Parameter(help="Price of 1,000 steps; 0 is free.")] = 0.0,
    balance_usd: Annotated[float, Parameter(help="What each key has to spend.")] = 0.0,
    clock_offset_s: Annotated[
        float, Parameter(help="Live this far ahead of the time, to see results expire.")
    ] = 0.0,
    fault: Annotated[
        tuple[str, ...],
        Parameter(
            help="Let something go wrong, as NAME[@PLACE][:COUNT]; repeatable. "
            "A name that is none lists them all.",
            show_default=False,
        ),
    ] = (),
) -> None:
    """Run the trainer service: the trainer's HTTP API on this machine, in rehearsal mode.

    It takes the key that WAVESPEED_API_KEY holds, or those of the keys file; without either one it
    makes a key and says in which file it lies. It runs until it is stopped. What it is, in OpenAPI,
    stands at /openapi.json.
    """
    if not 0 <= port <= MAX_PORT:
        raise ConfigurationError(
            f"The trainer service cannot listen on port {port}.",
            why=f"A port is a number up to {MAX_PORT}.",
            fix="Use: lora-prep serve --port 8000",
        )
    embedded = load_settings().embedded
    state = home_folder() / "trainer_service"
    values = {
        "--host": host,
        "--port": port,
        "--state-folder": state,
        "--rank": rank or embedded.rehearsal_rank,
        "--blocks": embedded.rehearsal_blocks,
        "--seconds": embedded.rehearsal_s,
        "--public-url": public_url,
        "--tasks-at-once": tasks_at_once,
        "--price-usd": price_usd,
        "--balance-usd": balance_usd,
        "--clock-offset-s": clock_offset_s,
    }
    command = [sys.executable, "-m", "lora_prep.trainer_service"]
    command += [f"{name}={value}" for name, value in values.items()]
    command += [f"--keys-file={keys_file}"] if keys_file else []
    command += [f"--fault={spelling}" for spelling in fault]
    os.execv(sys.executable, command)  # noqa: S606  our own program takes this one's place


def store_up(*, session: SessionParameter) -> None:
    """Start the embedded S3 server, keep it until `store down`, and print how to reach it.

    The lines set what S3 tools read: eval "$(lora-prep store up)".
    """
    services = start_services(home_folder(), embedded_options(load_settings()))
    session.result = lambda: {
        "schema": 1,
        "endpoint_url": services.store_endpoint_url,
        "bucket": services.store_bucket,
        "region": services.store_region,
        "access_key_id": services.store_access_key,
        "secret_access_key": services.store_secret_key,
    }
    session.answer(
        f"export AWS_ENDPOINT_URL_S3={services.store_endpoint_url}\n"
        f"export AWS_DEFAULT_REGION={services.store_region}\n"
        f"export AWS_ACCESS_KEY_ID={services.store_access_key}\n"
        f"export AWS_SECRET_ACCESS_KEY={services.store_secret_key}"
    )
    session.say(f"The bucket is s3://{services.store_bucket}; stop with: lora-prep store down")


def store_status(*, session: SessionParameter) -> None:
    """Say whether the embedded services run, where, and for how many commands."""
    status = services_status(home_folder())
    session.result = lambda: {
        "schema": 1,
        "running": status is not None,
        "endpoint_url": status and status.store_endpoint_url,
        "trainer_url": status and status.trainer_url,
        "clients": status.clients if status else 0,
    }
    if status is None:
        session.answer("not running")
    else:
        session.answer(
            f"store    {status.store_endpoint_url}\n"
            f"trainer  {status.trainer_url}\n"
            f"clients  {status.clients}"
        )


def store_down(*, session: SessionParameter) -> None:
    """Stop the embedded services at once; what they hold stays for the next start."""
    stopped = stop_services(home_folder())
    session.result = lambda: {"schema": 1, "stopped": stopped}
    session.answer("stopped" if stopped else "nothing was running")
