"""Whether a selection makes a training set: one person, and enough photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lora_prep.errors import DatasetTooSmall, TwoPeople
from lora_prep.model import Decision, NoteCode, Reason, ReasonCode, Selection, Verdict

__all__ = ["require_enough"]

RELAXABLE: dict[ReasonCode | NoteCode, str] = {
    ReasonCode.FACE_TOO_SMALL: "smaller crops: set dataset.min_size lower, or --framing upper-body",
    ReasonCode.CROP_TOO_SMALL: "smaller crops: set dataset.min_size lower",
    ReasonCode.BLURRED: "keep them by hand in the overrides",
    ReasonCode.TOO_DARK: "keep them by hand in the overrides",
    ReasonCode.TOO_BRIGHT: "keep them by hand in the overrides",
    ReasonCode.EXTREME_POSE: "keep them by hand in the overrides",
}
"""Gates that can be moved, and how. Who somebody is and what is a copy are no matters of degree."""

SIZE = frozenset({ReasonCode.FACE_TOO_SMALL, ReasonCode.CROP_TOO_SMALL})
"""Two sides of one gate: dataset.min_size moves both by the same share."""

LEAST_FACE_PX, LEAST_SIDE_PX = 160, 256
"""Where the settings for smaller crops end."""

NAMED = 3
"""Photos named in a message."""


def require_enough(selection: Selection) -> None:
    """Refuse a selection that shows two people, or fewer usable photos than needed.

    Raises:
        TwoPeople: a second person is in nearly as many photos as the first.
        DatasetTooSmall: it says how many are missing, why photos were left out, and which one gate
            would have to be moved how far to reach enough.
    """
    if selection.rivals:
        raise _two_people(selection)
    if len(selection.usable) < selection.needed:
        raise _too_small(selection)


def _two_people(selection: Selection) -> TwoPeople:
    first = [verdict.name for verdict in selection.usable]
    first = first or [
        verdict.name
        for verdict in selection.verdicts
        if verdict.identity_distance is not None and verdict.name not in selection.rivals
    ]
    return TwoPeople(
        f"{selection.folder} shows two people: it is not clear whose set it is.",
        why=f"One is in {_counted(first)}; another is in {_counted(selection.rivals)}.",
        fix="Say whom you mean with --reference PHOTO, a photo of that person alone, or put the "
        "other's photos elsewhere.",
    )


def _too_small(selection: Selection) -> DatasetTooSmall:
    usable, left_out = len(selection.usable), selection.having(Decision.LEFT_OUT)
    codes = Counter(verdict.reasons[0].code.value for verdict in left_out)
    counts = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    more = selection.needed - usable
    by_hand = codes[ReasonCode.OVERRIDDEN.value]
    why = f"Left out: {counts}." if counts else "There are no more photos."
    photos = "photo" if more == 1 else "photos"
    fix = (
        f"Add at least {more} sharp {photos} of the same person alone; "
        "the report shows every photo with its reason."
    )
    if by_hand >= more:
        fix = (
            f"Take back {more} of the {by_hand} decisions by hand; {selection.needed} is the floor."
        )
    elif nearest := _nearest_gate(left_out, more):
        fix = f"{fix} {nearest}"
    return DatasetTooSmall(
        f"Only {usable} of the {len(selection.verdicts)} files in {selection.folder} are usable "
        f"photos; a training needs at least {selection.needed}.",
        why=why,
        fix=fix,
    )


def _nearest_gate(left_out: Sequence[Verdict], more: int) -> str:
    """Return the one gate that, moved to which value, lets `more` photos pass; "" without one.

    Of several the one that has to be moved least, as a share of its limit.
    """
    # The light of a face has two gates under one code: their units tell them apart.
    gates: dict[tuple[str, str], list[tuple[float, str, Reason]]] = {}
    for verdict in left_out:
        reason = max(verdict.reasons, key=_missed_by)
        alone = len(verdict.reasons) == 1 or all(one.code in SIZE for one in verdict.reasons)
        if alone and reason.code in RELAXABLE and all(map(_movable, verdict.reasons)):
            size = reason.code in SIZE
            gate = ("size", "") if size else (reason.code.value, reason.unit or "")
            gates.setdefault(gate, []).append((_missed_by(reason), verdict.name, reason))
    enough = [(sorted(photos)[:more], gate) for gate, photos in gates.items()]
    possible = [(near[-1][0], gate, near) for near, gate in enough if len(near) == more]
    if not possible:
        return ""
    _, _, near = min(possible)
    last = near[-1][2]
    names = ", ".join(f"{name} ({reason.measured:g})" for _, name, reason in near[:NAMED])
    rest = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
    return (
        f"Or move one gate: {last.code.value} from {last.limit:g} to {last.measured:g} {last.unit} "
        f"would be enough ({RELAXABLE[last.code]}): {names}{rest}."
    )


def _movable(reason: Reason) -> bool:
    if reason.measured is None or not reason.limit:
        return False
    floors = {ReasonCode.FACE_TOO_SMALL: LEAST_FACE_PX, ReasonCode.CROP_TOO_SMALL: LEAST_SIDE_PX}
    return reason.measured >= next(
        (floor for code, floor in floors.items() if code == reason.code), float("-inf")
    )


def _missed_by(reason: Reason) -> float:
    """Return by which share of its limit a photo missed a gate."""
    if reason.measured is None or not reason.limit:
        return float("inf")
    return abs(reason.measured - reason.limit) / abs(reason.limit)


def _counted(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    photos = "photo" if len(names) == 1 else "photos"
    return f"{len(names)} {photos} ({shown}{', ...' if len(names) > NAMED else ''})"
