"""What is in one photo: the facts about its pixels and faces, whatever the settings are.

Nothing here depends on a setting but the face pack, so that an analysis can be kept and judged
again (`cache`, `judge`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lora_prep.faces import ANALYSIS_SIDE_PX, FaceAnalyser, scaled
from lora_prep.framing import MIN_FACE_PX
from lora_prep.inspection.fingerprints import perceptual_hash, picture_fingerprint
from lora_prep.inspection.judge import reasons_in
from lora_prep.inspection.measures import FACE_WIDTH_PX, measure_face
from lora_prep.model import Box, Face, Fingerprint, Measures, Photo
from lora_prep.photos import open_region, open_upright, power_of_two_below

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Analysis", "FaceFacts", "analyse_photo"]

AROUND_FACE = 0.5
"""What is cut out around a small face for a closer look, in its height: the recogniser's chip
reaches beyond the box."""


@dataclass(frozen=True, slots=True)
class FaceFacts:
    """One face: measures and phash are None below MIN_FACE_PX, where they mean nothing."""

    face: Face
    measures: Measures | None = None
    phash: int | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One photo: what it is, what the whole picture looks like, its faces (the largest first)."""

    photo: Photo
    fingerprint: Fingerprint
    faces: tuple[FaceFacts, ...]


def analyse_photo(photo: Photo, analyser: FaceAnalyser) -> tuple[Analysis, Image.Image]:
    """Return what is in a photo, and the upright copy of it that was looked at.

    The copy is reduced (a 12-MP photo to a quarter); a face that is too small in it to be measured
    is decoded once more, alone, at a larger scale. Only faces that pass every measure get an
    embedding.

    Raises:
        UnreadablePhoto: the file cannot be decoded to its end.
    """
    copy = open_upright(photo.path, least_side_px=ANALYSIS_SIDE_PX)
    detection = analyser.detect(copy)
    if detection.turned_deg:
        photo = _turned(photo, detection.turned_deg)
        copy = open_upright(
            photo.path, least_side_px=ANALYSIS_SIDE_PX, turned_deg=detection.turned_deg
        )
    fingerprint = picture_fingerprint(copy)
    factor = max(photo.width_px, photo.height_px) / max(copy.size)
    faces = tuple(_facts(photo, copy, face, factor, analyser) for face in detection.faces)
    return Analysis(photo, fingerprint, faces), copy


def _facts(
    photo: Photo, copy: Image.Image, seen: Face, factor: float, analyser: FaceAnalyser
) -> FaceFacts:
    """Measure one face. seen: in pixels of the copy, which is `factor` times smaller."""
    face = scaled(seen, factor)
    if face.box.height < MIN_FACE_PX:
        return FaceFacts(face)
    image = copy
    if seen.box.width < FACE_WIDTH_PX and factor > 1:
        image, seen = _closer(photo, face)
    measures = measure_face(image, seen)
    if not reasons_in(measures):
        face = replace(face, embedding=analyser.embed(image, seen))
    return FaceFacts(face, measures, perceptual_hash(image, seen.box))


def _closer(photo: Photo, face: Face) -> tuple[Image.Image, Face]:
    """Return the surroundings of a face at the scale its measures need, and the face in them."""
    box, margin = face.box, AROUND_FACE * face.box.height
    left, top = max(0.0, box.x - margin), max(0.0, box.y - margin)
    right = min(float(photo.width_px), box.x + box.width + margin)
    bottom = min(float(photo.height_px), box.y + box.height + margin)
    part, place = open_region(
        photo,
        Box(left, top, right - left, bottom - top),
        reduction=power_of_two_below(box.width / FACE_WIDTH_PX),
    )
    moved = replace(
        face,
        box=replace(box, x=box.x - place.x, y=box.y - place.y),
        landmarks=tuple((x - place.x, y - place.y) for x, y in face.landmarks),
    )
    return part, scaled(moved, part.width / place.width)


def _turned(photo: Photo, turned_deg: int) -> Photo:
    width, height = photo.width_px, photo.height_px
    if turned_deg in {90, 270}:
        width, height = height, width
    return replace(photo, turned_deg=turned_deg, width_px=width, height_px=height)
