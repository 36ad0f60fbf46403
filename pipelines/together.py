"""Many runs side by side, at most so many at once: in this process, or by the worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from lora_prep.settings import Settings
from pipelines.engine import OWN, QUEUE, Client, Flow, launched, run_of
from pipelines.places import worker_is_here
from pipelines.runs import run_at
from pipelines.train import Place, Task

__all__ = ["enqueue", "run_together"]


def run_together(
    tasks: Mapping[str, Task],
    settings: Settings,
    place: Place,
    *,
    at_once: int,
    on_end: Callable[[str, Flow], None],
) -> None:
    """Bring runs to their end, and wait for all of them; one that fails stops no other.

    A worker of this machine does it where one runs; where it stops meanwhile, this process does.
    So it does with what another process has in hand, which is only waited for until that ends.
    tasks: by any name; on_end: told of each by its name, when its run has ended.
    """
    left = dict(tasks)
    while left:
        if worker_is_here():
            client = Client(settings)
            try:
                ids = enqueue(left, client, place)
                _follow(client, ids, left, settings.engine.look_s, on_end, while_=worker_is_here)
            finally:
                client.close()
            continue
        with launched(settings, place, {OWN: at_once}) as engine:
            client, queue = engine.client, engine.executor_id
            try:
                ids = enqueue(left, client, place, queue)
                theirs = _of_others(client, ids, queue)
                _follow(
                    client,
                    ids,
                    left,
                    settings.engine.look_s,
                    on_end,
                    while_=partial(_taken_over, client, theirs, queue),
                )
            except BaseException:
                engine.leave()
                raise


def enqueue(
    tasks: Mapping[str, Task], client: Client, place: Place, queue: str = QUEUE
) -> dict[str, str]:
    """Put tasks into a queue, for any machine to take; return their workflows by the same names.

    Raises:
        StorageError, CredentialsError: the bucket did not take what other machines need.
    """
    for task in tasks.values():
        place.offer(run_at(task.run))  # before anybody can take it
    return client.enqueue_all(tasks, queue)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _of_others(client: Client, ids: Mapping[str, str], queue: str) -> set[str]:
    """Return which of these workflows other processes have in hand, or will take."""
    mine = set(ids.values())
    return {one.id for one in client.flows(unfinished=True) if one.queue != queue} & mine


def _taken_over(client: Client, theirs: set[str], queue: str) -> bool:
    """Take up what the other processes have left when they ended: nobody else may be there to."""
    if theirs:
        runs = [run_of(workflow_id) for workflow_id in theirs]
        flows = [one for one in client.flows(*runs, unfinished=True) if one.id in theirs]
        taken = client.take_up(flows, queue)
        theirs.intersection_update(one.id for one in flows if one.run not in taken)
    return True


def _follow(
    client: Client,
    ids: Mapping[str, str],
    left: dict[str, Task],
    look_s: float,
    on_end: Callable[[str, Flow], None],
    *,
    while_: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until each workflow has ended, and take it out of `left` then."""
    names = {workflow_id: name for name, workflow_id in ids.items()}
    while left and while_():
        for flow in client.ended(ids[name] for name in list(left)):
            name = names[flow.id]
            del left[name]
            on_end(name, flow)
        if left:
            time.sleep(look_s)
