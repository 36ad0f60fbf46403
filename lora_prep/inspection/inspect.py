"""One finding per file: the photo, its face, and every reason against it.

A photo that is left out is a finding with its measured number and its limit, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_prep.events import Event, Listener, ignore
from lora_prep.faces.analyser import ANALYSIS_SIDE_PX, scaled
from lora_prep.inspection.measures import measure_face
from lora_prep.inspection.thresholds import (
    CLIPPED_MOST,
    LUMA_LEAST,
    LUMA_MOST,
    SHARPNESS_LEAST,
    YAW_MOST_DEG,
    Limits,
)
from lora_prep.model import Face, Finding, Measures, Photo, Reason, ReasonCode
from lora_prep.photos import FoundFile, UnreadablePhoto, open_upright, read_photo

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["inspect_photos"]

LUMA_MIDDLE = 128


def inspect_photos(
    files: Sequence[FoundFile],
    analyse: Callable[[Image.Image], tuple[Face, ...]],
    limits: Limits,
    on_event: Listener = ignore,
) -> tuple[Finding, ...]:
    """Return one finding per file, in the same order.

    `analyse` takes an upright RGB picture and returns its faces, the largest first
    (`FaceAnalyser.analyse`).
    """
    findings = []
    for number, file in enumerate(files, start=1):
        findings.append(inspect_photo(file, analyse, limits))
        on_event(Event("prepare", "looking at photos", done=number, total=len(files)))
    return tuple(findings)


def inspect_photo(
    file: FoundFile, analyse: Callable[[Image.Image], tuple[Face, ...]], limits: Limits
) -> Finding:
    """Return what one file is and what speaks against it."""
    try:
        photo = read_photo(file)
        image = open_upright(file.path, max_side_px=ANALYSIS_SIDE_PX)
    except UnreadablePhoto as unreadable:
        return Finding(file.name, None, None, (unreadable.reason,))
    factor = max(photo.width_px, photo.height_px) / max(image.size)
    seen = analyse(image)
    faces = tuple(scaled(face, factor) for face in seen)
    measures = measure_face(image, seen[0]) if seen else None
    reasons = _reasons_against(photo, faces, limits)
    if measures and not reasons:
        reasons = _reasons_in(measures)  # a tiny or crowded face has no sharpness worth telling
    return Finding(
        name=file.name,
        photo=photo,
        face=faces[0] if faces else None,
        reasons=tuple(reasons),
        measures=measures,
    )


def _reasons_against(photo: Photo, faces: tuple[Face, ...], limits: Limits) -> list[Reason]:
    if not faces:
        return [
            Reason(ReasonCode.NO_FACE, "No face was found in it.", 0, 1, "faces"),
        ]
    reasons = []
    if len(faces) > 1:
        reasons.append(
            Reason(
                ReasonCode.SEVERAL_FACES,
                "More than one face; crop it to the person by hand.",
                len(faces),
                1,
                "faces",
            )
        )
    face_px = round(faces[0].box.height)
    if faces[0].box.height < limits.min_face_px:
        reasons.append(
            Reason(
                ReasonCode.FACE_TOO_SMALL,
                "The face is too far away: a crop of it would have to be enlarged.",
                face_px,
                limits.min_face_px,
                "px high",
            )
        )
    side_px = min(photo.width_px, photo.height_px)
    if side_px < limits.min_side_px:
        reasons.append(
            Reason(
                ReasonCode.CROP_TOO_SMALL,
                "The photo is too small for a crop; use the original, not a thumbnail.",
                side_px,
                limits.min_side_px,
                "px",
            )
        )
    return reasons


def _reasons_in(measures: Measures) -> list[Reason]:
    reasons = []
    if measures.luma_median < LUMA_LEAST:
        hint = "The face is too dark; use a photo with light on it."
        code = ReasonCode.TOO_DARK
        reasons.append(Reason(code, hint, round(measures.luma_median), LUMA_LEAST, "luma median"))
    elif measures.luma_median > LUMA_MOST:
        hint = "The face is too bright; its skin has no structure left."
        code = ReasonCode.TOO_BRIGHT
        reasons.append(Reason(code, hint, round(measures.luma_median), LUMA_MOST, "luma median"))
    elif measures.clipped_share > CLIPPED_MOST:
        dark = measures.luma_median < LUMA_MIDDLE
        hint = f"Much of the face is pure {'black' if dark else 'white'}; its features are lost."
        code = ReasonCode.TOO_DARK if dark else ReasonCode.TOO_BRIGHT
        share = round(100 * measures.clipped_share, 1)
        reasons.append(Reason(code, hint, share, 100 * CLIPPED_MOST, "% clipped"))
    if measures.sharpness < SHARPNESS_LEAST:
        hint = "The face is blurred or out of focus."
        code = ReasonCode.BLURRED
        reasons.append(
            Reason(code, hint, round(measures.sharpness, 1), SHARPNESS_LEAST, "sharpness")
        )
    if measures.yaw_deg > YAW_MOST_DEG:
        hint = "The head is turned away from the camera."
        code = ReasonCode.EXTREME_POSE
        reasons.append(Reason(code, hint, round(measures.yaw_deg), YAW_MOST_DEG, "degrees"))
    return reasons
