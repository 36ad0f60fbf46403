"""The services as they stand: what answers, to whom, and what the machine's other users can see."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lora_prep.embedded import Services, stop_services, use_services
from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.seaweedfs import _sockets
from tests.embedded.helpers import (
    NANIO,
    WEED,
    get,
    processes_of,
    put,
    s3_client,
    status_of,
    trainer_is_up,
    unsigned_status,
    wiring_of,
)

pytestmark = pytest.mark.slow
USERS_SECRET = "a-secret-of-the-user"


@pytest.fixture(scope="module", params=["seaweedfs", "nanio"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Services]]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", USERS_SECRET)
        patch.setenv("WAVESPEED_API_KEY", USERS_SECRET)
        with use_services(home, WEED if request.param == "seaweedfs" else NANIO) as services:
            put(services, "photos/1.jpg", b"a face")
            yield home, services
    sockets = _sockets(wiring_of(home))
    stop_services(home)
    assert processes_of(home) == []
    assert not any(path.exists() for path in sockets)


def test_both_answer(running: tuple[Path, Services]) -> None:
    _, services = running
    assert get(services, "photos/1.jpg") == b"a face"
    assert trainer_is_up(services)


def test_nothing_listens_beyond_loopback(running: tuple[Path, Services]) -> None:
    home, _ = running
    supervisor = psutil.Process(status_of(home).supervisor_pid)
    listening = {
        connection.laddr
        for process in [supervisor, *supervisor.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = wiring_of(home).ports
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {ports.s3, ports.trainer} <= {address.port for address in listening}
    weed = {ports.master, ports.volume, ports.filer, ports.admin, ports.s3}
    expected = {ports.s3, ports.trainer} | weed | {port + 10_000 for port in weed}
    assert {address.port for address in listening} <= expected


def test_unsigned_requests_get_nothing(running: tuple[Path, Services]) -> None:
    home, _ = running
    ports = wiring_of(home).ports
    assert unsigned_status(ports.s3, "/lora-prep/photos/1.jpg") == 403
    if "weed" in processes_names(home):
        # The inner port that hands every object to anybody by default; see test_strangers.
        assert unsigned_status(ports.filer, "/buckets/lora-prep/photos/1.jpg") == 404
        assert unsigned_status(ports.filer, "/") == 404


def test_files_are_their_owners_alone(running: tuple[Path, Services]) -> None:
    home, _ = running
    folder = ServicesFolder(home / "services")
    for path in [folder.path, *folder.path.rglob("*")]:
        # SeaweedFS insists on 0644 for some of its files; they lie in a folder that is closed.
        if folder.store not in path.parent.parents:
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path} is {mode:o}"


def test_secrets_are_in_no_command_line_and_no_log(running: tuple[Path, Services]) -> None:
    home, services = running
    url = s3_client(services).generate_presigned_url(
        "get_object", Params={"Bucket": services.store_bucket, "Key": "photos/1.jpg"}
    )
    assert unsigned_status(wiring_of(home).ports.s3, url.partition("lora-prep")[2]) in (200, 403)
    wiring = wiring_of(home)
    secrets = [wiring.secret_key, wiring.trainer_key, *wiring.jwt_keys, "X-Amz-Signature"]
    logs = "".join(path.read_text() for path in ServicesFolder(home / "services").logs.iterdir())
    argv = " ".join(" ".join(process.cmdline()) for process in processes_of(home))
    assert not [secret for secret in secrets if secret in logs or secret in argv]
    assert services.store_secret_key not in repr(services)
    assert services.trainer_key not in repr(services)


def test_no_log_file_is_left_outside_the_home(running: tuple[Path, Services]) -> None:
    home, _ = running
    opened = [file.path for process in processes_of(home) for file in process.open_files()]
    logs = [path for path in opened if ".log" in path]
    assert logs
    assert [path for path in logs if not path.startswith(str(home))] == []


def test_the_users_own_keys_are_not_handed_on(running: tuple[Path, Services]) -> None:
    home, _ = running
    environments = [process.environ() for process in processes_of(home)]
    assert len(environments) == 3
    assert not [one for one in environments if USERS_SECRET in one.values()]


def test_the_terminals_signals_do_not_reach_them(running: tuple[Path, Services]) -> None:
    home, _ = running
    assert {os.getsid(process.pid) for process in processes_of(home)} == {
        status_of(home).supervisor_pid
    }


def processes_names(home: Path) -> set[str]:
    return {Path(process.cmdline()[0]).name for process in processes_of(home)}
