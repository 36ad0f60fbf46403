"""store policy, store lifecycle, store gc: rules of the bucket, and what a crash left in it."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.cli.flags import StoreFlags, settings_flags
from lora_prep.cli.session import Session, SessionParameter
from lora_prep.errors import ConfigurationError, Declined
from lora_prep.settings import EMBEDDED, PROVIDER_STORE, load_settings
from lora_prep.stores import (
    StoreAccess,
    lifecycle_state,
    merged_rules,
    policy,
    set_lifecycle,
)
from pipelines.backends import connect_store, open_ledger
from pipelines.leftovers import collect

__all__ = ["store_gc", "store_lifecycle", "store_policy"]


def store_policy(*, store: StoreFlags = StoreFlags(), session: SessionParameter) -> None:
    """Print the least rights that lora_prep needs in your bucket, in its service's own shape.

    The archive's key can write LoRAs and read them, and cannot delete one.
    """
    wanted = load_settings(settings_flags(store)).store
    if wanted.url in (EMBEDDED, PROVIDER_STORE):
        raise ConfigurationError(
            "There is no bucket to make a policy for.",
            why=f'store.url is "{wanted.url}".',
            fix="Name one: lora-prep store policy --store s3://bucket/prefix",
        )
    text = policy(StoreAccess.from_url(wanted.url, endpoint_url=wanted.endpoint_url))
    session.result = lambda: {"schema": 1, "policy": text}
    session.answer(shlex.join(text) if isinstance(text, list) else json.dumps(text, indent=2))


def store_lifecycle(
    *,
    store: StoreFlags = StoreFlags(),
    yes: Annotated[
        bool, Parameter(name=["--yes", "-y"], help="Set it without asking.", show_default=False)
    ] = False,
    session: SessionParameter,
) -> None:
    """Offer rules by which the bucket itself deletes data sets and cut uploads after days.

    They are added to the rules it has; the change is shown and asked about.
    """
    with connect_store(load_settings(settings_flags(store)), session.on_event) as bucket:
        state = lifecycle_state(bucket)
        if state.rules is None:
            raise ConfigurationError(
                "The rules of the bucket are not known, so none are set.",
                why="Setting rules replaces all there are, and it does not tell which.",
                fix="Give the key GetLifecycleConfiguration, or set them with the service.",
            )
        merged = merged_rules(state.rules, bucket.access)
        change = _difference(state.rules, merged)
        session.result = lambda: {"schema": 1, "changed": bool(change), "rules": list(merged)}
        if not change:
            session.answer("The rules are there already.")
            return
        session.say(change)
        _ask(session, yes=yes)
        set_lifecycle(bucket, merged)
        session.answer("The rules are set.")


def store_gc(
    *,
    store: StoreFlags = StoreFlags(),
    dry_run: Annotated[
        bool, Parameter(help="Say it, and delete nothing.", show_default=False)
    ] = False,
    session: SessionParameter,
) -> None:
    """Delete data sets that a crash left in the bucket, and abort uploads that were cut.

    What a training may still need is kept, and so is what was just uploaded.
    """
    settings = load_settings(settings_flags(store))
    with connect_store(settings, session.on_event) as bucket:
        found, aborted = collect(
            bucket,
            open_ledger(settings),
            links_live=timedelta(hours=settings.store.presign_hours),
            dry_run=dry_run,
            on_event=session.on_event,
        )
    session.result = lambda: {
        "schema": 1,
        "dry_run": dry_run,
        "data_sets": [
            {"key": one.key, "bytes": one.size_bytes, "kept": one.needed, "why": one.why}
            for one in found
        ],
        "uploads_aborted": aborted,
    }
    for one in found:
        word = "kept" if one.needed else "to delete" if dry_run else "deleted"
        session.answer(f"{word:<9}  {one.key}  {one.why}")
    if aborted:
        session.answer(f"{aborted} cut uploads aborted")
    if not found and not aborted:
        session.answer("nothing was left behind")


def _difference(before: Sequence[Any], after: Sequence[Any]) -> str:
    old, new = (
        json.dumps(list(rules), indent=2, default=str, sort_keys=True) for rules in (before, after)
    )
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "rules now", "rules then", lineterm=""
    )
    return "\n".join(lines)


def _ask(session: Session, *, yes: bool) -> None:
    if yes:
        return
    if not session.can_ask:
        raise Declined(
            "The rules were not set: nobody agreed.",
            why="There is no terminal to ask at.",
            fix="Add --yes.",
        )
    if not session.agrees("Set them?"):
        raise Declined("The rules were not set.", why="You said no.", fix="Nothing was changed.")
