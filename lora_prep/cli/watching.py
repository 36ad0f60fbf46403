"""status, sweep, archive verify: what expires, what is not archived, what is still sound."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.archive import Found, spoken, verify_archives
from lora_prep.cli.flags import ArchiveFlags, StoreFlags, TrainerFlags, settings_flags
from lora_prep.cli.session import SessionParameter, shown
from lora_prep.errors import ArchiveError, ConfigurationError
from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.backends import connect_store
from pipelines.runs import Run, all_runs, run_by_id
from pipelines.sweeping import Swept
from pipelines.sweeping import sweep as sweep_provider

__all__ = ["archive_verify", "status", "sweep"]

OVER = {"archived", "failed", "inspected", "prepared", None}
"""Runs that hold nothing which the provider could forget."""


def status(
    run: Annotated[
        str | None, Parameter(name="RUN", help="A run's id; without, all that are not archived.")
    ] = None,
    /,
    *,
    session: SessionParameter,
) -> None:
    """List the runs whose LoRA is not archived yet, those that the provider forgets first on top.

    It asks nobody and starts nothing. What other machines submitted is found by `sweep`.
    """
    soon = timedelta(hours=load_settings().archive.soon_h)
    if run is None:
        rows = [_row(one, soon) for one in all_runs() if one.record().get("status") not in OVER]
        rows.sort(key=lambda row: row["expires_at"] or "9")
    else:
        rows = [_row(_run_of(run), soon)]
    session.result = lambda: {"schema": 1, "runs": rows}
    for row in rows:
        session.answer(_line(row))
    if any(row["soon"] for row in rows):
        session.say("Archive them with: lora-prep resume RUN, or all of them with: lora-prep sweep")
    elif rows and run is None:
        session.say("Go on with any of them: lora-prep resume RUN")
    elif not rows:
        session.say("Every result is archived.")


def sweep(
    *,
    store: StoreFlags = StoreFlags(),
    trainer: TrainerFlags = TrainerFlags(),
    archive: ArchiveFlags = ArchiveFlags(),
    session: SessionParameter,
) -> None:
    """Archive every completed training of the account that is in no archive yet.

    The provider keeps results for 7 days: run it daily. It looks at the provider's own list, so it
    finds what other machines, or nobody, waited for; nothing is trained or paid.
    """
    settings = load_settings(settings_flags(store, trainer, archive))
    with steps.connect(settings, session.on_event) as backends:
        swept = sweep_provider(backends, session.on_event)
    session.result = lambda: {"schema": 1, "trainings": [_swept(one) for one in swept]}
    for one in swept:
        for lora in one.result.loras if one.result else ():
            session.answer(f"lora    {lora.object.url}")
        if one.left_to:
            session.say(f"{one.prediction_id} is left to its run: lora-prep resume {one.left_to}")
    failed = [one for one in swept if one.error]
    if failed and (first := failed[0].error):
        raise ArchiveError(
            f"{len(failed)} of {len(swept)} trainings could not be archived.",
            why=f"{failed[0].prediction_id}: {first.what} {first.why}",
            fix="Run it again; each is kept for 7 days.",
        )
    if not swept:
        session.say("Every completed training is archived.")


def archive_verify(*, store: StoreFlags = StoreFlags(), session: SessionParameter) -> None:
    """Read every archived file in the bucket again and compare it with its sidecar's SHA-256."""
    found: list[Found] = []
    session.result = lambda: {"schema": 1, "files": [_found(one) for one in found]}
    with connect_store(load_settings(settings_flags(store)), session.on_event) as bucket:
        for one in verify_archives(bucket, session.on_event):
            found.append(one)
            session.answer(f"{one.state:<10}  {one.url}")
    counts = Counter(one.state for one in found)
    if bad := len(found) - counts["sound"]:
        kinds = ", ".join(f"{count} {state}" for state, count in counts.items() if state != "sound")
        raise ArchiveError(
            f"{bad} of {len(found)} archived files are not what they were.",
            why=f"{kinds}.",
            fix="A run's folder may still hold a good copy: move the bad object away, then "
            "lora-prep resume RUN",
        )
    session.say(f"{len(found)} archived files are sound." if found else "Nothing is archived yet.")


def _row(run: Run, soon: timedelta) -> dict[str, Any]:
    record = run.record()
    expires = record.get("expires_at")
    left = datetime.fromisoformat(expires) - datetime.now(UTC) if expires else None
    return {
        "run": run.id,
        "name": record.get("name"),
        "status": record.get("status"),
        "prediction_id": (record.get("training") or {}).get("prediction_id"),
        "expires_at": expires,
        "soon": left is not None and left <= soon,
    }


def _line(row: dict[str, Any]) -> str:
    left = "-"
    if row["expires_at"]:
        remaining = datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)
        left = f"{spoken(remaining)} left" if remaining > timedelta(0) else "expired"
    name = shown(row["name"] or "")
    return f"{row['run']}  {row['status'] or '-':<10}  {left:<14}  {name}".rstrip()


def _run_of(run_id: str) -> Run:
    if run := run_by_id(run_id):
        return run
    raise ConfigurationError(
        f"There is no run {run_id} on this machine.",
        why="Its folder is not in LORA_PREP_HOME/runs.",
        fix="lora-prep status lists the runs that are not archived.",
    )


def _swept(one: Swept) -> dict[str, Any]:
    return {
        "prediction_id": one.prediction_id,
        "run": one.result.run.id if one.result else one.left_to,
        "loras": [lora.to_json() for lora in one.result.loras] if one.result else [],
        "error": one.error.to_json() if one.error else None,
    }


def _found(one: Found) -> dict[str, Any]:
    return {"run": one.run_id, "url": one.url, "state": one.state, "sha256": one.sha256}
