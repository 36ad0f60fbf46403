"""Numbers as people read them."""

from __future__ import annotations

from lora_prep.wording import amount, span


def test_times_are_told_in_the_two_units_that_count() -> None:
    spans = {5: "5 s", 192: "3 min 12 s", 3 * 3600 + 60: "3 h 1 min", 90_000: "1 d 1 h", -2: "0 s"}
    for seconds, words in spans.items():
        assert span(seconds) == words
    assert span(None) == "-"


def test_an_amount_is_told_in_its_unit() -> None:
    assert amount(3, 16, "items") == "3 of 16"
    assert amount(3, None, "items") == "3"
    assert amount(5_700_000, 38_400_000, "bytes") == "6 of 38 MB"
    assert amount(192, None, "s") == "3 min 12 s"
    assert amount(None, 16, "items") == ""
