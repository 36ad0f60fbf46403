"""Paying from the command line: the price, the question, what is lost and what is taken over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import SAMPLE_DATA, Done, command, lora_prep
from tests.cli.schemas import valid
from tests.cli.terminal import terminal
from tests.pipelines.conftest import NOW, Paid
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS, jpeg, zip_of

pytestmark = pytest.mark.slow  # real servers
ADA = SAMPLE_DATA / "people" / "ada"


@pytest.fixture
def home(module_home: Path, own_place: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORA_PREP_HOME", str(module_home))
    monkeypatch.setenv("WAVESPEED_API_KEY", KEY)
    for name, value in NOW.items():
        monkeypatch.setenv(f"LORA_PREP_TRAINER__{name.upper()}", str(value))
    (module_home / "lora_prep.sqlite").unlink(missing_ok=True)
    return module_home


@pytest.fixture
def trainer(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Paid]:
    """A trainer of 2 USD for 1,000 steps, with the faults of the test's parameter."""
    from dataclasses import replace

    options = replace(OPTIONS, price_usd=2, balance_usd=50)
    faults: tuple[str, ...] = getattr(request, "param", ())
    with running_service(tmp_path / "service", *faults, options=options) as service:
        monkeypatch.setenv("LORA_PREP_TRAINER__BASE_URL", service.api.base_url)
        yield Paid(service)


def data_url(folder: Path) -> str:
    path = folder / "set.zip"
    path.write_bytes(zip_of({f"{n}.jpg": jpeg(n, side=40) for n in range(10)}))
    return lora_prep("upload", path).stdout.strip()


def at_a_terminal(typed: str, *arguments: str | Path) -> tuple[int, list[str]]:
    """Run a command at a terminal of its own, with an answer typed; return status and screen."""
    with terminal(*command(*arguments)) as shown:
        shown.until("[y/N]")
        shown.type(f"{typed}\n")
        return shown.ended(), shown.lines


def test_the_price_is_shown_and_nothing_is_paid_unasked(trainer: Paid) -> None:
    planned = lora_prep("plan", ADA, "--json")
    valid(planned.json, "plan")
    assert (planned.json["price_usd"], planned.json["balance_usd"]) == (4, 50)
    assert planned.json["refused"] is None
    dear = lora_prep("plan", ADA, "--max-cost", "3")
    assert dear.status == 0
    assert "`run` would stop here" in dear.stderr
    for arguments in ([], ["--max-cost", "3", "--yes"]):
        refused = lora_prep("run", ADA, "--json", *arguments)
        assert (refused.status, refused.error_code) == (9, "declined")
        valid(refused.json, "run")
    status, screen = at_a_terminal("n", "run", ADA)
    assert status == 9
    assert [line[:11] for line in screen[:4]] == [
        "✓ prepare  ", "The trainin", "Submit it? ", "The trainin",
    ]  # fmt: skip
    assert "costs 4 USD" in screen[1]
    assert trainer.accepted == 0
    status, screen = at_a_terminal("y", "run", ADA)
    assert status == 0, screen
    reused = lora_prep("run", ADA, "--json")  # paid already: nothing to ask
    valid(reused.json, "run")
    assert (reused.status, reused.json["reused"]) == (0, True)
    assert trainer.accepted == 1


@pytest.mark.parametrize("trainer", [("drop-after-accept", "no-list-inputs")], indirect=True)
def test_a_lost_submission_is_resolved_by_its_owner(trainer: Paid, tmp_path: Path) -> None:
    url = data_url(tmp_path)
    lost = lora_prep("train", url, "--yes", "--json")
    assert (lost.status, lost.error_code) == (7, "needs_attention")
    valid(lost.json, "train")
    run = lost.json["run"]
    (candidate,) = lost.json["error"]["candidates"]
    assert f"lora-prep resolve {run}" in lost.stderr
    for arguments in ([], ["--prediction", "x", "--not-submitted"]):
        assert lora_prep("resolve", run, *arguments).status == 2
    assert lora_prep("resolve", run, "--prediction", "0" * 32).status == 8
    assert lora_prep("resume", run, "--yes").status == 7
    resolved = lora_prep("resolve", run, "--prediction", candidate, "--json")
    valid(resolved.json, "resolve")
    assert resolved.json["state"] == "submitted"
    resumed = lora_prep("resume", run, "--json")
    assert resumed.status == 0, resumed.stderr
    valid(resumed.json, "resume")
    assert resumed.json["loras"]
    assert trainer.accepted == 1


@pytest.mark.parametrize("trainer", [("drop-before-accept", "list-lag:1")], indirect=True)
def test_what_was_never_accepted_is_sent_when_its_owner_says_so(
    trainer: Paid, tmp_path: Path
) -> None:
    url = data_url(tmp_path)
    lost = lora_prep("train", url, "--yes", "--json")
    assert lost.status == 7
    run = lost.json["run"]
    released = lora_prep("resolve", run, "--not-submitted", "--json")
    assert released.json["state"] == "released"
    again = lora_prep("train", url, "--yes", "--json")
    assert again.status == 0, again.stderr
    assert trainer.accepted == 1


def test_a_training_from_elsewhere_is_adopted_once(trainer: Paid, tmp_path: Path) -> None:
    prediction = trainer.api.submit(data_url(tmp_path))
    adopted = lora_prep("adopt", prediction, "--json")
    assert adopted.status == 0, adopted.stderr
    valid(adopted.json, "adopt")
    run = adopted.json["run"]
    twice = lora_prep("adopt", prediction)
    assert (twice.status, twice.error_code) == (2, "configuration")
    assert f"lora-prep resume {run}" in twice.stderr
    resumed = lora_prep("resume", run, "--purge-remote", "--json")
    assert resumed.status == 0, resumed.stderr
    assert resumed.json["loras"]
    assert trainer.api.list()["items"] == []
    assert lora_prep("adopt", "0" * 32).status == 8
    assert lora_prep("resume", "nobody").status == 2


def test_the_provider_s_storage_takes_a_zip_by_explicit_choice(
    trainer: Paid, tmp_path: Path
) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(zip_of({f"{n}.jpg": jpeg(n, side=41) for n in range(10)}))
    uploaded = lora_prep("upload", path, "--store", "wavespeed", "--json")
    valid(uploaded.json, "upload")
    assert uploaded.json["object"] is None
    assert "public link" in uploaded.stderr
    trained = lora_prep("train", uploaded.json["url"], "--yes", "--json")
    assert trained.status == 0, trained.stderr
    prediction = trained.json["training"]["prediction_id"]
    assert lora_prep("archive", prediction).stdout.startswith("lora    s3://lora-prep/")


def test_the_doctor_asks_what_is_free(trainer: Paid) -> None:
    checks = examined(lora_prep("doctor", "--live", "--json"))
    for name in ("settings", "balance", "catalogue", "price", "list"):
        assert checks[name]["outcome"] == "ok"
    assert "50 USD" in checks["balance"]["found"]
    dear = lora_prep("doctor", "--live", "--max-cost", "1", "--json")
    assert (dear.status, dear.error_code) == (9, "declined")
    other = lora_prep("doctor", "--live", "--json", WAVESPEED_API_KEY="wrong")
    assert (other.status, other.error_code) == (4, "credentials")
    assert examined(other)["list"]["outcome"] == "skipped"
    table = '[trainer.models."wavespeed-ai/wan-14b-trainer"]\nsteps = [2000, 1000, 9000]\n'
    Path("lora-prep.toml").write_text(table)
    warned = lora_prep("doctor", "--live", "--json")
    assert examined(warned)["catalogue"]["outcome"] == "warn"
    assert "9000" in examined(warned)["catalogue"]["found"]
    assert trainer.accepted == 0


@pytest.mark.parametrize("trainer", [("no-list-inputs",), ("refuse-list-inputs",)], indirect=True)
def test_the_doctor_tells_a_list_that_shows_no_inputs(trainer: Paid, tmp_path: Path) -> None:
    trainer.api.submit(data_url(tmp_path))
    checks = examined(lora_prep("doctor", "--live", "--json"))
    assert checks["list"]["outcome"] == "warn"
    assert "resolve" in checks["list"]["fix"]


def examined(done: Done) -> dict[str, dict[str, Any]]:
    valid(done.json, "doctor")
    return {check["name"]: check for check in done.json["checks"]}
