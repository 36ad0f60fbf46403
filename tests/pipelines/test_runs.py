"""A run's folder has one writer at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lora_prep.errors import TemporaryError
from pipelines.runs import Run, new_run, run_by_id


def write(run: Run) -> None:
    with run.alone():
        run.update(status="prepared")


def test_two_never_work_on_the_same_run() -> None:
    run = new_run()
    with ThreadPoolExecutor() as others:
        with run.alone():
            write(run)  # the same one may, as deep as it likes
            with pytest.raises(TemporaryError, match="Another process works on the run"):
                others.submit(write, run).result()
            others.submit(write, Run(f"{run.id}-2", run.path.with_name(f"{run.id}-2"))).result()
        others.submit(write, run).result()
    assert run_by_id(run.id) == run
