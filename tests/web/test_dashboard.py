"""The dashboard over HTTP: what it shows, what it begins, what it refuses."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from lora_prep.settings import load_settings
from lora_prep.trainers import State
from lora_prep.web.actions import RESUME, command_of
from lora_prep.web.dashboard_app import Board, dashboard_app
from lora_prep.web.guarded import CHANGE_HEADER, Guarded, Tokens
from pipelines.backends import open_ledger
from pipelines.batch import _remember, batch_id
from pipelines.due import Policy, parse_cron
from pipelines.engine import Client
from pipelines.places import database_of, machine_of, worker_lock
from pipelines.runs import new_run
from pipelines.schedules import Schedules
from pipelines.train import Task
from tests.records import LOST, OPENED, in_hand, made, submitted
from tests.trainer_service.conftest import running_service
from tests.trainer_service.helpers import KEY, OPTIONS
from tests.trainers.databases import KINDS, new_database
from tests.web.asking import HOST, asking

WAIT_S = 60


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board(load_settings())) as board:
        yield board


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def stranger(board: Board, tokens: Tokens) -> httpx.Client:
    guarded = Guarded(dashboard_app(board, tokens), tokens, [HOST], "lora_prep_8123")
    return asking(guarded)


@pytest.fixture
def user(stranger: httpx.Client, tokens: Tokens) -> httpx.Client:
    stranger.get(f"/?token={tokens.entry}")
    stranger.headers[CHANGE_HEADER] = tokens.change
    return stranger


def text(page: str) -> str:
    """Return a page as it is read: without tags, and without what lies between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.replace("<wbr>", ""))).split())


def names(page: str) -> list[str]:
    return re.findall(r'<th scope="row"><a [^>]*><bdi>(.*?)</bdi>', page.replace("<wbr>", ""))


def actions(page: str) -> list[str]:
    return re.findall(r'id="do-([a-z-]+)"', page)


# ── all runs ──────────────────────────────────────────────────────────────────────────────────


def test_a_home_without_runs_says_how_to_begin_and_stays_empty(user: httpx.Client) -> None:
    said = text(user.get("/").text)
    assert "Nothing needs you" in said
    assert "lora-prep run FOLDER" in said
    assert "lora-prep batch run JOBS" in said
    assert "lora-prep schedule add" in said
    assert "0 USD" in said
    assert not (new_run().path.parents[1] / "lora_prep.sqlite").exists()  # looking makes nothing


def test_what_needs_attention_comes_first_and_everything_is_said(user: httpx.Client) -> None:
    made("archived", name="ada", training={"prediction_id": "p-1", "price_usd": 4.0})
    with in_hand(made("submitted", name="ben")):
        lost = made("submitting", name="cleo", error=LOST, training={"prediction_id": None})
        submitted(lost, State.UNKNOWN)
        soon = (datetime.now(UTC) + timedelta(hours=3, minutes=1)).isoformat()
        at_end = {"prediction_id": "p-2", "price_usd": 4.0}
        made("completed", name="dora", expires_at=soon, training=at_end)
        page = user.get("/").text
    assert names(page) == ["dora", "cleo", "ben", "ada"]
    said = text(page)
    assert "2 need you, 1 working" in said
    assert re.search(r"dora \S+ needs you archive comes next completed \d+ s 3 h 0 min 4 USD", said)
    assert re.search(r"cleo \S+ needs you Lost\. unknown", said)
    assert re.search(r"ada \S+ archived archived \d+ s 4 USD", said)


def test_runs_are_chosen_by_how_they_stand(user: httpx.Client) -> None:
    made("archived", name="ada")
    made("failed", name="ben", error=LOST)
    assert names(user.get("/?show=failed").text) == ["ben"]
    assert names(user.get("/?show=archived").text) == ["ada"]
    assert names(user.get("/?show=working").text) == []
    assert len(names(user.get("/?show=<script>&batch=../..").text)) == 2


def test_a_hundred_are_shown_and_the_others_when_asked_for(user: httpx.Client) -> None:
    for number in range(103):
        made("archived", name=f"p{number}")
    page = user.get("/?show=archived").text
    assert len(names(page)) == 100
    assert "Show the other 3 runs" in page
    assert len(names(user.get("/?show=archived&whole=1").text)) == 103


def test_names_are_shown_as_they_are_and_harm_nothing(user: httpx.Client) -> None:
    run = made("failed", name="<script>alert(1)</script>\u202egpj", error=LOST)
    for page in (user.get("/").text, user.get(f"/runs/{run.id}").text):
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
        assert "\u202e" not in page


MEAN = "<b>\"'&\u202e"


def test_nothing_that_is_shown_is_taken_for_a_page(user: httpx.Client, tmp_path: Path) -> None:
    """Every text of a run, a batch and a schedule, also those that only a strange hand writes."""
    error = {"code": MEAN, "message": MEAN, "why": MEAN, "fix": MEAN, "retryable": True}
    run = made(
        MEAN,
        name=MEAN,
        error=error,
        training={"prediction_id": MEAN},
        loras=[{"url": MEAN, "sha256": MEAN, "rank": MEAN}],
        inspection={"usable": MEAN, "needed": MEAN},
        opened={**OPENED, "folder": MEAN},
    )
    said = {"time": MEAN, "stage": MEAN, "message": MEAN, "unit": MEAN, "done": 1}
    (run.path / "events.jsonl").write_text(json.dumps(said))
    talking = made("created", name=MEAN)
    (talking.path / "events.jsonl").write_text(json.dumps(said))
    _remember(tmp_path / MEAN, 1.0, {MEAN: run.id})
    pages = [
        user.get(path).text
        for path in ("/", f"/runs/{run.id}", f"/runs/{talking.id}", f"/runs/{run.id}/ask/cancel")
    ]
    pages.append(user.post(f"/runs/{run.id}/found", data={"typed": MEAN}).text)
    for page in pages[:3]:
        assert "&lt;b&gt;&#34;&#39;&amp;\\u202e" in page.replace("<wbr>", "")
    assert not any(MEAN[:3] in page or MEAN[-1] in page for page in pages)


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        "null",
        '"run"',
        '{"status": ["submitted"], "opened": {}}',
        '{"status": "submitted", "opened": {}, "name": ["a"]}',
        '{"status": "submitted", "opened": "x"}',
        '{"status": "submitted", "opened": {}, "error": {}}',
        '{"status": "submitted", "opened": {}, "error": "lost"}',
        '{"status": "submitted", "opened": {}, "error": {"code": "c", "message": 1}}',
        '{"status": "submitted", "opened": {}, "training": {"price_usd": NaN}}',
        '{"status": "submitted", "opened": {}, "training": {"price_usd": "4"}}',
        '{"status": "submitted", "opened": {}, "training": {"price_usd": true}}',
        '{"status": "submitted", "opened": {}, "training": {"prediction_id": 7}}',
        '{"status": "submitted", "opened": {}, "training": [1]}',
        '{"status": "completed", "opened": {}, "expires_at": "2026-11-26T12:00:00"}',
        '{"status": "completed", "opened": {}, "expires_at": 5}',
    ],
)
def test_a_damaged_record_hides_no_other_run(damage: str, user: httpx.Client) -> None:
    good, bad = made("archived", name="ada"), made("submitted", name="ben")
    (bad.path / "run.json").write_text(damage)
    assert names(user.get("/").text) == ["ada"]
    assert user.get(f"/runs/{bad.id}").status_code == 404
    assert user.get(f"/runs/{good.id}").status_code == 200


@pytest.mark.parametrize(
    "facts",
    [
        {"loras": ["s3://b/x"]},
        {"loras": [{"bytes": "many"}]},
        {"loras": 7},
        {"dataset": [1]},
        {"dataset": {"images": 16, "bytes": None}},
        {"inspection": 5},
    ],
)
def test_what_is_damaged_of_a_record_is_said_on_its_page(
    facts: dict[str, object], user: httpx.Client
) -> None:
    run = made("archived", name="ada", **facts)
    said = text(user.get(f"/runs/{run.id}").text)
    assert "damaged: not all of it is shown" in said
    assert names(user.get("/").text) == ["ada"]


@pytest.mark.parametrize(
    "event",
    ['"done": NaN, "unit": "s"', '"done": "x", "unit": "bytes"', '"total": [], "done": 1',
     '"unit": 5', '"done": {}'],
)  # fmt: skip
def test_an_event_that_is_none_is_left_out(event: str, user: httpx.Client) -> None:
    run = made("created", name="ada")
    well = '{"time": "2026-11-26T02:00:00+00:00", "stage": "train", "message": "well"}'
    bad = f'{{"time": "-", "stage": "train", "message": "ill", {event}}}'
    (run.path / "events.jsonl").write_text(f"{well}\n{bad}\n")
    for path in ("/", f"/runs/{run.id}", f"/runs/{run.id}/log"):
        said = user.get(path).text
        assert "well" in said
        assert "ill" not in text(said).split()


def test_a_damaged_batch_is_shown_as_far_as_it_is_whole(user: httpx.Client) -> None:
    run = made("archived", name="ada")
    _remember(Path("/people/jobs.toml"), 40.0, {"ada": run.id})
    (path,) = (run.path.parents[1] / "batches").glob("*.json")
    for was, damaged in ((", ", "?"), ('"budget_usd": 40.0', '"budget_usd": NaN')):
        path.write_text(path.read_text().replace(was, damaged))
        assert names(user.get("/").text) == ["ada"]


def test_a_batch_shows_how_its_people_stand_and_leads_to_them(user: httpx.Client) -> None:
    ada, ben = made("archived", name="ada"), made("failed", name="ben", error=LOST)
    made("archived", name="somebody else")
    jobs = Path("/people/jobs.toml")
    _remember(jobs, 40.0, {"ada": ada.id, "ben": ben.id, "cleo": "20200101t000000-abcdef"})
    said = text(user.get("/").text)
    assert "jobs.toml 1 of 3 archived archived 1 failed 1 1 removed /people/jobs.toml" in said
    assert "budget 40 USD" in said
    page = user.get(f"/?batch={batch_id(jobs)}").text
    assert sorted(names(page)) == ["ada", "ben"]
    assert names(user.get(f"/?batch={batch_id(jobs)}&show=failed").text) == ["ben"]


def test_a_schedule_says_when_it_is_next_and_why_it_will_not_fire(
    user: httpx.Client, tmp_path: Path
) -> None:
    settings, jobs = load_settings(), tmp_path / "jobs.toml"
    jobs.write_text("")
    schedules = Schedules(database_of(settings))
    how = {"policy": Policy.LATEST, "machine": machine_of(settings), "max_cost_usd": 20.0}
    schedules.add("nightly", parse_cron("0 2 * * *", "Europe/Berlin"), jobs, **how)  # type: ignore[arg-type]
    said = text(user.get("/").text)
    assert re.search(r"nightly 0 2 \* \* \* Europe/Berlin Next \d{4}-\d\d-\d\d 02:00 , last", said)
    assert "at most 20 USD each time" in said
    assert "No worker runs here: it fires nothing." in said
    with worker_lock() or pytest.fail("there is a worker"):
        said = text(user.get("/").text)
        assert "A worker runs here" in said
        assert "fires nothing" not in said
    jobs.unlink()
    assert "Its jobs file is not there any more." in text(user.get("/").text)
    schedules.pause("nightly")
    assert "Paused" in text(user.get("/").text)


def test_a_month_says_what_it_cost_of_its_budget(
    user: httpx.Client, monkeypatch: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    submitted(made("submitted", name="ada"))
    submitted(made("submitted", name="ben"))
    this = f"{datetime.now(UTC):%B %Y}"
    assert f"{this} 8 USD 2 trainings" in text(user.get("/").text)
    monkeypatch.setenv("LORA_PREP_TRAINER__MAX_MONTH_USD", "20")
    with closing(Board(load_settings())) as board:
        limited = asking(dashboard_app(board, tokens))
        page = limited.get("/").text
    assert f"{this} 8 USD of 20 USD" in text(page)
    assert '<progress max="1" value="0.4"' in page


def test_news_come_only_when_there_are_some(user: httpx.Client) -> None:
    made("archived", name="ada")
    again = re.search(r'hx-get="(/now[^"]*)"', user.get("/").text)
    assert again
    assert user.get(again[1]).status_code == 204
    made("failed", name="ben", error=LOST)
    news = user.get(again[1])
    assert news.status_code == 200
    assert sorted(names(news.text)) == ["ada", "ben"]
    assert news.text.startswith('<title>Nothing needs you · lora_prep</title><div id="now"')


def test_a_database_that_cannot_be_used_is_told_and_looked_for_again(
    user: httpx.Client,
) -> None:
    submitted(made("submitted", name="ada"))
    path = database_of(load_settings())
    assert isinstance(path, Path)
    kept = path.read_bytes()
    path.write_bytes(b"no database" * 100)
    page = user.get("/").text
    assert "cannot be used" in page
    assert 'hx-trigger="every 2s"' in page
    path.write_bytes(kept)
    assert names(user.get("/now").text) == ["ada"]


# ── one run ───────────────────────────────────────────────────────────────────────────────────


def test_a_run_shows_its_facts_its_log_and_its_report(user: httpx.Client) -> None:
    loras = [{"url": "s3://b/x.safetensors", "sha256": "ab" * 32, "bytes": 38_400_000, "rank": 4}]
    run = made("archived", name="ada", dataset={"images": 16, "bytes": 5_700_000}, loras=loras)
    times = [f"2026-11-26T02:00:0{number}+00:00" for number in range(3)]
    lines = [
        json.dumps({"time": time, "stage": "train", "message": f"step {number}"})
        for number, time in enumerate(times)
    ]
    (run.path / "events.jsonl").write_text("\n".join(lines) + '\n{"time": cut')
    run.report.write_text("<!doctype html><p>The report")
    page = user.get(f"/runs/{run.id}").text
    said = text(page)
    assert "16 trained on, 5.7 MB" in said
    assert "s3://b/x.safetensors" in page.replace("<wbr>", "")
    assert said.index("step 2") < said.index("step 0")
    assert f"lora-prep lora use {run.id}" in said
    assert f'src="/runs/{run.id}/report"' in page
    log = user.get(f"/runs/{run.id}/log")
    assert log.headers["content-type"].startswith("text/plain")
    assert [line[-6:] for line in log.text.splitlines()] == ["step 0", "step 1", "step 2"]
    report = user.get(f"/runs/{run.id}/report")
    assert report.text.endswith("The report")
    policy = report.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "script" not in policy
    assert "frame-ancestors 'self'" in policy
    assert "frame-src 'self'" in user.get(f"/runs/{run.id}").headers["content-security-policy"]
    assert user.get(f"/runs/{run.id}/contact_sheet.jpg").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/runs/..%2f..%2fetc",
        "/runs/../../etc/passwd",
        "/runs/%2e%2e/report",
        "/runs/{run}/run.json",
        "/runs/{run}/../../lora_prep.sqlite",
        "/runs/{run}/..%2frun.json",
        "/runs/{run}/crops%2f1.jpg",
        "/runs/20200101t000000-abcdef",
        "/runs/20200101t000000-abcdef/report",
        "/static/..%2fdashboard_app.py",
        "/runs/{run}/ask/prune",
    ],
)
def test_a_path_is_never_taken_from_the_request(path: str, user: httpx.Client) -> None:
    run = made("archived", name="ada")
    answer = user.get(path.format(run=run.id))
    assert answer.status_code in (404, 405)
    assert "ada" not in answer.text


def test_what_can_be_done_depends_on_how_it_stands(user: httpx.Client) -> None:
    assert actions(user.get(f"/runs/{made('archived').id}").text) == []
    archived = made("archived", training={"prediction_id": "p-1"})
    assert actions(user.get(f"/runs/{archived.id}").text) == ["archive"]
    waiting = made("submitted", training={"prediction_id": "p-2"})
    assert actions(user.get(f"/runs/{waiting.id}").text) == ["resume", "cancel"]
    assert actions(user.get(f"/runs/{made('failed').id}").text) == ["resume"]
    lost = made("submitting", error=LOST)
    submitted(lost, State.UNKNOWN)
    wanted = ["resume", "found", "not-submitted", "cancel"]
    assert actions(user.get(f"/runs/{lost.id}").text) == wanted
    with in_hand(waiting):
        assert actions(user.get(f"/runs/{waiting.id}").text) == ["cancel"]
        assert user.get(f"/runs/{waiting.id}/ask/resume").status_code == 404
        assert user.post(f"/runs/{waiting.id}/resume").status_code == 404


@pytest.mark.slow
def test_giving_up_is_asked_about_and_then_done_by_the_command(user: httpx.Client) -> None:
    run = made("submitted", name="ada", training={"price_usd": 4.0})
    submitted(run)
    question = text(user.get(f"/runs/{run.id}/ask/cancel").text)
    assert "may go on at the provider and be billed" in question
    assert f"lora-prep cancel {run.id}" in question
    assert not run.is_cancelled
    begun = user.post(f"/runs/{run.id}/cancel")
    assert f"lora-prep cancel {run.id} goes on" in text(begun.text)
    assert user.post(f"/runs/{run.id}/cancel").status_code in (404, 409)  # once is enough
    until = time.monotonic() + WAIT_S
    while "is done" not in (said := text(user.get(f"/runs/{run.id}/now").text)):
        assert time.monotonic() < until, said
        time.sleep(0.1)
    assert run.is_cancelled
    assert "it takes nothing back" in said
    assert "cancelled" in said


@pytest.mark.slow
def test_a_run_of_another_machine_can_be_given_up_here_and_gone_on_with_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    if "postgres" not in KINDS:
        pytest.skip("there is no Postgres on this machine")
    url = str(new_database("postgres", tmp_path))
    monkeypatch.setenv("LORA_PREP_ENGINE__DATABASE_URL", url)
    theirs = "20260101t000000-abcdef"
    with closing(Client(load_settings())) as client:
        client.enqueue(Task(theirs))
    with closing(Board(load_settings())) as board:
        page = asking(dashboard_app(board, tokens))
        assert actions(page.get(f"/runs/{theirs}").text) == ["cancel"]
        assert "on the machine that began it" in text(page.get(f"/runs/{theirs}").text)
        said = text(page.get(f"/runs/{theirs}/ask/cancel").text)
        assert "go on later, on the machine that began it. Nothing was submitted so far." in said
        assert page.post(f"/runs/{theirs}/resume").status_code == 404
        assert page.post(f"/runs/{theirs}/cancel").status_code == 200
        until = time.monotonic() + WAIT_S
        while board.commands.going_on:
            assert time.monotonic() < until
            time.sleep(0.1)
        said = text(page.get(f"/runs/{theirs}").text)
        assert "Go on all the same, on the machine that began it" in said
        assert not actions(page.get(f"/runs/{theirs}").text)


@pytest.mark.slow
def test_what_the_dashboard_goes_on_with_can_be_given_up(user: httpx.Client, board: Board) -> None:
    run = made("submitted", name="ada")
    submitted(run)
    board.commands.begin(run.id, ["dashboard", "--no-browser"])  # anything that goes on
    try:
        assert user.post(f"/runs/{run.id}/resume").status_code == 409
        assert user.post(f"/runs/{run.id}/cancel").status_code == 200
        until = time.monotonic() + WAIT_S
        while not run.is_cancelled:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        for one in psutil.Process().children():  # other tests have theirs
            if "dashboard" in one.cmdline():
                one.kill()


@pytest.mark.parametrize("typed", ["", "--not-submitted", "a b", "é", "x" * 200, "a;b"])
def test_what_is_typed_in_is_an_id_or_nothing(typed: str, user: httpx.Client, board: Board) -> None:
    run = made("submitting", error=LOST)
    submitted(run, State.UNKNOWN)
    answer = user.post(f"/runs/{run.id}/found", data={"typed": typed})
    assert answer.status_code == 409
    assert board.commands.of(run.id) is None


def test_nothing_is_changed_without_the_word_of_the_page(
    stranger: httpx.Client, tokens: Tokens, board: Board
) -> None:
    run = made("submitted", training={"prediction_id": "p-2"})
    address = f"/runs/{run.id}/cancel"
    assert stranger.post(address).status_code == 403
    assert stranger.get(f"/runs/{run.id}").status_code == 403
    stranger.get(f"/?token={tokens.entry}")
    assert stranger.post(address).status_code == 403
    own = {CHANGE_HEADER: tokens.change}
    assert stranger.post(address, headers=own | {"sec-fetch-site": "cross-site"}).status_code == 403
    assert stranger.post(address, headers=own | {"origin": "http://evil"}).status_code == 403
    assert stranger.get(address).status_code == 405
    assert board.commands.of(run.id) is None
    assert not run.is_cancelled


# ── money ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_what_costs_something_is_asked_about_with_its_price_and_never_costs_more(
    user: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: Board
) -> None:
    options = replace(OPTIONS, price_usd=2, balance_usd=100)
    with running_service(tmp_path / "service", options=options) as service:
        url = service.api.base_url
        opened = {**OPENED, "trainer_url": url, "store": {"url": "embedded"}}
        run = made("prepared", name="ada", opened=opened)
        address = f"/runs/{run.id}/ask/resume"
        question = user.get(address).text
        assert "no key" in text(question).lower() or "needs a key" in text(question).lower()
        assert 'type="submit"' not in question
        monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", KEY)
        question = user.get(address).text
        said = text(question)
        assert "costs 4 USD. The account holds 100 USD." in said
        assert f"lora-prep resume {run.id} --yes --max-cost 4" in said
        assert "Go on for 4 USD" in said
        assert 'name="agreed" value="4"' in question
        for odd in ("all", "inf", "nan", "-1"):
            assert user.post(f"/runs/{run.id}/resume", data={"agreed": odd}).status_code == 409
        assert board.commands.of(run.id) is None
        run.update(opened={"trainer": {"max_cost_usd": 2.5}})  # as an earlier agreement leaves it
        said = text(user.get(address).text)
        assert "costs 4 USD." in said
        assert "more than the limit of 2.5 USD that was set for it" in said
        assert "Go on for 4 USD" in said
        monkeypatch.setenv("LORA_PREP_TRAINER__MAX_MONTH_USD", "3")
        question = user.get(address).text
        assert "budget of this month does not reach" in text(question)
        assert 'type="submit"' not in question
        monkeypatch.delenv("LORA_PREP_TRAINER__MAX_MONTH_USD")
        assert service.api.stats()["accepted"] == 0
    assert "costs" not in text(user.get(address).text)  # nobody is there to say a price
    assert 'type="submit"' not in user.get(address).text


def test_going_on_with_what_was_submitted_agrees_to_no_payment(user: httpx.Client) -> None:
    run = made("submitted", training={"prediction_id": "p-2"})
    question = user.get(f"/runs/{run.id}/ask/resume").text
    assert "Nothing is paid again." in text(question)
    assert "--yes" not in question
    rehearsed = made("prepared")
    question = user.get(f"/runs/{rehearsed.id}/ask/resume").text
    assert "Nothing is paid, nothing is trained." in text(question)
    assert "--yes" not in question


@pytest.mark.parametrize("price", ["12.345678", "1234567", "0.000001", "4"])
def test_a_price_is_agreed_to_as_it_is(price: str) -> None:
    words = command_of(RESUME, "a-run", {"agreed": price})
    assert words[-2] == "--max-cost"
    assert float(words[-1]) == float(price)


def test_what_was_given_up_unsent_is_paid_for_when_it_goes_on(user: httpx.Client) -> None:
    """A refused submission, a full account: the record has the request, the provider has not."""
    run = made("failed", training={"prediction_id": None, "steps": 2000})
    assert "Nothing is paid, nothing is trained." in text(
        user.get(f"/runs/{run.id}/ask/resume").text
    )
    ended = made("failed", training={"prediction_id": "p-1"})
    said = text(user.get(f"/runs/{ended.id}/ask/resume").text)
    assert "asked once more whether it has the LoRA after all" in said
    assert "Nothing is paid again." in said


def test_a_second_submission_is_not_called_following(user: httpx.Client) -> None:
    run = made("prepared", training={"prediction_id": "p-1"})
    submitted(run)
    open_ledger(load_settings()).failed(f"{run.id}-1", "no data", refused=True)
    said = text(user.get(f"/runs/{run.id}/ask/resume").text)
    assert "The rehearsal goes on where it was." in said  # a paid one is asked about with its price


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        ("prepared", None, "Nothing was submitted so far. Nothing will be billed."),
        ("submitted", State.SUBMITTED, "may go on at the provider and be billed"),
        ("submitting", State.POSTING, "may go on at the provider and be billed"),
        ("submitting", State.UNKNOWN, "may go on at the provider and be billed"),
    ],
)
def test_what_giving_up_says_of_the_bill(
    status: str, state: State | None, said: str, user: httpx.Client
) -> None:
    run = made(status, training={"prediction_id": None} if state else None)
    if state:
        submitted(run, state)
    assert said in text(user.get(f"/runs/{run.id}/ask/cancel").text)


def test_giving_up_promises_nothing_between_the_ledger_and_the_record(user: httpx.Client) -> None:
    archived = made("completed", training={"prediction_id": "p-1"})
    submitted(archived)
    open_ledger(load_settings()).archived(f"{archived.id}-1")
    theirs = made("submitting", training={"prediction_id": "p-2"}, reused=True)
    for run in (archived, theirs):
        assert "may go on at the" in text(user.get(f"/runs/{run.id}/ask/cancel").text)
    with in_hand(sending := made("uploaded")):
        said = text(user.get(f"/runs/{sending.id}/ask/cancel").text)
    assert "What is being sent at this very moment may be billed." in said
    rehearsed = made("submitted", training={"prediction_id": "p-3"}, rehearsal=True)
    assert "nothing is billed" in text(user.get(f"/runs/{rehearsed.id}/ask/cancel").text)


def test_what_another_run_has_trained_is_not_archived_by_this_one(user: httpx.Client) -> None:
    run = made("archived", training={"prediction_id": "p-1"}, reused=True)
    assert actions(user.get(f"/runs/{run.id}").text) == []
