"""Things done side by side come back in their order; the first that fails ends it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import BrokenExecutor

import hypothesis
import pytest
from hypothesis import strategies as st

from lora_prep.workers import core_count, free_memory, side_by_side
from tests.sample import examples


@examples(40)
@hypothesis.given(st.lists(st.integers(), max_size=30), st.integers(0, 5))
def test_the_results_are_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    assert side_by_side(lambda item: item * 2, items, workers=workers) == [
        item * 2 for item in items
    ]


def test_the_order_is_kept_when_the_first_is_the_slowest() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.1 if item == 0 else 0)
        return item

    assert side_by_side(slow_first, range(6), workers=3) == list(range(6))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_as_asked_for_are_busy_at_once(workers: int) -> None:
    together = threading.Barrier(workers, timeout=20)

    side_by_side(lambda _: together.wait(), range(2 * workers), workers=workers)


def test_no_more_than_asked_for_are_busy_at_once() -> None:
    lock, busy, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1

    side_by_side(work, range(12), workers=2)

    assert most == 2


def test_without_a_number_there_is_one_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_prep.workers.core_count", lambda: 3)
    together = threading.Barrier(3, timeout=20)

    side_by_side(lambda _: together.wait(), range(3))

    assert core_count() >= 1


def test_it_is_told_how_many_are_done_where_it_was_called() -> None:
    told: list[tuple[int, threading.Thread]] = []

    side_by_side(
        lambda item: item,
        range(5),
        workers=3,
        on_done=lambda done: told.append((done, threading.current_thread())),
    )

    assert told == [(done, threading.current_thread()) for done in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("fault", [ValueError, KeyError, BrokenExecutor])
def test_the_first_that_fails_ends_it(fault: type[Exception]) -> None:
    begun: list[int] = []
    told: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise fault("the third")
        time.sleep(0.01)
        return item

    with pytest.raises(fault, match="the third"):
        side_by_side(work, range(200), workers=2, on_done=told.append)

    assert len(begun) < 100  # what had not begun was not begun
    assert told == sorted(told)
    assert threading.active_count() == len(threading.enumerate())


def test_what_is_in_hand_is_finished_before_it_ends() -> None:
    finished = []
    begun = threading.Event()

    def work(item: int) -> None:
        if item == 0:
            begun.set()
            time.sleep(0.1)
            finished.append(item)
        else:
            begun.wait(20)
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        side_by_side(work, range(2), workers=2)

    assert finished == [0]


def test_ctrl_c_waits_for_what_is_in_hand_only() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(200), workers=2, on_done=interrupt)

    assert len(begun) < 100
    before = len(begun)
    time.sleep(0.05)
    assert len(begun) == before


def test_ctrl_c_in_one_of_them_ends_all() -> None:
    def work(item: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(3), workers=2)


def test_a_listener_that_fails_ends_it() -> None:
    def refuse(done: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        side_by_side(lambda item: item, range(50), workers=2, on_done=refuse)


def test_nothing_to_do_is_done() -> None:
    assert side_by_side(lambda item: item, [], workers=4) == []


def test_memory_is_freed_and_used_again() -> None:
    before = bytearray(1000)

    free_memory()

    assert before == bytearray(1000)
