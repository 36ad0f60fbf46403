"""Our processes: what they inherit, how to find those that were left behind, how to end them."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from types import ModuleType
from typing import TYPE_CHECKING

from lora_prep.embedded import nanio, seaweedfs
from lora_prep.embedded.backends import not_installed
from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.trainer import TRAINER_MODULE
from lora_prep.embedded.wiring import LOOPBACK

if TYPE_CHECKING:
    import psutil

__all__ = ["SUPERVISOR_MODULE", "child_environment", "end", "find_ours"]

SUPERVISOR_MODULE = "lora_prep.embedded"
_GRACE_S = 5.0  # SeaweedFS takes 1.3 s to end by itself; the supervisor waits 3 s for its children
_POLL_S = 0.02

# Only these are handed on. The user's keys, and AWS_* above all (SeaweedFS would let that pair in
# as an administrator), have no business in a server's environment.
_INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHON*"),
    *("LD_LIBRARY_PATH", "DYLD_*", "SSL_CERT_*", "COVERAGE_*"),
)
# For the trainer, which fetches from the user's own bucket when only the trainer is embedded, and
# for the supervisor, which hands them on. They may hold a password, and the store asks nobody.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def child_environment(*, with_proxies: bool = False) -> dict[str, str]:
    """Return the part of this process's environment that our servers may see."""
    inherited = _INHERITED + _PROXIES if with_proxies else _INHERITED
    kept = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name.upper(), pattern) for pattern in inherited)
    }
    if "PYTHONPATH" in kept:  # they run in another folder
        parts = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in parts)  # noqa: PTH100
    # The servers talk to each other; a proxy must neither break that nor see presigned URLs.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = f"{direct},{LOOPBACK}" if direct else LOOPBACK
    return kept | {"NO_PROXY": direct, "no_proxy": direct}


def find_ours(folder: ServicesFolder) -> list[psutil.Process]:
    """Find every process of this home by its command line, recorded or not.

    A record can be missing (its writer was killed before writing) or wrong (the pid was used
    again); a command line that names our own folder is neither.
    """
    psutil = _psutil()
    return [
        process
        for process in psutil.process_iter(["cmdline", "uids"])
        if _is_ours(process, folder) and _lives(process)
    ]


def end(processes: Sequence[psutil.Process]) -> None:
    """Ask the processes to end, and kill those that have not after a while."""
    for action in ("terminate", "kill"):
        for process in filter(_lives, processes):
            with suppress(_psutil().NoSuchProcess):
                getattr(process, action)()
        deadline = time.monotonic() + _GRACE_S
        while any(map(_lives, processes)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _lives(process: psutil.Process) -> bool:
    # A zombie has ended. In a container nobody may ever reap it, so psutil's own waiting would
    # wait in vain.
    psutil = _psutil()
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_ours(process: psutil.Process, folder: ServicesFolder) -> bool:
    command, uids = process.info["cmdline"], process.info["uids"]
    if not command or not uids or uids.real != os.getuid():
        return False
    if os.path.basename(command[0]) == "weed":  # noqa: PTH119
        return str(seaweedfs.data_folder(folder)) in command
    folder_of_module = {
        SUPERVISOR_MODULE: folder.path,
        TRAINER_MODULE: folder.trainer,
        "nanio": nanio.data_folder(folder),
    }
    return any(
        command[i] == "-m" and str(folder_of_module.get(command[i + 1], "\0")) in command
        for i in range(1, len(command) - 1)
    )


def _psutil() -> ModuleType:
    try:
        return importlib.import_module("psutil")
    except ImportError as error:
        raise not_installed("psutil") from error
