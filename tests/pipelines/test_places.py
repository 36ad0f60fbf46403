"""Where the database may lie, and what a machine is called."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pipelines.places
from lora_prep.errors import ConfigurationError
from lora_prep.settings import home_folder, load_settings
from pipelines.places import (
    _network_of,
    database_of,
    is_shared,
    machine_of,
    worker_is_here,
    worker_lock,
)

MOUNTS = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:27 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2
32 31 259:3 / /home/ada/disk rw,relatime - ext4 /dev/sdb1 rw
33 22 0:28 / /mnt/my\\040share rw,relatime - cifs //nas/share rw
34 22 0:29 / /mnt/sshfs rw,nosuid shared:3 master:4 - fuse.sshfs ben@host:/ rw
35 22 0:30 / /over rw - nfs server:/old rw
36 22 0:31 / /over rw - tmpfs tmpfs rw
"""
POSTGRES = "postgresql://host/name"


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        ("/var/lib", None),
        ("/home", "nfs4"),
        ("/home/ada/.lora_prep", "nfs4"),
        ("/home/ada/disk/lora_prep", None),  # a disk below the share
        ("/homely", None),  # no part of /home
        ("/mnt/my share/x", "cifs"),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/over/x", None),  # the last one that was mounted there
    ],
)
def test_what_a_folder_lies_on(mounts: Path, folder: str, network: str | None) -> None:
    assert _network_of(Path(folder), mounts) == network


def test_where_nothing_is_told_nothing_is_refused(tmp_path: Path) -> None:
    assert _network_of(tmp_path, tmp_path / "none") is None
    assert _network_of(tmp_path) is None


def test_a_file_on_a_network_share_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipelines.places, "_network_of", lambda folder: "nfs4")
    file = {"engine": {"database_url": f"sqlite:///{tmp_path}/x.sqlite"}}
    for settings in (load_settings({}), load_settings(file)):
        with pytest.raises(ConfigurationError, match="may not lie on a network share"):
            database_of(settings)
    url = load_settings({"engine": {"database_url": POSTGRES}})
    assert database_of(url) == POSTGRES


def test_a_home_that_leads_to_a_share_is_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mounts: Path
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "link").symlink_to(share)
    mounts.write_text(f"22 1 8:1 / / rw - ext4 a rw\n31 22 0:27 / {share} rw - nfs s:/ rw\n")
    assert _network_of(tmp_path / "link" / "home", mounts) == "nfs"


@pytest.mark.parametrize(
    ("url", "shared"),
    [(None, False), ("sqlite:////tmp/x.sqlite", False), (POSTGRES, True)],
)
def test_what_other_machines_use_too(url: str | None, shared: bool) -> None:
    assert is_shared(load_settings({"engine": {"database_url": url}})) is shared


# ── its name ──────────────────────────────────────────────────────────────────────────────────


def test_a_machine_keeps_its_name() -> None:
    settings = load_settings({})
    name = machine_of(settings)
    assert machine_of(settings) == name
    assert os.uname().nodename not in name
    assert [path.name for path in home_folder().glob("machine*")] == ["machine"]
    (home_folder() / "machine").unlink()
    assert machine_of(settings) != name
    assert machine_of(load_settings({"engine": {"executor_id": "gpu-1"}})) == "gpu-1"


def test_many_that_name_it_at_once_agree() -> None:
    settings = load_settings({})
    with ThreadPoolExecutor(16) as pool:
        names = set(pool.map(lambda _: machine_of(settings), range(64)))
    assert len(names) == 1
    assert [path.name for path in home_folder().glob("machine*")] == ["machine"]


def test_a_file_system_without_links_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    settings = load_settings({})
    assert machine_of(settings) == machine_of(settings)
    assert [path.name for path in home_folder().glob("machine*")] == ["machine"]


# ── its worker ────────────────────────────────────────────────────────────────────────────────


def test_one_worker_a_home() -> None:
    home_folder().mkdir(parents=True, exist_ok=True)
    assert not worker_is_here()
    lock = worker_lock()
    assert lock is not None
    assert worker_is_here()
    assert worker_lock() is None
    lock.release()
    assert not worker_is_here()
