"""What the provider's list can tell of a lost submission, and what it cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lora_prep.trainers import (
    Absent,
    Candidates,
    Cannot,
    Found,
    Ledger,
    Location,
    Released,
    State,
    Submission,
    Unknown,
    look_for,
    reconcile,
)
from tests.trainers.provider import (
    WAITS,
    Provider,
    client_of,
    intent_of,
    ledger_in,
    provider,
    request_of,
)

pytestmark = pytest.mark.slow  # servers on threads


@pytest.fixture
def served() -> Iterator[Provider]:
    with provider() as served:
        yield served


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return ledger_in(tmp_path)


def lost(ledger: Ledger, served: Provider) -> Submission:
    claim = ledger.claim(intent_of(served.url))
    ledger.unsure(claim, "reset")  # type: ignore[arg-type]
    outcome = ledger.claim(intent_of(served.url))
    assert isinstance(outcome, Unknown)
    return outcome.submission


def accept(served: Provider, data: str = "https://x.test/other.zip", **more: object) -> None:
    served.accept(intent_of("").model, {"data": data}).update(more)


@pytest.mark.parametrize("page_limit", [1, 7, 100])
@pytest.mark.parametrize("place", [0, 5, 12])
def test_ours_is_found_on_every_page(
    served: Provider, ledger: Ledger, page_limit: int, place: int
) -> None:
    submission = lost(ledger, served)
    served.page_limit = page_limit
    for number in range(13):
        accept(served)
        if number == place:
            accept(served, request_of(submission.intent).data_url.replace("topsecret", "other"))
    with client_of(served.url) as client:
        found = look_for(ledger, client, submission)
    assert found == Found(f"task{place + 1:04}")
    assert served.asked[0]["include_inputs"] is True
    assert served.asked[0]["created_after"].endswith("Z")


@pytest.mark.parametrize("inputs", ["refused", "hidden"])
def test_without_inputs_only_candidates_are_left(
    served: Provider, ledger: Ledger, inputs: str
) -> None:
    submission = lost(ledger, served)
    served.inputs = inputs
    with client_of(served.url) as client:
        assert look_for(ledger, client, submission) == Absent()
        accept(served)
        accept(served, model="wavespeed-ai/another")
        accept(served, model="wan-14b-trainer")
        accept(served, created_at="2001-01-01T00:00:00Z")
        accept(served, model="", created_at=None)
        assert look_for(ledger, client, submission) == Candidates(
            ("task0004", "task0002", "task0000")
        )


def test_two_with_our_data_are_for_their_owner(served: Provider, ledger: Ledger) -> None:
    submission = lost(ledger, served)
    for _ in range(2):
        accept(served, request_of(submission.intent).data_url)
    with client_of(served.url) as client:
        assert look_for(ledger, client, submission) == Candidates(("task0001", "task0000"))


def test_a_late_task_is_found_before_it_is_given_up(served: Provider, ledger: Ledger) -> None:
    submission = lost(ledger, served)
    accept(served, request_of(submission.intent).data_url)
    served.lag = 1
    with client_of(served.url) as client:
        seen = reconcile(ledger, client, submission, WAITS, lambda _: setattr(served, "lag", 0))
    assert seen == Found("task0000")


def test_it_is_released_only_when_the_time_is_over(served: Provider, ledger: Ledger) -> None:
    submission = lost(ledger, served)
    with client_of(served.url) as client:
        assert reconcile(ledger, client, submission, WAITS) == Released()
    assert len(served.asked) > 3
    assert "created_after" not in served.asked[0], "the trainer's clock is not relied on"


@pytest.mark.parametrize("why", ["another key", "another port", "too old", "not over"])
def test_absence_from_a_consistent_list_is_not_always_proof(
    served: Provider, ledger: Ledger, why: str
) -> None:
    submission = lost(ledger, served)
    with client_of(served.url) as client:
        match why:
            case "another key":
                intent = replace(submission.intent, account="another")
                submission = replace(submission, intent=intent)
            case "another port":
                intent = replace(submission.intent, origin="http://127.0.0.1:9")
                submission = replace(submission, intent=intent)
            case "too old":
                submission = replace(submission, posted_at=submission.posted_at - timedelta(7))
            case "not over":
                elsewhere = replace(submission.claimer, host="another")
                submission = replace(submission, state=State.POSTING, claimer=elsewhere)
        assert reconcile(ledger, client, submission, WAITS) == Absent()
    assert isinstance(ledger.claim(submission.intent), Unknown)


def test_a_page_that_makes_no_sense_proves_nothing(served: Provider, ledger: Ledger) -> None:
    submission = lost(ledger, served)
    accept(served)
    served.accepted[0]["id"] = None
    with client_of(served.url) as client:
        assert isinstance(reconcile(ledger, client, submission, WAITS), Cannot)
    assert isinstance(ledger.claim(submission.intent), Unknown)


@pytest.mark.parametrize(
    ("url", "there"),
    [
        ("https://s3.test/photos/a/b.zip?X-Amz-Signature=1", True),
        ("http://127.0.0.1:1/photos/a/b.zip", True),
        ("https://photos.s3.eu-west-1.amazonaws.com/a/b.zip?x", True),
        ("https://s3.test/photos/a%2Fb.zip", True),
        ("https://s3.test/a/b.zip", False),
        ("https://s3.test/photos/a/b.zip/c", False),
        ("https://s3.test/other/a/b.zip", False),
        ("https://x.test/?u=/photos/a/b.zip", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_bucket_and_key_are_compared_and_nothing_else(url: str, there: bool) -> None:
    assert Location("photos", "a/b.zip").is_at(url) is there


def test_a_link_that_is_a_secret_is_told_by_a_hash() -> None:
    url = "https://uploads.test/u/7f3a%20b/data.zip"
    location = Location.hidden_of_url(url)
    digest = hashlib.sha256(b"u/7f3a b/data.zip").hexdigest()
    assert location == Location("", f"sha256:{digest}")
    assert location.is_at(f"{url}?more")
    assert location.is_at("https://cdn.test/u/7f3a b/data.zip")
    for other in ("https://uploads.test/u/other/data.zip", f"https://x.test/{location.key}", ""):
        assert not location.is_at(other)
    assert not Location.hidden_of_url("https://x.test/").is_at("https://x.test/")


def test_a_lost_submission_is_found_by_its_hidden_link(served: Provider, ledger: Ledger) -> None:
    url = "https://uploads.test/u/7f3a/data.zip"
    location = Location.hidden_of_url(url)
    intent = replace(intent_of(served.url), bucket=location.bucket, object_key=location.key)
    claim = ledger.claim(intent)
    ledger.unsure(claim, "reset")  # type: ignore[arg-type]
    accept(served, "https://uploads.test/u/0000/data.zip")
    accept(served, url)
    row = ledger.get(intent.key)
    assert row
    assert "7f3a" not in str(row), "the link opens the photos: it is not kept"
    with client_of(served.url) as client:
        assert reconcile(ledger, client, row, WAITS) == Found("task0001")


def test_a_file_in_no_bucket_is_told_by_its_path() -> None:
    location = Location.of_url("https://x.test/a/my%20set.zip?token=1")
    assert location == Location("", "a/my set.zip")
    assert location.is_at("https://cdn.test/a/my%20set.zip")
    assert not location.is_at("https://cdn.test/b/my%20set.zip")
    assert not Location("", "").is_at("https://x.test/")
