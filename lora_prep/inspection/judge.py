"""What speaks against a photo and its faces: each measured number beside its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_prep.inspection.thresholds import (
    CLIPPED_MOST,
    LUMA_LEAST,
    LUMA_MOST,
    SHARPNESS_LEAST,
    YAW_MOST_DEG,
    Limits,
)
from lora_prep.model import Face, Finding, JudgedFace, Measures, Photo, Reason, ReasonCode

if TYPE_CHECKING:
    from lora_prep.inspection.analysis import Analysis

__all__ = ["judge", "reasons_in"]

LUMA_MIDDLE = 128


def judge(name: str, analysis: Analysis, limits: Limits) -> Finding:
    """Return the finding on an analysed photo: reasons against it, and against each face."""
    photo = analysis.photo
    faces = []
    for facts in analysis.faces:
        reasons = _reasons_of_size(facts.face, limits)
        if facts.measures:
            reasons += reasons_in(facts.measures)
        faces.append(JudgedFace(facts.face, facts.measures, facts.phash, tuple(reasons)))
    return Finding(
        name=name,
        photo=photo,
        faces=tuple(faces),
        reasons=tuple(_reasons_against(photo, analysis, limits)),
        fingerprint=analysis.fingerprint,
    )


def reasons_in(measures: Measures) -> list[Reason]:
    """Return what speaks against a face by its measures; they depend on no setting."""
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
    if abs(measures.yaw_deg) > YAW_MOST_DEG:
        hint = "The head is turned away from the camera."
        code = ReasonCode.EXTREME_POSE
        yaw = round(abs(measures.yaw_deg))
        reasons.append(Reason(code, hint, yaw, YAW_MOST_DEG, "degrees"))
    return reasons


def _reasons_of_size(face: Face, limits: Limits) -> list[Reason]:
    if face.box.height >= limits.min_face_px:
        return []
    hint = "The face is too far away: a crop of it would have to be enlarged."
    code = ReasonCode.FACE_TOO_SMALL
    return [Reason(code, hint, round(face.box.height), limits.min_face_px, "px high")]


def _reasons_against(photo: Photo, analysis: Analysis, limits: Limits) -> list[Reason]:
    if not analysis.faces:
        return [Reason(ReasonCode.NO_FACE, "No face was found in it.", 0, 1, "faces")]
    side_px = min(photo.width_px, photo.height_px)
    if side_px < limits.min_side_px:
        hint = "The photo is too small for a crop; use the original, not a thumbnail."
        return [Reason(ReasonCode.CROP_TOO_SMALL, hint, side_px, limits.min_side_px, "px")]
    return []
