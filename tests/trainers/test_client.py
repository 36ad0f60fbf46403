"""The paid request is sent once; what could have been accepted is never called refused."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from dataclasses import replace

import pytest

from lora_prep.errors import (
    ConfigurationError,
    CredentialsError,
    DatasetNotFetched,
    LoraPrepError,
    NoOutputs,
    ResultExpired,
    SubmissionUnknown,
    TemporaryError,
    TooManyRequests,
    TrainingFailed,
)
from lora_prep.events import Event
from lora_prep.model import Prediction, PredictionStatus, TrainingRequest
from lora_prep.trainers import (
    WAN_14B_TRAINER,
    Pace,
    TrainerClient,
    wait_for_end,
)
from lora_prep.trainers.responses import parse_prediction
from tests.origin import Answer, closed_port, envelope, origin

pytestmark = pytest.mark.slow  # servers on threads

KEY = "wsk-very-secret"
SECRET_QUERY = "X-Amz-Signature=abcdef0123456789"
REQUEST = TrainingRequest(
    WAN_14B_TRAINER, f"http://127.0.0.1:9/b/set.zip?{SECRET_QUERY}", "p3r5on", 2000
)
PACE = Pace(min_s=0.01, max_s=0.02, wait_s=5, fresh_s=0)
FRESH = envelope(id="abc", status="created")


def test_submit_is_one_post_with_exactly_the_documented_body() -> None:
    with origin(FRESH) as server, TrainerClient(server.url, f" {KEY}\n") as client:
        prediction = client.submit(REQUEST)
    assert prediction == Prediction(id="abc", model="", status=PredictionStatus.CREATED)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v3/wavespeed-ai/wan-14b-trainer")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert json.loads(request.body) == {
        "data": REQUEST.data_url,
        "trigger_word": "p3r5on",
        "steps": 2000,
    }


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(drop=True), SubmissionUnknown),
        (Answer(500), SubmissionUnknown),
        (Answer(502, b"<html>bad gateway</html>"), SubmissionUnknown),
        (Answer(502, b'{"code": 400, "message": "no answer from the trainer"}'), SubmissionUnknown),
        (Answer(504, b'{"code": 429, "message": "timed out"}'), SubmissionUnknown),
        (Answer(200, b"<html>hello</html>"), SubmissionUnknown),
        (Answer(200, b"{}"), SubmissionUnknown),
        (Answer(200, b'{"code": 200, "data": null}'), SubmissionUnknown),
        (Answer(200, b'{"code": 200, "data": {"id": ""}}'), SubmissionUnknown),
        (envelope(envelope_code=500, id="abc"), SubmissionUnknown),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), SubmissionUnknown),
        (envelope(400), ConfigurationError),
        (envelope(401), CredentialsError),
        (envelope(402), CredentialsError),
        (envelope(403), CredentialsError),
        (Answer(408), TemporaryError),
        (Answer(429, b"<html>slow down</html>"), TooManyRequests),
        (envelope(envelope_code=400), ConfigurationError),
        (envelope(envelope_code=429), TooManyRequests),
    ],
)
def test_every_failure_of_a_submission_is_told_apart_and_sent_once(
    answer: Answer, error: type[LoraPrepError]
) -> None:
    with origin(answer, FRESH) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(error) as raised:
            client.submit(REQUEST)
    assert type(raised.value) is error
    assert len(server.requests) == 1


def test_a_lost_answer_after_a_read_time_out_is_unknown() -> None:
    answer = Answer(200, b"", {"Content-Length": "100"}, cut=100)
    with origin(answer) as server:
        with TrainerClient(server.url, KEY, submit_timeout_s=0.3) as client:
            with pytest.raises(SubmissionUnknown):
                client.submit(REQUEST)
    assert len(server.requests) == 1


def test_no_connection_is_surely_not_submitted() -> None:
    with TrainerClient(f"http://127.0.0.1:{closed_port()}", KEY) as client:
        with pytest.raises(TemporaryError):
            client.submit(REQUEST)


def test_no_error_shows_the_key_or_the_data_url() -> None:
    words = f"cannot fetch {REQUEST.data_url} with Bearer {KEY}"
    body = json.dumps({"code": 400, "message": words}).encode()
    for answer in (Answer(400, body), Answer(200, body), Answer(403, body)):
        with origin(answer) as server, TrainerClient(server.url, KEY) as client:
            with pytest.raises(LoraPrepError) as raised:
                client.submit(REQUEST)
        assert KEY not in str(raised.value)
        assert SECRET_QUERY not in str(raised.value)
    assert SECRET_QUERY not in repr(REQUEST)


def test_waiting_survives_every_hiccup_and_unknown_states() -> None:
    answers = [
        Answer(drop=True),
        Answer(503),
        Answer(429),
        Answer(200, b"<html>"),
        envelope(404),
        envelope(id="abc", status="created"),
        envelope(id="abc", status="queued-on-mars"),
        envelope(id="abc", status="processing", outputs=None),
        envelope(id="abc", status="completed", outputs=["http://127.0.0.1:9/lora"]),
    ]
    with origin(*answers) as server, TrainerClient(server.url, KEY) as client:
        prediction = wait_for_end(client, "abc", replace(PACE, fresh_s=5))
    assert prediction.outputs == ("http://127.0.0.1:9/lora",)
    assert len(server.requests) == len(answers)
    assert {request.path for request in server.requests} == {"/api/v3/predictions/abc/result"}


def test_the_wait_says_how_long_it_usually_takes_and_heeds_retry_after() -> None:
    said: list[Event] = []
    answers = [
        Answer(429, b"{}", {"Retry-After": "0.3"}),
        envelope(id="abc", status="processing"),
        envelope(id="abc", status="completed", outputs=["http://127.0.0.1:9/lora"]),
    ]
    began = time.monotonic()
    with origin(*answers) as server, TrainerClient(server.url, KEY) as client:
        wait_for_end(client, "abc", PACE, said.append, expected_s=480)
    assert time.monotonic() - began >= 0.27
    assert [event.message for event in said][1:] == ["processing, usually 8 min"]
    assert all(event.total is None for event in said), "no percentage is invented"


def test_a_result_is_asked_for_where_the_provider_says_if_that_is_itself() -> None:
    missing, found = envelope(404), envelope(id="abc", status="completed", outputs=["u"])
    with origin() as server:
        link = f"{server.url}/api/v3/elsewhere/abc?x=1"
        server.answers[:] = [envelope(id="abc", urls={"get": link}), missing, found]
        with TrainerClient(server.url, KEY) as client:
            client.submit(REQUEST)
            assert client.result("abc").outputs == ("u",)
        assert server.requests[-1].path == "/api/v3/elsewhere/abc?x=1"


def test_the_key_goes_to_no_other_origin() -> None:
    with origin(envelope(id="stolen")) as thief, origin() as server:
        moved = Answer(307, headers={"Location": f"{thief.url}/api/v3/predictions/abc/result"})
        link = f"{thief.url}/api/v3/predictions/abc"
        server.answers[:] = [envelope(id="abc", urls={"get": link}), envelope(404), moved]
        with TrainerClient(server.url, KEY) as client:
            client.submit(REQUEST)
            with pytest.raises(ResultExpired):
                client.result("abc")
            for ask in (lambda: client.result("abc"), client.models):
                with pytest.raises(TemporaryError):
                    ask()
            with pytest.raises(SubmissionUnknown):
                client.submit(REQUEST)
    assert thief.requests == []


def test_a_time_out_at_the_provider_is_asked_about_once_more() -> None:
    late = envelope(id="abc", status="failed", code=5004)
    done = envelope(id="abc", status="completed", outputs=["u"])
    with origin(late, done) as server, TrainerClient(server.url, KEY) as client:
        assert wait_for_end(client, "abc", PACE).outputs == ("u",)
    with origin(late) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(TrainingFailed, match="5004"):
            wait_for_end(client, "abc", PACE)
    assert len(server.requests) == 2


def test_a_data_url_that_could_not_be_fetched_is_an_error_of_its_own() -> None:
    failed = envelope(id="abc", status="failed", error="cannot fetch", code=1402)
    with origin(failed) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(DatasetNotFetched):
            wait_for_end(client, "abc", PACE)


@pytest.mark.parametrize("status", ["failed", "cancelled", "canceled", "timeout", "deleted"])
def test_every_terminal_state_ends_the_wait_with_the_provider_s_words(status: str) -> None:
    ended = envelope(id="abc", status=status, error=f"no: http://x/y?{SECRET_QUERY}", code=1402)
    with origin(ended) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(TrainingFailed) as raised:
            wait_for_end(client, "abc", PACE)
    assert "1402" in raised.value.why
    assert SECRET_QUERY not in raised.value.why


def test_completed_without_a_file_is_no_result() -> None:
    with origin(envelope(id="abc", status="completed", outputs=[])) as server:
        with TrainerClient(server.url, KEY) as client, pytest.raises(NoOutputs):
            wait_for_end(client, "abc", PACE)


def test_the_wait_ends_and_says_how_to_go_on() -> None:
    with origin(envelope(id="abc", status="processing")) as server:
        with TrainerClient(server.url, KEY) as client, pytest.raises(TemporaryError) as raised:
            wait_for_end(client, "abc", Pace(0.01, 0.02, 0.1))
    assert "lora-prep archive abc" in raised.value.fix


def test_an_id_that_stays_unknown_is_gone() -> None:
    with origin(envelope(404)) as server, TrainerClient(server.url, KEY) as client:
        with pytest.raises(ResultExpired):
            wait_for_end(client, "../a b", PACE)
        with pytest.raises(ResultExpired):
            wait_for_end(client, "abc", replace(PACE, fresh_s=0.1))
    assert server.requests[0].path == "/api/v3/predictions/..%2Fa%20b/result"


def test_an_id_that_is_missed_for_a_moment_is_not_gone() -> None:
    """However long it was known: calling it gone would allow a second payment."""
    running = envelope(id="abc", status="processing")
    done = envelope(id="abc", status="completed", outputs=["http://127.0.0.1:9/lora"])
    answers = [running] * 30 + [envelope(404), running, envelope(404), done]
    with origin(*answers) as server, TrainerClient(server.url, KEY) as client:
        assert wait_for_end(client, "abc", replace(PACE, fresh_s=0.1)).outputs
    assert len(server.requests) == len(answers)


def test_nanoseconds_are_understood() -> None:
    data = {"id": "a", "created_at": "2026-01-02T03:04:05.123456789Z"}
    when = parse_prediction({"code": 200, "data": data}).created_at
    assert when is not None
    assert when.isoformat() == "2026-01-02T03:04:05.123456+00:00"


def test_an_interruption_while_the_request_is_on_its_way_is_unknown_too() -> None:
    main = threading.main_thread().ident
    assert main is not None
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ctrl_c = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
        with TrainerClient(url, KEY) as client:
            ctrl_c.start()
            with pytest.raises(SubmissionUnknown):
                client.submit(REQUEST)
