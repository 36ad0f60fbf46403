"""Starting, sharing, using and stopping the embedded services, from the side that uses them.

The gate is held for moments by whoever joins, spawns or stops; the wait for the servers happens
outside it, so that many commands can wait together.
"""

from __future__ import annotations

import http.client
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from lora_prep.embedded.backends import check_installed
from lora_prep.embedded.folder import ServicesFolder, write_private
from lora_prep.embedded.locks import Lock, is_held, live_leases, take_lease
from lora_prep.embedded.processes import SUPERVISOR_MODULE, child_environment, end, find_ours
from lora_prep.embedded.servers import PROBE_TIMEOUT_S
from lora_prep.embedded.values import EmbeddedOptions, Services, ServicesStatus
from lora_prep.embedded.wiring import LOOPBACK, Wiring, load_wiring
from lora_prep.errors import LoraPrepError, TemporaryError
from lora_prep.events import Event, Listener, ignore

__all__ = ["services_status", "start_services", "stop_services", "use_services"]

log = logging.getLogger(__name__)

_POLL_S = 0.05
_WATCH_S = 1.0  # between two looks at whether the supervisor lives
_GATE_S = 30.0  # longest wait for others at the gate; stopping takes them 8 s at worst


@contextmanager
def use_services(
    home: Path, options: EmbeddedOptions, on_event: Listener = ignore
) -> Iterator[Services]:
    """Have the embedded services run for as long as the block does.

    They are shared with every other command of the same home, and started again if the supervisor
    is killed meanwhile. A watching thread may call `on_event` too.

    Raises:
        MissingDependency: the extra `local` is not installed.
        TemporaryError: they did not start in time.

    Example:
        >>> with use_services(home_folder(), EmbeddedOptions()) as services:  # doctest: +SKIP
        ...     print(services.store_endpoint_url)
    """
    check_installed(options.store_server)
    folder = ServicesFolder.make(home)
    with Lock.take(folder.gate, _GATE_S):
        _end_if_unlike(folder, options)
        lease = take_lease(folder.clients)
    try:
        services = _bring_up(folder, options, on_event)
        with _watched(folder, options, on_event):
            yield services
    finally:
        lease.path.unlink(missing_ok=True)
        lease.release()


def start_services(home: Path, options: EmbeddedOptions, on_event: Listener = ignore) -> Services:
    """Start the services, to stay until `stop_services`, and return once they answer.

    Raises:
        MissingDependency: the extra `local` is not installed.
        TemporaryError: they did not start in time.
    """
    check_installed(options.store_server)
    folder = ServicesFolder.make(home)
    with Lock.take(folder.gate, _GATE_S):
        _end_if_unlike(folder, options)
        folder.held.touch(mode=0o600)
    return _bring_up(folder, options, on_event)


def stop_services(home: Path) -> bool:
    """Stop everything at once, even if a command uses it; return whether anything ran."""
    if not (home / "services").is_dir():
        return False
    folder = ServicesFolder.make(home)
    with Lock.take(folder.gate, _GATE_S):
        folder.held.unlink(missing_ok=True)
        ran = _end_all(folder)
        try:
            write_private(folder.state, json.dumps({"stopped": True}))  # those who watch respect it
        except OSError as error:  # a full disk; they may start it again, but it was stopped
            log.warning("a command that still runs may start the services again: %s", error)
    return ran


def services_status(home: Path) -> ServicesStatus | None:
    """Return what runs now; None if nothing does. Starts nothing."""
    folder = ServicesFolder(home.resolve() / "services")
    if not is_held(folder.supervisor_lock):
        return None
    state, wiring = folder.read_state(), load_wiring(folder)
    if wiring is None or "pid" not in state:  # it has only just been spawned
        return None
    return ServicesStatus(
        ready=not state["waiting_for"],
        held=folder.held.exists(),
        clients=live_leases(folder.clients),
        store_endpoint_url=wiring.services().store_endpoint_url,
        trainer_url=wiring.services().trainer_url,
        supervisor_pid=state["pid"],
        server_pids={name: pid for name, pid in state["servers"].items() if pid},
    )


def _end_if_unlike(folder: ServicesFolder, options: EmbeddedOptions) -> None:
    """End a supervisor that runs with other options, if nobody uses it (gate held)."""
    running = folder.read_state().get("options", asdict(options))
    used = folder.held.exists() or live_leases(folder.clients)
    if running != asdict(options) and is_held(folder.supervisor_lock) and not used:
        _end_all(folder)


def _end_all(folder: ServicesFolder) -> bool:
    """End every process of this home (gate held); return whether there was one."""
    # The supervisor first: it stops its children itself, and would start a missing one again.
    supervisors = [one for one in find_ours(folder) if SUPERVISOR_MODULE in one.info["cmdline"]]
    end(supervisors)
    left = find_ours(folder)
    end(left)
    return bool(supervisors or left)


def _bring_up(folder: ServicesFolder, options: EmbeddedOptions, on_event: Listener) -> Services:
    """Return the services once both answer, spawning a supervisor as often as it takes."""
    deadline, started = time.monotonic() + options.start_timeout_s, False
    while time.monotonic() < deadline:
        spawned = _ensure_supervisor(folder, options, on_event, even_if_stopped=True)
        started = started or spawned is not None
        wiring = _wait_until_ready(folder, deadline)
        if wiring and _bucket_answers(wiring, deadline):
            if started:
                on_event(Event("services", "the embedded store and trainer service run", "done"))
            return wiring.services()
        if spawned and (spawned.returncode or 0) > 0:  # below zero it was killed: try again
            raise _not_started(f"The supervisor failed; its log is {folder.log('supervisor')}.")
    waiting = folder.read_state().get("waiting_for", ["supervisor"]) or ["store"]
    raise TemporaryError(
        f"The embedded services did not answer within {options.start_timeout_s:g} s.",
        why=f"Still waiting for: {', '.join(waiting)}.",
        fix=f"Read {folder.log(waiting[0])}, then try again.",
    )


def _ensure_supervisor(
    folder: ServicesFolder, options: EmbeddedOptions, on_event: Listener, *, even_if_stopped: bool
) -> subprocess.Popen[bytes] | None:
    """Spawn a supervisor if there is none; return it, None if there was one."""
    with Lock.take(folder.gate, _GATE_S):
        stopped = folder.read_state().get("stopped", False)
        if not is_held(folder.supervisor_lock) and (even_if_stopped or not stopped):
            on_event(Event("services", "starting the embedded store and trainer service"))
            return _spawn(folder, options)
    return None


def _spawn(folder: ServicesFolder, options: EmbeddedOptions) -> subprocess.Popen[bytes]:
    """Start a supervisor where there is none (gate held)."""
    end(find_ours(folder))  # what a killed supervisor left
    folder.state.unlink(missing_ok=True)  # before the lock is taken: whoever sees it held ...
    # ... sees no old state. Handed over, so that it is held without a gap even if we die now.
    lock = Lock.take(folder.supervisor_lock, _GATE_S)
    command = [sys.executable, "-m", SUPERVISOR_MODULE, "--folder", str(folder.path)]
    command += ["--options", json.dumps(asdict(options))]
    try:
        with folder.open_log("supervisor") as output:
            process = subprocess.Popen(
                [*command, "--lock-descriptor", str(lock.descriptor)],
                env=child_environment(with_proxies=True),
                cwd=folder.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock.descriptor,),
                start_new_session=True,  # Ctrl-C in our terminal is not meant for it
            )
    finally:
        lock.hand_over()
    # Without this it would stay behind as a zombie for as long as this process lives.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _wait_until_ready(folder: ServicesFolder, deadline: float) -> Wiring | None:
    """Wait until both servers answer; None if the supervisor is gone or the time is over.

    Raises:
        TemporaryError: the supervisor gave up.
    """
    while time.monotonic() < deadline:
        # The lock first, the state second: see `_spawn`.
        running, state = is_held(folder.supervisor_lock), folder.read_state()
        if failure := state.get("failure"):
            raise _not_started(failure)
        if not running:
            return None
        if state.get("waiting_for") == []:
            return load_wiring(folder)
        time.sleep(_POLL_S)
    return None


def _not_started(why: str) -> TemporaryError:
    return TemporaryError(
        "The embedded services could not be started.", why=why, fix="Read the log, then try again."
    )


def _bucket_answers(wiring: Wiring, deadline: float) -> bool:
    """Make sure, with a signed request, that the keys open the bucket; make it if need be."""
    while time.monotonic() < deadline:
        status = _signed_status("HEAD", wiring)
        if status == http.client.OK:
            return True
        if status == http.client.NOT_FOUND:
            _signed_status("PUT", wiring)
        elif status is None:
            return False  # it died after it was ready
        time.sleep(_POLL_S)
    return False


def _signed_status(method: str, wiring: Wiring) -> int | None:
    """Send a request for the bucket; return the answer's status, None without an answer."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    services = wiring.services()
    path = f"/{services.store_bucket}"
    request = AWSRequest(method, services.store_endpoint_url + path)
    keys = Credentials(services.store_access_key, services.store_secret_key)
    S3SigV4Auth(keys, "s3", services.store_region).add_auth(request)
    connection = http.client.HTTPConnection(LOOPBACK, wiring.ports.s3, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request(method, path, headers=dict(request.headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def _watched(
    folder: ServicesFolder, options: EmbeddedOptions, on_event: Listener
) -> Iterator[None]:
    """Start the supervisor again if it is killed during the block."""
    leaving = threading.Event()

    def watch() -> None:
        while not leaving.wait(_WATCH_S):
            if is_held(folder.supervisor_lock):
                continue
            try:  # `stop_services` counts for those who are inside as well
                _ensure_supervisor(folder, options, on_event, even_if_stopped=False)
            except (LoraPrepError, OSError) as error:
                log.warning("the embedded services cannot be started again: %s", error)

    watcher = threading.Thread(target=watch, name="embedded-services", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        leaving.set()
        watcher.join(_WATCH_S)
