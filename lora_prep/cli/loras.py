"""lora check, lora convert, lora use: looking at a LoRA, renaming it, and using it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import timedelta
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lora_prep.addresses import is_loopback
from lora_prep.archive import (
    Target,
    check_lora,
    check_object,
    check_url,
    comfyui_line,
    convert_lora,
    diffusers_line,
    find_archive,
    inference_loras,
)
from lora_prep.cli.flags import StoreFlags, settings_flags
from lora_prep.cli.session import Session, SessionParameter
from lora_prep.errors import ConfigurationError
from lora_prep.model import LoraFacts
from lora_prep.redaction import redacted
from lora_prep.settings import load_settings
from lora_prep.stores import S3Store
from pipelines import steps
from pipelines.backends import connect_store
from pipelines.runs import Run, run_by_id

__all__ = ["lora_check", "lora_convert", "lora_use"]

MODELS = {40: "Wan 14B", 30: "Wan 1.3B"}
S3 = "s3://"


def lora_check(
    file: Annotated[
        str, Parameter(name="FILE", help="A file, a link (http, https), or s3://bucket/key.")
    ],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    session: SessionParameter,
) -> None:
    """Prove that a LoRA file is whole, and say what it is: spelling, rank, alpha, blocks, modules.

    Of a file on this machine every number is read: NaN, infinity and a LoRA that changes nothing
    are errors. Of one elsewhere only the header is, by ranged reads.
    """
    if file.startswith(S3):
        facts = _check_in_bucket(file, store, session)
    elif file.partition("://")[0].lower() in {"http", "https"}:
        facts = check_url(file)
    else:
        facts = check_lora(_existing(file))
    complete = bool(facts.sha256)
    answer = {"file": redacted(file), "complete": complete, **_told(facts)}
    session.result = lambda: {"schema": 1, **answer}
    for name, value in answer.items():
        text = ", ".join(value) if isinstance(value, list) else value
        session.answer(f"{name:<14}{'-' if text is None else text}")
    if not complete:
        session.say("Its numbers were not read: only the header is looked at from afar.")
    if facts.rehearsal:
        session.say("A rehearsal: nothing was trained, and it changes nothing.")


def lora_convert(
    file: Annotated[Path, Parameter(name="FILE", help="A LoRA file for Wan.")],
    /,
    *,
    to: Annotated[
        Target,
        Parameter(
            help="diffusion_model (ComfyUI, diffusers), transformer (diffusers) or lora_unet "
            "(musubi-tuner)."
        ),
    ],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The file to write.")],
    session: SessionParameter,
) -> None:
    """Write a LoRA in another spelling; its effect stays the same.

    Where the new spelling has no alpha, it is multiplied in.
    """
    before = check_lora(_existing(str(file)))
    converted = convert_lora(file, output, to)
    with output.open("rb") as written:
        sha256 = hashlib.file_digest(written, "sha256").hexdigest()
    session.result = lambda: {
        "schema": 1,
        "file": str(file),
        "output": str(output),
        "from": before.spelling,
        "to": to,
        "bytes": output.stat().st_size,
        "sha256": sha256,
        **asdict(converted),
    }
    session.answer(str(output))
    if converted.folded:
        words = "exactly" if converted.exact else "and rounded once"
        session.say(f"Its alpha was multiplied in, {words}.")


def lora_use(
    run: Annotated[str, Parameter(name="RUN", help="The run whose LoRA is archived.")],
    /,
    *,
    store: StoreFlags = StoreFlags(),
    session: SessionParameter,
) -> None:
    """Print how an archived LoRA is used: the `loras` of a request, and ComfyUI and diffusers.

    The links are fresh, and passwords for the files until they expire (store.presign_hours).
    """
    this = run_by_id(run)
    flags = settings_flags(store)
    settings = load_settings(steps.as_opened(this, flags) if this else flags)
    life = timedelta(hours=settings.store.presign_hours)
    with connect_store(settings, session.on_event) as bucket:
        archive = find_archive(bucket, _archived_as(this) if this else run)
        if archive is None:
            raise _not_archived(run, this, bucket)
        inference = inference_loras(bucket, archive.loras, life)
        local = is_loopback(bucket.access.endpoint_url or "")
    lines = {"comfyui": comfyui_line(archive.loras), "diffusers": diffusers_line(archive.loras)}
    trigger_word = archive.training.get("trigger_word")
    session.result = lambda: {
        "schema": 1,
        "run": run,
        "trigger_word": trigger_word,
        "inference": inference.fields,
        "expires_at": inference.expires_at.isoformat(),
        **lines,
    }
    session.answer(dumps(inference.fields, indent=2))
    for name, line in {"trigger word": trigger_word, **lines}.items():
        session.answer(f"{name:<14}{line}")
    session.say(f"The links work until {inference.expires_at:%Y-%m-%d %H:%M} UTC.")
    if local:
        session.say("The bucket is on this machine: only programs here can fetch the links.")


def _archived_as(run: Run) -> str:
    """Return the run that a LoRA is archived under: another one, where that had trained it."""
    loras = run.record().get("loras")
    return str(loras[0]["url"]).rsplit("/", 2)[1] if loras else run.id


def _check_in_bucket(url: str, store: StoreFlags, session: Session) -> LoraFacts:
    bucket, _, key = url.removeprefix(S3).partition("/")
    if not bucket or not key:
        raise ConfigurationError(
            f"{url} names no object.", why="It is s3://bucket/key.", fix="Give the whole address."
        )
    with connect_store(load_settings(settings_flags(store)), session.on_event) as opened:
        access = replace(opened.access, bucket=bucket, prefix="")
        return check_object(S3Store(access), key)


def _existing(file: str) -> Path:
    path = Path(file)
    if path.is_file():
        return path
    raise ConfigurationError(
        f"There is no file {file}.",
        why="Nothing lies there, or it is a folder.",
        fix="Give a LoRA file, a link to one, or s3://bucket/key.",
    )


def _told(facts: LoraFacts) -> dict[str, Any]:
    return {
        "bytes": facts.size_bytes,
        "spelling": facts.spelling,
        "rank": facts.rank,
        "alpha": facts.alpha,
        "dtype": facts.dtype,
        "blocks": facts.blocks,
        "model": MODELS.get(facts.blocks),
        "modules": list(facts.modules),
        "tensors": facts.tensors,
        "rehearsal": facts.rehearsal,
        "sha256": facts.sha256 or None,
        "tensor_sha256": facts.tensor_sha256,
    }


def _not_archived(run_id: str, run: Run | None, bucket: S3Store) -> ConfigurationError:
    return ConfigurationError(
        f"There is no archive of the run {run_id} in the bucket {bucket.access.bucket}.",
        why="Its sidecar is not there.",
        fix=f"lora-prep resume {run_id}" if run else "Check the run's id, and store.url.",
    )
