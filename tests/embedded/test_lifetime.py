"""Who keeps the services alive, and when they end."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lora_prep.embedded import services_status, start_services, stop_services, use_services
from lora_prep.errors import TemporaryError
from lora_prep.events import Event
from tests.embedded.helpers import (
    NANIO,
    finish,
    first_line,
    get,
    kill,
    processes_of,
    put,
    start_client,
    status_of,
    wait_until,
)

pytestmark = pytest.mark.slow
SHORT = replace(NANIO, idle_s=1)


def test_they_end_when_unused_and_their_data_stays(home: Path) -> None:
    with use_services(home, SHORT) as services:
        put(services, "before", b"kept")
        time.sleep(1.5)
        assert status_of(home).clients == 1
    wait_until(lambda: not processes_of(home), timeout_s=6)
    assert services_status(home) is None
    assert not stop_services(home)
    with use_services(home, SHORT) as again:
        assert again == services
        assert get(again, "before") == b"kept"


def test_two_commands_at_once_share_one_supervisor(home: Path) -> None:
    clients = [start_client(home, SHORT) for _ in range(2)]
    assert len({first_line(client) for client in clients}) == 1
    assert status_of(home).clients == 2
    assert len(processes_of(home)) == 3

    # One is killed, the other gets Ctrl-C: neither lease may outlive its process.
    kill(clients[0].pid)
    wait_until(lambda: status_of(home).clients == 1)
    os.killpg(clients[1].pid, signal.SIGINT)
    for client in clients:
        finish(client)
    wait_until(lambda: not processes_of(home), timeout_s=6)
    assert list((home / "services" / "clients").iterdir()) == []


def test_stop_counts_for_those_inside_too(home: Path) -> None:
    with use_services(home, NANIO):
        began = time.monotonic()
        assert stop_services(home)
        assert time.monotonic() - began < 4
        time.sleep(1.5)  # longer than the watch takes to look
        assert processes_of(home) == []
        with use_services(home, NANIO):
            assert status_of(home).clients == 2


def test_started_services_stay_until_they_are_stopped(home: Path) -> None:
    start_services(home, SHORT)
    time.sleep(1.8)
    status = status_of(home)
    assert status.held
    assert status.ready
    kill(status.supervisor_pid)
    with use_services(home, SHORT):
        pass
    time.sleep(1.8)
    assert status_of(home).held
    assert stop_services(home)
    assert services_status(home) is None


def test_other_options_count_once_nobody_uses_the_old_ones(home: Path) -> None:
    events: list[Event] = []
    with use_services(home, NANIO):
        first = status_of(home).supervisor_pid
        with use_services(home, SHORT, events.append):
            assert status_of(home).supervisor_pid == first
    assert events == []
    with use_services(home, SHORT, events.append):
        assert status_of(home).supervisor_pid != first
    assert [(event.stage, event.kind) for event in events] == [
        ("services", "progress"),
        ("services", "done"),
    ]


def test_a_start_that_takes_too_long_says_what_and_where_to_look(home: Path) -> None:
    with (
        pytest.raises(TemporaryError, match=r"logs/\w+\.log"),
        use_services(home, replace(NANIO, start_timeout_s=0.1)),
    ):
        pass
    assert list((home / "services" / "clients").iterdir()) == []
