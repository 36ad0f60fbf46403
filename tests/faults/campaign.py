"""The fault campaign: seeded runs with faults, kill -9 and rivals, and what must hold after them.

Every run has a home, a ledger and a trainer service of its own; all share one S3 server. Its client
is the real `lora-prep resume`, which begins with a zip that is ready. What must hold afterwards,
whatever happened:

- the service accepted one task, and one more for each that failed by its fault;
- every run is archived: its LoRA lies in the bucket with the SHA-256 that its record names. Only
  where the fault is a paid task without a result, runs fail and the next one is free;
- the ledger has one row for each accepted task, one of them archived, and nothing unsettled;
- no data set is left in the bucket, and no key or presigned URL on this machine.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lora_prep.embedded import EmbeddedOptions, start_services, stop_services
from lora_prep.stores import S3Store, StoreAccess
from pipelines.runs import Run
from tests.faults.client import ARCHIVED, Client, Told, Wrong, rows_of
from tests.faults.provider import KEY, Provider, provider
from tests.faults.scenario import Scenario, draw
from tests.trainer_service.helpers import jpeg, zip_of

__all__ = ["Ended", "campaign"]

SIGNATURES = (b"X-Amz-Signature=", b"X-Amz-Credential=", b"?signature=", b"&signature=")
WAITS = {
    "poll_min_s": "0.02",
    "poll_max_s": "0.1",
    "fresh_s": "5",
    "submit_timeout_s": "1",
    "margin_s": "1",  # a service that is starved on a busy machine must have listed it by then
    "look_every_s": "0.1",
    "too_many_s": "0.1",
    "too_many_total_s": "10",
    "requests_per_minute": "60000",
}  # fmt: skip


@dataclass
class Ended:
    """How one run of the campaign ended. wrong: what should never be seen, or nothing."""

    scenario: Scenario
    wrong: str = ""
    accepted: int = 0
    lives: int = 0
    resolved: int = 0
    kills: list[str] = field(default_factory=list)
    seconds: float = 0.0


def campaign(seeds: Iterable[int], folder: Path, *, at_once: int) -> Iterator[Ended]:
    """Run seeds, several at a time since each mostly waits, and yield how each ended."""
    with _store(folder / "store") as store, ThreadPoolExecutor(at_once) as pool:
        coming = [pool.submit(_run, seed, folder, store) for seed in seeds]
        try:
            for one in as_completed(coming):
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _store(home: Path) -> Iterator[S3Store]:
    services = start_services(home, EmbeddedOptions(rehearsal_rank=1, rehearsal_blocks=1))
    try:
        yield S3Store(
            StoreAccess(
                bucket=services.store_bucket,
                endpoint_url=services.store_endpoint_url,
                region=services.store_region,
                access_key=services.store_access_key,
                secret_key=services.store_secret_key,
            )
        )
    finally:
        stop_services(home)


def _run(seed: int, folder: Path, store: S3Store) -> Ended:
    scenario, place = draw(seed), folder / f"{seed:06}"
    ended, began = Ended(scenario), time.monotonic()
    place.mkdir(mode=0o700)
    clients: list[Client] = []
    try:
        with provider(place / "service", scenario.faults, _plain_environment()) as trainer:
            clients = _clients(scenario, place, store, trainer)
            _race(clients)
            _until_archived(clients)
            ended.accepted = _check(scenario, clients, trainer, store)
    except Exception as error:  # noqa: BLE001  one that fails must not hide the others
        ended.wrong = f"{type(error).__name__}: {error}"
    ended.seconds = time.monotonic() - began
    for client in clients:
        ended.lives += client.told.lives
        ended.resolved += client.told.resolved
        ended.kills += client.told.kills
    if not ended.wrong:
        shutil.rmtree(place)
    return ended


def _clients(scenario: Scenario, place: Path, store: S3Store, trainer: Provider) -> list[Client]:
    """Return who runs: one, or two with a run each, with the same run, or with a copy of it."""
    access, ledger, asking = store.access, place / "ledger.sqlite", threading.Lock()
    environment = _plain_environment() | {
        "LORA_PREP_ENGINE__DATABASE_URL": f"sqlite:///{ledger}",
        "LORA_PREP_STORE__URL": f"s3://{access.bucket}",
        "LORA_PREP_STORE__ENDPOINT_URL": access.endpoint_url or "",
        "LORA_PREP_STORE__REGION": access.region or "",
        "AWS_ACCESS_KEY_ID": access.access_key or "",
        "AWS_SECRET_ACCESS_KEY": access.secret_key or "",
        "LORA_PREP_TRAINER__API_KEY": KEY,
        **{f"LORA_PREP_TRAINER__{name.upper()}": value for name, value in WAITS.items()},
    }
    if not scenario.cold:  # a cold one gets it by --trainer-url, and remembers it
        environment["LORA_PREP_TRAINER__BASE_URL"] = trainer.url
    clients = []
    for number, kills in enumerate(scenario.kills):
        own_home = scenario.cold or scenario.race == "two homes"
        own_run = scenario.race == "two runs"
        home = place / f"home{number if own_home else 0}"
        client = Client(
            run=f"seed{scenario.seed:06}-{number if own_run else 0}",
            home=home,
            ledger=ledger,
            environment=environment | {"LORA_PREP_HOME": str(home)},
            trainer=trainer,
            scenario=scenario,
            kills=kills,
            asking=asking,
            name=f"client{number}",
        )
        clients.append(client)
        _prepare(client)
    return clients


def _race(clients: list[Client]) -> None:
    """Let every client begin at the same moment, and wait for the end of all."""
    with ThreadPoolExecutor(len(clients)) as pool:
        for one in [pool.submit(client.follow_to_the_end) for client in clients]:
            one.result()


def _prepare(client: Client) -> None:
    """Make a run whose photos are a zip already, the same for all of its scenario."""
    client.home.mkdir(mode=0o700, exist_ok=True)
    if client.scenario.cold:
        return
    client.folder.parent.mkdir(mode=0o700, exist_ok=True)
    Run(client.run, client.folder).update(status="prepared", name="x")
    (client.folder / "dataset.zip").write_bytes(_zip(client.scenario.seed))


@functools.cache  # a zip made a moment later holds another time, and is another data set
def _zip(seed: int) -> bytes:
    return zip_of({f"{n:04}.jpg": jpeg(n + seed, side=32 + seed // 256) for n in range(10)})


def _until_archived(clients: list[Client]) -> None:
    """Where the paid task had no result, its runs have failed: the next run is free to train."""
    scenario = clients[0].scenario
    if any(client.record().get("status") == "archived" for client in clients):
        return
    if not scenario.without_result:
        raise Wrong(f"no run is archived: {[client.told.errors for client in clients]}")
    run = f"seed{scenario.seed:06}-next"
    fresh = replace(clients[-1], run=run, kills=(), told=Told(), name="next")
    clients.append(fresh)
    _prepare(fresh)
    if fresh.follow_to_the_end() != ARCHIVED:
        raise Wrong(f"the next run was not free: {fresh.told.errors}")


def _check(scenario: Scenario, clients: list[Client], trainer: Provider, store: S3Store) -> int:
    """Assert what must be true now; return how many tasks were accepted."""
    stats, rows = trainer.stats(), rows_of(clients[0].ledger)
    accepted, sent = stats["accepted"], [row for row in rows if row["prediction_id"]]
    _same("tasks accepted", accepted, scenario.accepted)
    _same("tasks failed", stats["failed"], scenario.refused)
    _same("tasks completed", stats["completed"], scenario.accepted - scenario.refused)
    _same("rows with a task", len(sent), accepted)
    _same("tasks in rows", len({row["prediction_id"] for row in sent}), accepted)
    ends = Counter(row["state"] for row in sent)
    failed, refused = scenario.without_result, scenario.refused
    _same("ends of tasks", ends, Counter(archived=1, failed=failed, refused=refused))
    unsent = {row["state"] for row in rows if not row["prediction_id"]}
    _same("states of rows without a task", unsent - {"released"}, set())
    guards = [row["state"] for row in rows if row["guard"]]
    _same("rows that hold a guard", guards, ["archived"])
    archived = next(row for row in rows if row["state"] == "archived")
    (lora, *others) = json.loads(archived["loras"])
    _same("further LoRAs", len(others), int(_two(scenario)))
    for client in clients:
        record = client.record()
        if record["status"] != "failed" or not scenario.without_result:
            _same(f"status of {client.run}", record["status"], "archived")
            _same(f"LoRAs of {client.run}", record["loras"], [lora, *others])
            _same(f"error of {client.run}", record.get("error"), None)
        _same(
            "zips in the bucket", _keys(store, f"datasets/{time.gmtime().tm_year}/{client.run}"), []
        )
        loras = _keys(store, f"loras/{client.run}/")
        mine = client.run == archived["run_id"]
        # The LoRA, the sidecar and the card.
        _same(f"objects of {client.run}", len(loras), (3 + len(others)) if mine else 0)
    for one in (lora, *others):
        key = one["url"].removeprefix(f"s3://{store.access.bucket}/")
        _same("sha256 in the bucket", store.sha256(key), (one["sha256"], one["bytes"]))
    _no_secrets(clients[0].ledger.parent, store)
    return int(accepted)


def _two(scenario: Scenario) -> bool:
    """Whether the task that completes has two files; else the fault struck the one that failed."""
    # The first task is asked for no output before it is asked for two.
    first_task_fails = scenario.refused and "empty-outputs" not in scenario.names
    return "two-outputs" in scenario.names and not first_task_fails


def _no_secrets(place: Path, store: S3Store) -> None:
    secrets = [KEY.encode(), (store.access.secret_key or KEY).encode(), *SIGNATURES]
    for path in place.rglob("*"):
        if path.is_file() and not path.is_relative_to(place / "service"):
            content = path.read_bytes()
            found = [secret.decode() for secret in secrets if secret in content]
            _same(f"secrets in {path.relative_to(place)}", found, [])


def _keys(store: S3Store, prefix: str) -> list[str]:
    listed = store.client.list_objects_v2(Bucket=store.access.bucket, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def _same(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise Wrong(f"{what}: {seen}, must be {wanted}")


def _plain_environment() -> dict[str, str]:
    """Return the environment without settings or keys of whoever runs the campaign."""
    ours = ("LORA_PREP_", "WAVESPEED_", "AWS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
