"""How good the verdicts are on the sample people: a confusion table, and the distances behind it.

Promise: every good photo of a person is usable, every reject is left out for its own reason, no
stranger gets in. The right answers are those of sample_data/README.md.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from lora_prep.faces import OPEN_PACK, FaceAnalyser
from lora_prep.framing import smallest_face_px
from lora_prep.inspection import Limits, inspect_photos
from lora_prep.model import Decision, Finding, Framing, Selection
from lora_prep.photos import FoundFile, find_photos
from lora_prep.selection import Identity, Wanted, select_photos

SAMPLE_DATA = Path(__file__).parents[1] / "sample_data"
LIMITS = Limits(smallest_face_px(512, Framing.HEAD_AND_SHOULDERS), 512)
IDENTITY = Identity(OPEN_PACK.metric, OPEN_PACK.cut)
USABLE = "usable"

EXPECTED = {
    "two_people.jpg": USABLE,
    "no_face_landscape.jpg": "no_face",
    "no_face_mug.jpg": "no_face",
    "half_covered_profile.jpg": "no_face",
    "heavy_blur.jpg": "blurred",
    "far_away.jpg": "face_too_small",
    "very_dark.jpg": "too_dark",
    "exact_duplicate_of_ada_02.jpg": "duplicate",
    "near_duplicate_of_ada_02.jpg": "near_duplicate",
    "truncated.jpg": "unreadable",
    "not_an_image.jpg": "not_an_image",
}


def expected(name: str, person: str) -> str:
    """Return the right answer for a photo in a person's folder."""
    return EXPECTED.get(name, USABLE if name.startswith(person) else "other_person")


def found(selection: Selection) -> dict[str, str]:
    """Return the answer that was given for each photo."""
    return {
        verdict.name: verdict.reasons[0].code.value
        if verdict.decision is Decision.LEFT_OUT
        else USABLE
        for verdict in selection.verdicts
    }


def case(
    person: str, folders: dict[str, list[FoundFile]], analyser: FaceAnalyser
) -> tuple[Counter[tuple[str, str]], tuple[Finding, ...]]:
    """Count (right, given) answers for a person with the rejects and three strangers."""
    other = next(name for name in folders if name not in {person, "rejects"})
    files = [*folders[person], *folders["rejects"][: None if person == "ada" else 0]]
    files += folders[other][1:9:3]
    findings = inspect_photos(files, analyser, LIMITS)
    wanted = Wanted(needed=10, at_most=30, identity=IDENTITY)
    answers = found(select_photos(Path(tempfile.gettempdir()), findings, wanted))
    return Counter((expected(name, person), given) for name, given in answers.items()), findings


def distances(findings: tuple[Finding, ...]) -> dict[str, list[float]]:
    """Return all distances between the single faces of good photos, by who they are of."""
    faces = {
        finding.name: finding.faces[0].face.embedding
        for finding in findings
        if len(finding.faces) == 1
        and finding.name[:3] in {"ada", "ben"}
        and finding.faces[0].face.embedding
    }
    pairs: dict[str, list[float]] = {}
    for (one, vector), (other, second) in itertools.combinations(sorted(faces.items()), 2):
        who = f"{one[:3]} - {other[:3]}"
        pairs.setdefault(who, []).append(math.dist(vector, second))
    return pairs


def main() -> int:
    analyser = FaceAnalyser()
    folders = {
        "ada": list(find_photos(SAMPLE_DATA / "people/ada")),
        "ben": list(find_photos(SAMPLE_DATA / "people/ben")),
        "rejects": list(find_photos(SAMPLE_DATA / "rejects")),
    }
    counts: Counter[tuple[str, str]] = Counter()
    for person in ("ada", "ben"):
        counts += case(person, folders, analyser)[0]
    labels = sorted({label for pair in counts for label in pair})
    print(f"{'right answer':<16}{''.join(f'{label:>16}' for label in labels)}")
    for right in labels:
        row = "".join(f"{counts[right, given] or '.':>16}" for given in labels)
        print(f"{right:<16}{row}")
    wrong = sum(count for (right, given), count in counts.items() if right != given)
    print(f"{sum(counts.values())} verdicts, {wrong} wrong; promise: none\n")
    everybody = inspect_photos([*folders["ada"], *folders["ben"]], analyser, LIMITS)
    print(f"{'distance':<12}{'pairs':>7}{'least':>8}{'median':>8}{'most':>8}   cut {IDENTITY.cut}")
    for who, values in sorted(distances(everybody).items()):
        numbers = f"{min(values):>8.3f}{statistics.median(values):>8.3f}{max(values):>8.3f}"
        print(f"{who:<12}{len(values):>7}{numbers}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
