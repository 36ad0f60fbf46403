"""The error tree: drawn in the module's head, and as it really is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lora_prep import errors
from lora_prep.errors import LoraPrepError

LINE = re.compile(r"^(?P<indent> {4}[ │├└─]*)(?P<name>[A-Z]\w+) +(?P<code>\w+) +(?P<exit>\w+)$")


def drawn() -> dict[str, tuple[str | None, str]]:
    """Each class in the drawing with its parent and its code; the first line is the heading."""
    tree: dict[str, tuple[str | None, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if not (match := LINE.match(line)):
            continue
        indent = len(match["indent"])
        while above and above[-1][0] >= indent:
            above.pop()
        tree[match["name"]] = (above[-1][1] if above else None, match["code"])
        above.append((indent, match["name"]))
    return tree


def family(parent: type[LoraPrepError]) -> Iterator[type[LoraPrepError]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("lora_prep"):
            yield child
            yield from family(child)


def test_the_drawing_is_the_real_tree() -> None:
    tree = drawn()
    assert tree.pop("LoraPrepError")[0] is None

    assert tree == {
        child.__name__: (child.__base__.__name__, child.code) for child in family(LoraPrepError)
    }


def test_the_exit_statuses_in_the_drawing_are_numbers() -> None:
    matches = [LINE.match(line) for line in (errors.__doc__ or "").splitlines()]
    statuses = [match["exit"] for match in matches if match][1:]

    assert len(statuses) == len(drawn()) - 1
    assert all(0 < int(status) < 128 for status in statuses)


def test_every_error_is_exported_and_lives_in_this_module() -> None:
    names = {LoraPrepError.__name__, *(child.__name__ for child in family(LoraPrepError))}

    assert set(errors.__all__) == names | {"error_of", "unforeseen"}
    assert errors.__all__ == sorted(errors.__all__)


def test_every_error_comes_back_from_its_json() -> None:
    for kind in (LoraPrepError, *family(LoraPrepError)):
        told = errors.error_of(kind("What.", why="Why.", fix="Fix.").to_json())
        assert type(told) is kind
        assert (told.what, told.why, told.fix) == ("What.", "Why.", "Fix.")
    unknown = {"code": "of_tomorrow", "message": "What.", "why": "Why.", "fix": "Fix."}
    assert type(errors.error_of(unknown)) is LoraPrepError


def test_every_class_has_its_own_code() -> None:
    classes = [LoraPrepError, *family(LoraPrepError)]
    codes = [one.code for one in classes]

    assert len(set(codes)) == len(codes)
    assert all("code" in vars(one) for one in classes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_every_error_says_what_why_and_what_to_do() -> None:
    for one in [LoraPrepError, *family(LoraPrepError)]:
        error = one("It rained.", why="The sky was grey.", fix="Take an umbrella.")

        more = {"candidates": []} if one is errors.NeedsAttention else {}
        assert error.to_json() == {
            "code": one.code,
            "message": "It rained.",
            "why": "The sky was grey.",
            "fix": "Take an umbrella.",
            "retryable": one.retryable,
            **more,
        }
        assert str(error) == f"It rained. The sky was grey. Take an umbrella. [{one.code}]"
        assert one.__doc__


def test_what_may_have_been_paid_is_never_offered_for_another_try() -> None:
    assert errors.TemporaryError.retryable
    assert errors.StorageError.retryable
    assert not errors.SubmissionUnknown.retryable
    assert not errors.ResultExpired.retryable
    assert not errors.Declined.retryable
