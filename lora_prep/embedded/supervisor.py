"""The process that owns the embedded servers: starts them, keeps them alive, ends with its clients.

It is single-threaded and does one small round every 0.2 s. It is the supervisor because it holds
`supervisor.lock`, which the client that spawned it took and handed over: there is no moment at
which a supervisor starts without the lock.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from dataclasses import asdict
from typing import Any

from lora_prep.embedded.backends import store_server
from lora_prep.embedded.child import Child, GivenUpError, stop
from lora_prep.embedded.folder import ServicesFolder, write_private
from lora_prep.embedded.locks import Lock, live_leases
from lora_prep.embedded.trainer import trainer_server
from lora_prep.embedded.values import EmbeddedOptions
from lora_prep.embedded.wiring import Wiring, settle_wiring

__all__ = ["run"]

log = logging.getLogger(__name__)

_ROUND_S = 0.2


def run(folder: ServicesFolder, options: EmbeddedOptions, lock: Lock) -> int:
    """Run the services until nobody needs them; return the exit status."""
    os.umask(0o077)  # whatever the servers write is their owner's alone
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: ending.append(received))
    supervisor = Supervisor(folder, options, lock, settle_wiring(folder))
    failure: str | None = f"The supervisor failed; its log is {folder.log('supervisor')}."
    try:
        while not ending and supervisor.round():
            time.sleep(_ROUND_S)
        failure = None
    except GivenUpError as error:
        failure = str(error)
    finally:
        supervisor.end(failure)
    return 1 if failure else 0


class Supervisor:
    """Both children and the state that clients read."""

    def __init__(
        self, folder: ServicesFolder, options: EmbeddedOptions, lock: Lock, wiring: Wiring
    ) -> None:
        self._folder, self._options, self._lock = folder, options, lock
        servers = (
            store_server(folder, wiring, options.store_server),
            trainer_server(folder, wiring, options),
        )
        self._children = tuple(Child(server, folder) for server in servers)
        self._state: dict[str, Any] = {}
        self._used_at = time.monotonic()
        self._gate: Lock | None = None

    def round(self) -> bool:
        """Do what is due; False when it is time to end."""
        if not self._lock.is_still_there():
            log.info("the folder was removed or replaced: ending")
            return False
        for child in self._children:
            child.look_after()
        self._tell()
        if live_leases(self._folder.clients) or self._folder.held.exists():
            self._used_at = time.monotonic()
        return time.monotonic() - self._used_at < self._options.idle_s or not self._may_end()

    def end(self, failure: str | None) -> None:
        """Stop the children and leave; nothing of ours is left behind."""
        log.info("ending (%s)", failure or "asked to, or unused")
        if self._lock.is_still_there():
            self._folder.state.unlink(missing_ok=True)  # from here on no client counts on us
        stop(self._children)
        if failure and self._lock.is_still_there():
            try:
                write_private(self._folder.state, json.dumps({"failure": failure}))
            except OSError as error:  # a full disk may be the very failure
                log.warning("the failure could not be written down: %s", error)
        # In this order: whoever waits at the gate must find the lock free.
        self._lock.release()
        if self._gate:
            self._gate.release()

    def _may_end(self) -> bool:
        # With the gate in hand no client can come in between the last look and the end.
        self._gate = Lock.try_take(self._folder.gate)
        if self._gate is None:
            return False
        if live_leases(self._folder.clients) == 0 and not self._folder.held.exists():
            return True
        self._gate.release()
        self._gate = None
        return False

    def _tell(self) -> None:
        state = {
            "pid": os.getpid(),
            "servers": {child.name: child.pid for child in self._children},
            "waiting_for": [child.name for child in self._children if not child.answers],
            "options": asdict(self._options),
        }
        if state != self._state:
            write_private(self._folder.state, json.dumps(state))
            self._state = state
