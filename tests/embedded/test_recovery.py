"""kill -9 of everything that can be killed; the data and the addresses stay."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from lora_prep.embedded import services_status, stop_services, use_services
from tests.embedded.helpers import (
    NANIO,
    WEED,
    finish,
    first_line,
    get,
    kill,
    processes_of,
    put,
    start_client,
    status_of,
    trainer_is_up,
    wait_until,
    wiring_of,
)

pytestmark = pytest.mark.slow


def test_a_killed_server_comes_back_with_its_data_and_port(home: Path) -> None:
    with use_services(home, WEED) as services:
        put(services, "before", b"kept")
        before = status_of(home)
        kill(before.server_pids["store"])
        kill(before.server_pids["trainer"])
        wait_until(lambda: (now := services_status(home)) and now.ready and now != before)
        assert get(services, "before") == b"kept"
        assert trainer_is_up(services)
        after = status_of(home)
        assert after.supervisor_pid == before.supervisor_pid
        assert not set(after.server_pids.values()) & set(before.server_pids.values())


def test_after_a_killed_supervisor_the_next_use_puts_it_right(home: Path) -> None:
    with use_services(home, WEED) as services:
        put(services, "before", b"kept")
    before = processes_of(home)
    kill(status_of(home).supervisor_pid)
    with use_services(home, WEED) as again:
        assert again == services
        assert get(again, "before") == b"kept"
        assert len(processes_of(home)) == 3
        assert not set(processes_of(home)) & set(before)


def test_the_data_outlives_a_move_to_other_ports(home: Path) -> None:
    with use_services(home, WEED) as services:
        put(services, "before", b"kept")
    stop_services(home)
    ports = wiring_of(home).ports
    with socket.socket() as store, socket.socket() as inner:
        for foreign, port in ((store, ports.s3), (inner, ports.master)):
            foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            foreign.bind(("127.0.0.1", port))
            foreign.listen()
        with use_services(home, WEED) as moved:
            assert moved.store_endpoint_url != services.store_endpoint_url
            assert moved.trainer_url == services.trainer_url
            assert moved.store_secret_key == services.store_secret_key
            assert get(moved, "before") == b"kept"
            put(moved, "after", b"new")
    log = (home / "services" / "logs" / "supervisor.log").read_text()
    assert "ports of s3, master" in log


def test_a_supervisor_killed_before_it_could_say_anything_is_replaced(home: Path) -> None:
    client = start_client(home, NANIO)
    wait_until(lambda: processes_of(home))
    kill(processes_of(home)[0].pid)
    assert first_line(client) == status_of(home).store_endpoint_url
    assert len(processes_of(home)) == 3
    finish(client)


def test_a_supervisor_whose_folder_is_removed_ends(home: Path) -> None:
    with use_services(home, NANIO):
        pass
    shutil.rmtree(home / "services")
    wait_until(lambda: not processes_of(home))


def test_a_supervisor_killed_under_a_client_is_replaced(home: Path) -> None:
    with use_services(home, NANIO) as services:
        put(services, "before", b"kept")
        before = status_of(home)
        kill(before.supervisor_pid)
        wait_until(lambda: (now := services_status(home)) and now.ready and now.clients == 1)
        assert status_of(home).supervisor_pid != before.supervisor_pid
        assert get(services, "before") == b"kept"
        assert trainer_is_up(services)
        assert len(processes_of(home)) == 3
