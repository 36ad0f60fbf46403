"""Duplicates, the best N, and the rule of at least ten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lora_prep.errors import DatasetTooSmall
from lora_prep.model import Decision, Finding, Reason, ReasonCode, Selection, Verdict

__all__ = ["require_enough", "select_photos"]


def select_photos(
    folder: Path, findings: Sequence[Finding], *, needed: int, at_most: int
) -> Selection:
    """Return a verdict for every finding, in the same order; the same findings, the same verdicts.

    Of identical files the first by name stays. When more than `at_most` photos are usable, those
    with the largest faces are kept and the rest are spare. When fewer than `needed` are usable
    nothing is kept: they are all spare.
    """
    first_with: dict[str, str] = {}
    usable: list[Finding] = []
    verdicts: dict[str, Verdict] = {}
    for finding in sorted(findings, key=lambda finding: finding.name):
        if not finding.usable or finding.photo is None:
            verdicts[finding.name] = _verdict(finding, Decision.LEFT_OUT, *finding.reasons)
        elif (first := first_with.setdefault(finding.photo.sha256, finding.name)) != finding.name:
            twin = Reason(ReasonCode.DUPLICATE, f"The same file as {first}.")
            verdicts[finding.name] = _verdict(finding, Decision.LEFT_OUT, twin)
        else:
            usable.append(finding)
    best = sorted(usable, key=lambda finding: (-_face_px(finding), finding.name))
    keep = best[:at_most] if len(usable) >= needed else []
    for finding in usable:
        if finding in keep:
            verdicts[finding.name] = _verdict(finding, Decision.KEPT)
        elif keep:
            spare = Reason(
                ReasonCode.NOT_CHOSEN,
                f"Usable, but {at_most} photos with larger faces were kept.",
                round(_face_px(finding)),
                round(_face_px(keep[-1])),
                "px high",
            )
            verdicts[finding.name] = _verdict(finding, Decision.SPARE, spare)
        else:
            verdicts[finding.name] = _verdict(finding, Decision.SPARE)
    return Selection(folder, needed, tuple(verdicts[finding.name] for finding in findings))


def require_enough(selection: Selection) -> None:
    """Refuse a selection with fewer usable photos than needed.

    Raises:
        DatasetTooSmall: it says how many are missing and why photos were left out.
    """
    usable = len(selection.usable)
    if usable >= selection.needed:
        return
    codes = Counter(
        verdict.reasons[0].code.value for verdict in selection.having(Decision.LEFT_OUT)
    )
    left_out = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    more = selection.needed - usable
    photos = "photo" if more == 1 else "photos"
    raise DatasetTooSmall(
        f"Only {usable} of the {len(selection.verdicts)} files in {selection.folder} are usable "
        f"photos; a training needs at least {selection.needed}.",
        why=f"Left out: {left_out}." if left_out else "There are no more photos.",
        fix=f"Add at least {more} sharp {photos} of the same person alone; "
        "the report shows every photo with its reason.",
    )


def _face_px(finding: Finding) -> float:
    return finding.face.box.height if finding.face else 0.0


def _verdict(finding: Finding, decision: Decision, *reasons: Reason) -> Verdict:
    return Verdict(finding.name, decision, reasons, finding.photo, finding.face)
