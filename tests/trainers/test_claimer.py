"""Whether a claimer lives is told by boot and start time, and never guessed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from lora_prep.trainers.claimer import Liveness, Processes, _started

pytestmark = pytest.mark.slow  # servers and databases

PROCESSES = Processes()


def test_this_process_lives() -> None:
    this = PROCESSES.this()
    assert PROCESSES.liveness(this) is Liveness.ALIVE
    assert this.pid == os.getpid()
    assert this == PROCESSES.this()


def test_another_process_lives_until_it_has_ended_also_unreaped() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    claimer = replace(PROCESSES.this(), pid=child.pid, started=_started(child.pid) or "")
    assert PROCESSES.liveness(claimer) is Liveness.ALIVE
    child.send_signal(signal.SIGSTOP)
    assert PROCESSES.liveness(claimer) is Liveness.ALIVE, "it may wake up"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert PROCESSES.liveness(claimer) is Liveness.DEAD
    child.communicate()
    assert PROCESSES.liveness(claimer) is Liveness.DEAD


def test_a_pid_used_again_is_not_the_claimer() -> None:
    assert PROCESSES.liveness(replace(PROCESSES.this(), started="1")) is Liveness.DEAD


def test_after_a_reboot_it_is_dead_and_elsewhere_nobody_knows() -> None:
    this = PROCESSES.this()
    assert PROCESSES.liveness(replace(this, boot_id="another")) is Liveness.DEAD
    assert PROCESSES.liveness(replace(this, boot_id="")) is Liveness.UNTOLD
    assert PROCESSES.liveness(replace(this, host="another")) is Liveness.UNTOLD
    assert PROCESSES.liveness(replace(this, space="another container")) is Liveness.UNTOLD


def test_without_a_start_time_a_pid_that_is_there_lives() -> None:
    this = PROCESSES.this()
    assert PROCESSES.liveness(replace(this, started="", pid=os.getppid())) is Liveness.ALIVE
    assert PROCESSES.liveness(replace(this, started="", pid=2**22 + 1)) is Liveness.DEAD
    assert PROCESSES.liveness(replace(this, pid=-1)) is Liveness.DEAD
