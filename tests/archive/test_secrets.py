"""Nothing that archiving writes or says holds a key or a link, whatever goes wrong on the way."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from lora_prep.archive import How, Limits, TrainingFacts, archive_lora, find_archive
from lora_prep.errors import LoraPrepError
from lora_prep.events import Event
from lora_prep.model import Prediction, PredictionStatus
from lora_prep.redaction import RedactingFilter
from lora_prep.stores import S3Store
from pipelines.runs import Run
from tests.archive.fault_origin import Close, Fault, LengthOff, NewFile, Status, fault_origin
from tests.archive.lora_files import lora

pytestmark = pytest.mark.slow
BODY = lora(rank=16, blocks=40)
SECRET = "tops3cret"
FACTS = TrainingFacts("wavespeed", "model", "p3r5on", 2000, None, 10, "0")

FAULTS: list[list[Fault]] = [
    [],
    [Close(9000), Status(503), Status(403), Status(429)],
    [Status(302, {"Location": f"/elsewhere?token={SECRET}"}), Close(10)],
    [Status(302, {"Location": f"/elsewhere?token={SECRET}"})] * 9,
    [Status(200, body=b"<html>no</html>")] * 2,
    [LengthOff(-9), NewFile(b"junk")],
    [Status(404)] * 9,
    [Status(500)] * 99,
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_no_secret_is_written_or_said(
    number: int, store: S3Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # what --debug shows
    run, said = Run(f"s{number}", tmp_path), list[str]()
    listen = run.listener(lambda event: said.append(repr(event)))
    with fault_origin(BODY, *FAULTS[number]) as server:
        link = f"{server.url}/x.safetensors?X-Amz-Signature={SECRET}"
        prediction = Prediction("p1", "model", PredictionStatus.COMPLETED, (link,))
        try:
            archive_lora(
                prediction,
                FACTS,
                run_id=run.id,
                store=store,
                folder=tmp_path / "lora",
                how=How(
                    limits=Limits(pause_min_s=0.01, pause_max_s=0.02),
                    ask=lambda: prediction,
                ),
                on_event=_until(listen, 60),
            )
        except LoraPrepError as error:
            said.append(f"{error} {json.dumps(error.to_json())}")
        except _Enough:
            pass
    keys = [store.access.access_key, store.access.secret_key]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    archived = store.listed(f"loras/{run.id}/")
    written += [b"".join(store.read(stored.key)) for stored, _ in archived]
    assert written
    assert said
    logged = [record for record in caplog.records if RedactingFilter().filter(record)]
    everything = [*said, *(record.getMessage() for record in logged)]
    for secret in (SECRET, "X-Amz-Signature=", *filter(None, keys)):
        assert all(secret.encode() not in data for data in written)
        assert not [text for text in everything if secret in text]
    if not FAULTS[number]:
        assert find_archive(store, run.id)


class _Enough(Exception):
    """It goes on for days; a minute's worth of it was seen."""


def _until(listen: object, most: int):  # type: ignore[no-untyped-def]
    seen = 0

    def on_event(event: Event) -> None:
        nonlocal seen
        seen += 1
        listen(event)  # type: ignore[operator]
        if seen >= most:
            raise _Enough

    return on_event
