"""sweep, archive verify: what is in no archive yet, and what is still sound."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lora_prep.archive import Found, verify_archives
from lora_prep.cli.flags import ArchiveFlags, StoreFlags, TrainerFlags, settings_flags
from lora_prep.cli.session import SessionParameter
from lora_prep.errors import ArchiveError
from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.backends import connect_store
from pipelines.sweeping import Swept
from pipelines.sweeping import sweep as sweep_provider

__all__ = ["archive_verify", "sweep"]


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
            session.answer_so_far(f"{one.state:<10}  {one.url}")
    session.progress.settle()
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


def _swept(one: Swept) -> dict[str, Any]:
    return {
        "prediction_id": one.prediction_id,
        "run": one.result.run.id if one.result else one.left_to,
        "loras": [lora.to_json() for lora in one.result.loras] if one.result else [],
        "error": one.error.to_json() if one.error else None,
    }


def _found(one: Found) -> dict[str, Any]:
    return {"run": one.run_id, "url": one.url, "state": one.state, "sha256": one.sha256}
