"""The durable chain without its engine: stages that do nothing twice, and tell what happened."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import ConfigurationError, TemporaryError
from lora_prep.events import Event
from lora_prep.settings import load_settings
from pipelines import steps
from pipelines.runs import Run, new_run
from pipelines.train import Answer, Place, Task, begin, train_run, without_engine
from pipelines.worker import tell_of_expiring
from tests.pipelines.conftest import NOW, QUICK, Paid
from tests.sample import SAMPLE_DATA
from tests.trainer_service.helpers import KEY, jpeg, zip_of

ZIP = zip_of({f"{number}.jpg": jpeg(number, side=40) for number in range(10)})


def ready(**trainer: Any) -> Run:
    """A run whose zip is ready."""
    run = new_run()
    run.make()
    (run.path / "dataset.zip").write_bytes(ZIP)
    opened = steps.opened(load_settings({**QUICK, "trainer": trainer}))
    run.update(status="prepared", rehearsal=not trainer, reused=False, opened=opened)
    return run


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What the user's command was told."""
    path, script = tmp_path / "notices", tmp_path / "command.py"
    script.write_text(f"import sys\nopen({str(path)!r}, 'a').write(sys.stdin.read())\n")
    monkeypatch.setenv("LORA_PREP_NOTIFY__COMMAND", f"{sys.executable} {script}")
    return lambda: (
        [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    )


@pytest.fixture
def quick(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for section in (QUICK, {"trainer": NOW}):
        for name, values in section.items():
            for key, value in values.items():
                monkeypatch.setenv(f"LORA_PREP_{name.upper()}__{key.upper()}", str(value))


@pytest.mark.slow
def test_every_stage_can_be_repeated_and_nothing_happens_twice(
    quick: None, paid: Callable[..., Paid], notices: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    trainer = paid()
    monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", KEY)
    run, place = ready(base_url=trainer.api.base_url, api_key=KEY), Place()

    def twice(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        first = function(*arguments)
        if name == "upload":  # the second one would find what `submit` has not sent yet
            return first
        again = function(*arguments)
        if name != "submit":
            assert again.keys() == first.keys()
        return again

    answer = train_run(Task(run.id, yes=True), place, twice, lambda seconds: None)
    assert answer == {"status": "archived"}
    assert without_engine(Task(run.id, yes=True), place) == {"status": "archived"}
    place.close()
    assert trainer.accepted == 1
    assert run.record()["status"] == "archived"
    assert [notice["event"] for notice in notices()] == ["done"] * 3


@pytest.mark.slow
def test_a_failure_is_written_down_and_told_and_an_answer_without_words(
    quick: None, paid: Callable[..., Paid], notices: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    trainer = paid("empty-outputs")
    monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", KEY)
    run, place = ready(base_url=trainer.api.base_url, api_key=KEY), Place()
    answer = without_engine(Task(run.id, yes=True), place)
    place.close()
    assert answer == {"status": "failed", "error": {"code": "no_outputs"}}
    assert run.record()["error"]["code"] == "no_outputs"
    assert place.failures[run.id].code == "no_outputs"
    (notice,) = notices()
    assert (notice["event"], notice["run"]) == ("failed", run.id)


@pytest.mark.slow
def test_nobody_pays_who_was_not_asked(
    quick: None, paid: Callable[..., Paid], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid(price_usd=1)
    monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", KEY)
    run, place = ready(base_url=trainer.api.base_url, api_key=KEY), Place()
    answer = without_engine(Task(run.id), place)
    place.close()
    assert answer["error"]["code"] == "declined"
    assert trainer.accepted == 0


@pytest.mark.slow
def test_a_patient_run_waits_for_a_bucket_that_is_away(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = ready(), list[tuple[str, Event]]()
    place = Place(on_event=lambda run_id, event: said.append((run_id, event)))
    slept: list[float] = []

    def step(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        if name == "archive" and len(slept) < 3:
            return {"error": {"code": "storage"}, "again": True}
        return function(*arguments)

    answer = train_run(Task(run.id, yes=True, patient=True), place, step, slept.append)
    place.close()
    assert answer == {"status": "archived"}
    assert slept == [5.0, 10.0, 20.0]
    assert {run_id for run_id, _ in said} == {run.id}


@pytest.mark.slow
def test_who_only_followed_what_was_refused_goes_on_as_its_owner_does(
    quick: None, paid: Callable[..., Paid], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = paid("data-1402:1")
    monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", KEY)
    owner, follower = (ready(base_url=trainer.api.base_url, api_key=KEY) for _ in range(2))
    place, ends = Place(), []

    def step(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        answer = function(*arguments)
        if name == "submit" and not ends:  # the other one asks for the same, and hears of it first
            ends.append(without_engine(Task(follower.id, yes=True), place))
        return answer

    ends.append(train_run(Task(owner.id, yes=True), place, step, lambda seconds: None))
    place.close()
    assert ends == [{"status": "archived"}] * 2
    assert trainer.accepted == 2  # the one that was refused, and one more for both
    loras = [run.record()["loras"][0]["sha256"] for run in (owner, follower)]
    assert loras[0] == loras[1]


def test_what_expires_soon_is_told_once(notices: Callable[[], list[dict[str, Any]]]) -> None:
    soon, late = datetime.now(UTC) + timedelta(hours=5), datetime.now(UTC) + timedelta(days=6)
    for status, expires_at in (("completed", soon), ("completed", late), ("archived", soon)):
        new_run().update(status=status, expires_at=expires_at.isoformat())
    for _ in range(2):
        tell_of_expiring(load_settings())
    (notice,) = notices()
    assert notice["event"] == "expiring"
    assert datetime.fromisoformat(notice["expires_at"]) == soon


@pytest.mark.parametrize(("code", "interactive"), [("system", False), ("unexpected", True)])
def test_an_error_of_nobody_is_an_answer_without_words_and_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, code: str, interactive: bool
) -> None:
    """The engine would keep its words in a database that others may read."""

    def breaks(*arguments: Any, **named: Any) -> None:
        if code == "system":
            raise PermissionError(13, "Permission denied", "/photos/Ada Lovelace")
        raise RuntimeError("Ada Lovelace")

    monkeypatch.setattr("pipelines.train.connect", breaks)
    run, place = ready(), Place(approve=(lambda quote: None) if interactive else None)
    answer = without_engine(Task(run.id, yes=True, patient=True), place)
    assert answer == {"status": "failed", "error": {"code": code}}
    told = run.record()["error"]
    assert told["code"] == code
    assert "Ada Lovelace" in told["message"] + told["why"]
    assert place.failures[run.id].to_json() == told


def test_a_run_that_another_process_asked_for_keeps_why_its_photos_were_not_looked_at(
    home: Path,
) -> None:
    """That process has only the record to tell it from."""
    settings = load_settings({"dataset": {"reference": "no_photo.jpg"}})
    for approve, kept in ((None, True), ((lambda quote: None), False)):
        run, place = begin(SAMPLE_DATA / "people/ada", settings), Place(approve=approve)
        answer = without_engine(Task(run.id, yes=True), place)
        assert answer["error"]["code"] == "configuration"
        assert run.path.exists() is kept
        assert run.record().get("status") == ("failed" if kept else None)
        assert kept is bool(run.record().get("error"))


def test_whoever_waits_for_what_may_pass_is_told_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def away(*arguments: Any, **named: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TemporaryError("The bucket is away.", why="It rains.", fix="Wait.")
        raise ConfigurationError("Enough.", why="It is a test.", fix="None.")

    monkeypatch.setattr("pipelines.train.connect", away)
    run, said = ready(), list[str]()
    place = Place(on_event=lambda run_id, event: said.append(f"{event.stage}: {event.message}"))

    def step(name: str, function: Callable[..., Answer], *arguments: Any) -> Answer:
        return function(*arguments)

    train_run(Task(run.id, yes=True, patient=True), place, step, lambda seconds: None)
    assert said == [
        "upload: The bucket is away. Trying again in 5 s.",
        "upload: The bucket is away. Trying again in 10 s.",
    ]
