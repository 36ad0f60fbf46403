"""The service on a thread with a clock that can be moved, or as a process that can be killed."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from lora_prep.guard import Guard
from lora_prep.trainer_service import dataset
from lora_prep.trainer_service.app import create_app
from lora_prep.trainer_service.backend import Backend
from lora_prep.trainer_service.faults import FaultScript
from lora_prep.trainer_service.options import ServiceOptions
from lora_prep.trainer_service.rehearsal import rehearse
from lora_prep.trainer_service.state import open_state_folder

from .helpers import (
    KEY,
    OPTIONS,
    WAIT_S,
    Api,
    Clock,
    DataServer,
    RunningService,
    ServiceProcess,
    StartService,
    child_environment,
    run_in_thread,
)


@pytest.fixture(autouse=True, scope="package")
def impatient() -> Iterator[None]:
    """Do not wait for data servers that a test has closed on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "RETRY_WAITS_S", ())
        yield


quick = functools.partial(rehearse, rank=1, blocks=1, seconds=0)


@contextmanager
def running_service(
    folder: Path,
    *faults: str,
    backend: Backend = quick,
    guard: Guard | None = None,
    options: ServiceOptions = OPTIONS,
) -> Iterator[RunningService]:
    clock = Clock()
    script = FaultScript(faults)
    state = open_state_folder(folder)
    app = create_app(state, options, backend, clock=clock, faults=script, guard=guard)
    server, thread, base_url = run_in_thread(app)
    yield RunningService(Api(base_url), clock, state.path, script)
    server.should_exit = True
    thread.join(WAIT_S)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def module_data_server() -> Iterator[DataServer]:
    server = DataServer()
    yield server
    server.close()


@pytest.fixture
def data_server(module_data_server: DataServer) -> DataServer:
    module_data_server.content.clear()
    module_data_server.redirects.clear()
    module_data_server.requests.clear()
    return module_data_server


@pytest.fixture(scope="module")
def module_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("service") / "state") as service:
        yield service


@pytest.fixture(scope="module")
def parsing_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service that accepts or refuses, and trains nothing."""
    folder = tmp_path_factory.mktemp("parsing") / "state"
    with running_service(folder, backend=lambda job: None) as service:
        yield service.api


@pytest.fixture
def service(module_service: RunningService) -> Iterator[RunningService]:
    """A service that many tests share; each finds its clock at the right time."""
    module_service.clock.moved = timedelta()
    yield module_service
    module_service.clock.moved = timedelta()


@pytest.fixture
def api(service: RunningService) -> Api:
    return service.api


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    started: list[ServiceProcess] = []

    def start(*arguments: str, key: str | None = KEY) -> ServiceProcess:
        log = tmp_path / f"service-{len(started)}.log"
        environment = child_environment(**({} if key is None else {"WAVESPEED_API_KEY": key}))
        command = [sys.executable, "-m", "lora_prep.trainer_service", "--rank=1", "--blocks=1"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, "--state-folder", str(tmp_path / "state"), *arguments],
                stderr=stderr,
                env=environment,
            )
        started.append(ServiceProcess(process, log))
        return started[-1]

    yield start
    for service in started:
        service.process.kill()
        service.process.wait()
