"""A download ends whole or with an error that says how to go on, whatever the way does to it."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_prep.archive import Limits, download
from lora_prep.archive.download import spoken
from lora_prep.archive.part import Part
from lora_prep.errors import ArchiveError, ResultExpired
from lora_prep.events import Event
from lora_prep.guard import Guard
from tests.archive.fault_origin import (
    Close,
    Fault,
    Gzip,
    LengthOff,
    NewFile,
    PartAs200,
    Reset,
    Stall,
    Status,
    Whole,
    WrongRange,
    fault_origin,
)
from tests.origin import Answer, closed_port, origin

pytestmark = pytest.mark.slow  # servers on threads

BODY, OTHER = os.urandom(3_000_000), os.urandom(2_500_000)
QUICK = Limits(read_timeout_s=10, pause_min_s=0.01, pause_max_s=0.02)
IMPATIENT = replace(QUICK, read_timeout_s=0.4)
XML = b'<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>'
SECRET = "?X-Amz-Signature=abc"


def soon(seconds: float = 0.3) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def fetch(url: str, path: Path, **how: Any) -> None:
    sha256 = download(url + SECRET, path, **{"limits": QUICK, "deadline": soon(10), **how})
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bytes_arrive_without_the_key_and_uncompressed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY) as server:
        fetch(server.url, path)
    assert path.read_bytes() == BODY
    assert "Authorization" not in server.asked[0]
    assert server.asked[0]["Accept-Encoding"] == "identity"
    assert list(tmp_path.iterdir()) == [path]


MIDDLE = 1_000_000


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([Reset(MIDDLE)], "resumed"),
        ([Close(MIDDLE)], [None, f"bytes={MIDDLE}-"]),
        ([Stall(MIDDLE)], [None, f"bytes={MIDDLE}-"]),
        ([Close(MIDDLE), Close(MIDDLE)], [None, f"bytes={MIDDLE}-", f"bytes={2 * MIDDLE}-"]),
        ([Close(MIDDLE), Status(503)], [None, f"bytes={MIDDLE}-", f"bytes={MIDDLE}-"]),
        ([Status(429, {"Retry-After": "0"})], [None, None]),
        ([Status(503), Status(500), Status(408)], [None] * 4),
        ([Close(0)], [None, None]),
        ([Close(MIDDLE), Whole()], [None, f"bytes={MIDDLE}-"]),
        ([Close(MIDDLE), PartAs200()], [None, f"bytes={MIDDLE}-", None]),
        ([Close(MIDDLE), WrongRange()], [None, f"bytes={MIDDLE}-", None]),
        ([Gzip()], [None]),
        ([Close(MIDDLE), Status(416)], [None, f"bytes={MIDDLE}-", None]),
        ([LengthOff(500)], [None, f"bytes={len(BODY)}-", None]),
    ],
)  # fmt: skip
def test_what_breaks_is_gone_on_with(
    faults: list[Fault], ranges: list[str | None] | str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    stalls = any(isinstance(fault, Stall) for fault in faults)
    with fault_origin(BODY, *faults) as server:
        fetch(server.url, path, limits=IMPATIENT if stalls else QUICK)
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]
    if ranges == "resumed":  # how much of it came before the reset is up to the kernel
        assert len(server.ranges) == 2
    else:
        assert server.ranges == ranges


def test_a_file_that_has_changed_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY, Close(MIDDLE), NewFile(OTHER)) as server:
        fetch(server.url, path)
    assert path.read_bytes() == OTHER
    assert server.asked[1]["If-Range"].startswith('"')


def test_without_an_etag_nothing_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY, Close(MIDDLE), etag=False) as server:
        fetch(server.url, path)
    assert path.read_bytes() == BODY
    assert server.ranges == [None, None]


def test_another_process_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY, Close(MIDDLE)) as server:
        with pytest.raises(ArchiveError, match="could not be downloaded") as raised:
            fetch(server.url, path, deadline=soon(0))
        assert raised.value.retryable
        assert {entry.name for entry in tmp_path.iterdir()} == {"x.part", "x.part.json"}
        assert "Signature" not in (tmp_path / "x.part.json").read_text() + str(raised.value)
        fetch(server.url, path)
    assert path.read_bytes() == BODY
    assert server.ranges[-1] == f"bytes={MIDDLE}-"


def test_a_part_that_was_whole_already_only_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY) as server:
        fetch(server.url, path)
        path.rename(Part(path).path)
        (tmp_path / "x.part.json").write_text(f'{{"validator": "\\"e\\"", "total": {len(BODY)}}}')
        fetch(server.url, path)
    assert path.read_bytes() == BODY
    assert len(server.asked) == 1


@pytest.mark.parametrize("note", ["", "{}", '{"validator": null, "total": 9}', "[1]"])
def test_a_part_that_nobody_can_vouch_for_is_begun_anew(note: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    (tmp_path / "x.part").write_bytes(b"something")
    (tmp_path / "x.part.json").write_text(note)
    with fault_origin(BODY) as server:
        fetch(server.url, path)
    assert path.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_expires_half_way_is_asked_for_anew(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with fault_origin(BODY, Close(MIDDLE), Status(403, body=XML)) as server:
        fetch(f"{server.url}/old", path, fresh_url=lambda: f"{server.url}/new")
    assert path.read_bytes() == BODY
    assert [asked.partition("?")[0] for asked in server.paths] == ["/old", "/old", "/new"]
    assert server.ranges[2] == f"bytes={MIDDLE}-"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_is_expired_and_not_asked_again(status: int, tmp_path: Path) -> None:
    with fault_origin(BODY, Status(status)) as server, pytest.raises(ResultExpired):
        fetch(server.url, tmp_path / "x")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_links_that_are_all_dead_are_given_up_for_now(tmp_path: Path) -> None:
    with origin(Answer(404)) as server, pytest.raises(ArchiveError, match="are dead") as raised:
        fetch(server.url, tmp_path / "x", fresh_url=lambda: server.url)
    assert raised.value.code == "archive_failed"
    assert len(server.requests) == QUICK.dead_links


@pytest.mark.parametrize("fault", [Close(10), Status(503), Stall(10)])
def test_what_never_comes_ends_at_the_deadline(fault: Fault, tmp_path: Path) -> None:
    told: list[Event] = []
    with fault_origin(BODY, *[fault] * 200) as server, pytest.raises(ArchiveError) as raised:
        fetch(
            server.url,
            tmp_path / "x",
            limits=IMPATIENT,
            deadline=soon(1.5),
            on_event=told.append,
        )
    assert not (tmp_path / "x").exists()
    assert raised.value.retryable
    assert any("0 h 0 min are left" in event.message for event in told)
    assert not any("Signature" in event.message for event in told)
    assert "Signature" not in str(raised.value)


def test_no_server_is_an_archive_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        fetch(f"http://127.0.0.1:{closed_port()}", tmp_path / "x", deadline=soon())


@pytest.mark.parametrize("body", [None, b"y" * 1_500_000])
def test_a_file_that_is_too_large_is_stopped(body: bytes | None, tmp_path: Path) -> None:
    small = replace(QUICK, max_bytes=1_000_000)
    faults = [Gzip()] if body else []  # then the length is not known beforehand
    with fault_origin(body or BODY, *faults) as server:
        with pytest.raises(ArchiveError, match="too large"):
            fetch(server.url, tmp_path / "x", limits=small)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_seen_before_it_is_full(tmp_path: Path) -> None:
    choosy = replace(QUICK, spare_bytes=1 << 60)
    with fault_origin(BODY) as server, pytest.raises(ArchiveError, match="no room"):
        fetch(server.url, tmp_path / "x", limits=choosy)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/x", "http://[x", "file:///etc/passwd", "http://127.0.0.1:99999/"]
)
def test_what_is_no_link_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        download(url, tmp_path / "x", limits=QUICK, deadline=soon())


def test_a_hosted_trainer_cannot_make_us_look_into_our_own_network(tmp_path: Path) -> None:
    closed = Guard(closed=True)
    with fault_origin(BODY) as server, pytest.raises(ArchiveError, match="may not be followed"):
        fetch(server.url, tmp_path / "x", guard=closed)
    assert server.asked == []


def test_nor_by_a_redirect_and_not_for_ever(tmp_path: Path) -> None:
    def names(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        address = "127.0.0.2" if host == "127.0.0.2" else "127.0.0.1"
        return [ipaddress.ip_address(address)]

    guard = Guard(closed=True, look_up=names, allowed=lambda one: str(one) == "127.0.0.1")
    with fault_origin(BODY) as server:
        port = server.url.rpartition(":")[2]
        server.faults = [Status(302, {"Location": f"http://127.0.0.2:{port}/"})]
        with pytest.raises(ArchiveError, match="may not be followed"):
            fetch(f"http://lora.test:{port}", tmp_path / "x", guard=guard)
        assert len(server.asked) == 1
        server.faults = [Status(302, {"Location": f"http://other.test:{port}/"})]
        fetch(f"http://lora.test:{port}", tmp_path / "x", guard=guard)
        server.faults = [Status(302, {"Location": "/again"})] * 9
        with pytest.raises(ArchiveError, match="could not be downloaded"):
            fetch(f"http://lora.test:{port}", tmp_path / "y", guard=guard)
    assert (tmp_path / "x").read_bytes() == BODY


def test_the_host_that_the_user_named_may_be_anywhere(tmp_path: Path) -> None:
    guard = Guard(closed=True, trusted="127.0.0.1")
    with fault_origin(BODY) as server:
        fetch(server.url, tmp_path / "x", guard=guard)
    assert (tmp_path / "x").read_bytes() == BODY


def test_behind_a_proxy_an_address_that_is_written_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(closed=True, proxies=True)
    with origin(Answer(200, BODY)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        fetch("http://lora.test/x", tmp_path / "x", guard=guard)  # the proxy looks it up
        for host in ("10.0.0.1", "169.254.169.254", "[::1]"):
            with pytest.raises(ArchiveError, match="may not be followed"):
                fetch(f"http://{host}/x", tmp_path / "y", guard=guard)
    assert (tmp_path / "x").read_bytes() == BODY
    assert len(proxy.requests) == 1


def test_a_time_is_spoken_in_the_units_that_count() -> None:
    assert spoken(timedelta(days=6, hours=3, minutes=59)) == "6 d 3 h"
    assert spoken(timedelta(hours=5, minutes=7)) == "5 h 7 min"
    assert spoken(timedelta(seconds=-3)) == "0 h 0 min"
