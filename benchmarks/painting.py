"""Paint photos of one person: the sample person cut out, on painted backgrounds, as if by a phone.

What a picture shows is a `Plan`: it can be painted small to be compared with others, and large to
be kept, and shows the same both times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["LONG_SIDE_PX", "SHORT_SIDE_PX", "SOURCES", "Plan", "draw_plan", "paint", "phash"]

Rgb = NDArray[np.uint8]  # (height, width, 3)
Grey = NDArray[np.uint8]  # (height, width)
Matrix = NDArray[np.float64]  # (3, 3), source pixels to canvas pixels

ADA = Path(__file__).parents[1] / "sample_data" / "people" / "ada"

LONG_SIDE_PX, SHORT_SIDE_PX = 4000, 3000

SOURCES: dict[str, tuple[int, int, int, int]] = {
    # Left, top, width and height of the face in upright pixels, as the open pack's detector sees it
    "ada_01.jpg": (381, 556, 431, 578),
    "ada_02.jpg": (406, 585, 383, 499),
    "ada_03.jpg": (464, 422, 339, 447),
    "ada_04.jpg": (275, 528, 421, 640),
    "ada_05.jpg": (524, 512, 324, 458),
    "ada_06.jpg": (521, 349, 405, 548),
    "ada_07.jpg": (299, 559, 657, 834),
    "ada_08.jpg": (273, 570, 351, 543),
    "ada_09.jpg": (1135, 346, 375, 486),
    "ada_10.png": (350, 536, 345, 435),
    "ada_11.jpg": (733, 351, 401, 526),
    "ada_12.webp": (407, 487, 448, 665),
    "ada_13.jpg": (593, 580, 343, 545),
    "ada_14.jpg": (791, 414, 407, 539),
    "ada_15.jpg": (491, 521, 357, 479),
    "ada_16.jpg": (301, 514, 560, 731),
}

PORTRAIT_SHARE = 0.75
FACE_LEAST_PX, FACE_MOST_PX = 350, 1500
FACE_BETA = 2.2  # of the beta distribution between the two: nine in ten lie within 470 to 1380 px
BACKGROUND_REDUCTION = 16  # the background is painted this much smaller: it is out of focus
CUT_OUT_SIDE_PX = 400  # side at which the person is cut out; GrabCut takes seconds on 2 MP
FADE_SHARE = 0.05  # of the source's width, over which its edges fade into the background
LIGHT_CELLS = 256
SHADES_A_FACE = 2.5  # spots of light over the height of the face
GREY = 128  # what noise lies around and what light is relative to, in pictures of 8 bits
GRAIN = (3.0, 10.0)  # standard deviation of the background's texture, of 255
SENSOR_NOISE = (1.5, 3.5)  # standard deviation, of 255: a phone at base ISO and indoors


@dataclass(frozen=True, slots=True)
class Plan:
    """What one photo shows.

    seed: what the background and the noise are drawn from; face_px: height of the face; place:
    where its centre lies, in shares of the canvas; tilt: perspective, change of size per source
    width and height; shade: how much the light changes from spot to spot, as a share;
    gains: of red, green and blue.
    """

    seed: tuple[int, ...]
    source: str
    width_px: int
    height_px: int
    face_px: float
    place: tuple[float, float]
    mirrored: bool
    rotation_deg: float
    stretch: float
    tilt: tuple[float, float]
    shade: float
    gains: tuple[float, float, float]


def draw_plan(seed: tuple[int, ...]) -> Plan:
    """Draw a plan; the same seed, the same plan."""
    rng = np.random.default_rng(seed)
    upright = rng.random() < PORTRAIT_SHARE
    sides = (SHORT_SIDE_PX, LONG_SIDE_PX) if upright else (LONG_SIDE_PX, SHORT_SIDE_PX)
    brightness = rng.uniform(0.84, 1.03)
    red, green, blue = (float(gain) for gain in brightness * rng.uniform(0.94, 1.06, 3))
    return Plan(
        seed=seed,
        source=str(rng.choice(list(SOURCES))),
        width_px=sides[0],
        height_px=sides[1],
        face_px=FACE_LEAST_PX + (FACE_MOST_PX - FACE_LEAST_PX) * rng.beta(FACE_BETA, FACE_BETA),
        place=(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)),
        mirrored=bool(rng.random() < 0.5),
        rotation_deg=rng.uniform(-14, 14),
        stretch=rng.uniform(0.87, 1.13),
        tilt=(rng.uniform(-0.18, 0.18), rng.uniform(-0.18, 0.18)),
        shade=rng.uniform(0.08, 0.2),
        gains=(red, green, blue),
    )


def paint(plan: Plan, reduction: int = 1) -> tuple[Rgb, tuple[int, int, int, int]]:
    """Return the upright picture, `reduction` times smaller, and its face.

    The face is left, top, right and bottom in its pixels. The small picture shows neither texture
    nor sensor noise.
    """
    size = (plan.width_px // reduction, plan.height_px // reduction)
    matrix = np.diag([1 / reduction, 1 / reduction, 1.0]) @ _placed(plan)
    person, cut_out = _source(plan.source)
    back = cv2.resize(_background(plan), size, interpolation=cv2.INTER_CUBIC)
    if reduction == 1:
        back = _textured(back, plan)
    height, width = person.shape[:2]
    left, top, right, bottom = _bounds(matrix, (0, 0, width, height), size)
    there = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]]) @ matrix
    frame = (right - left, bottom - top)
    front = cv2.warpPerspective(person, there, frame, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpPerspective(cut_out, there, frame)
    back[top:bottom, left:right] = _blended(back[top:bottom, left:right], front, share)
    face = _face(matrix, SOURCES[plan.source], size)
    picture = _lit(back, plan, face)
    if reduction == 1:
        picture = _noisy(picture, plan)
    return picture, face


def phash(grey: Grey) -> int:
    """Return the 64-bit perceptual hash of a grey picture.

    32 x 32 px by area, cosine transform, the 8 x 8 lowest frequencies against their median (the
    way of the imagehash package).
    """
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = cv2.dct(small)[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


@cache
def _source(name: str) -> tuple[Rgb, Grey]:
    """Return a sample picture, upright, and how opaque the person in it is, 0 to 255."""
    with Image.open(ADA / name) as image:
        person = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    height, width = person.shape[:2]
    cut_out = cv2.resize(_cut_out(name, person), (width, height), interpolation=cv2.INTER_CUBIC)
    fade = FADE_SHARE * width
    across = np.clip(np.minimum(np.arange(width), np.arange(width)[::-1]) / fade, 0, 1)
    down = np.clip(np.arange(height) / fade, 0, 1)  # not at the bottom: the body goes on there
    return person, (cut_out * np.outer(down, across)).astype(np.uint8)


def _cut_out(name: str, person: Rgb) -> Grey:
    """Return the person's outline by GrabCut (Rother et al., SIGGRAPH 2004), softened."""
    factor = CUT_OUT_SIDE_PX / max(person.shape)
    small = cv2.resize(person, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    left, top, wide, high = (round(value * factor) for value in SOURCES[name])
    middle = (left + wide // 2, top + high // 2)
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.ellipse(
        marks, middle, (round(1.3 * wide), round(0.95 * high)), 0, 0, 360, cv2.GC_PR_BGD, -1
    )
    shoulders = (max(0, middle[0] - 2 * wide), middle[1] + round(0.4 * high))
    edge = (middle[0] + 2 * wide, small.shape[0])
    cv2.rectangle(marks, shoulders, edge, cv2.GC_PR_FGD, -1)
    cv2.ellipse(marks, middle, (round(0.9 * wide), round(0.8 * high)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(marks, middle, (wide // 2, high // 2), 0, 0, 360, cv2.GC_FGD, -1)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(small, marks, None, *models, 4, cv2.GC_INIT_WITH_MASK)
    opaque = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    opaque = cv2.morphologyEx(opaque, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return cv2.GaussianBlur(opaque, (0, 0), 2)


def _placed(plan: Plan) -> Matrix:
    """Return where the source's pixels go on the canvas: its lower edge is below the frame's."""
    left, top, wide, high = SOURCES[plan.source]
    x, y = left + wide / 2, top + high / 2
    person, _ = _source(plan.source)
    to_face = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    perspective = np.eye(3)
    perspective[2, :2] = np.array(plan.tilt) / person.shape[1]
    scale = plan.face_px / high
    aside = scale * plan.stretch * (-1 if plan.mirrored else 1)
    angle = np.radians(plan.rotation_deg)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    shape = turn @ np.diag([aside, scale, 1.0]) @ perspective @ to_face
    # Half a face of room to the sides and above; below, at least as far as the source reaches.
    room = 0.55 * plan.face_px
    reach = 0.92 * scale * (person.shape[0] - y)
    highest = max(room * 1.2, plan.height_px - reach)
    lowest = max(highest, plan.height_px - room * 1.2)
    centre_x = room + plan.place[0] * (plan.width_px - 2 * room)
    centre_y = highest + plan.place[1] ** 2 * (lowest - highest)
    return np.array([[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]]) @ shape


def _bounds(
    matrix: Matrix, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a source's box on a canvas of this width and height."""
    left, top, wide, high = box
    corners = [(left, top), (left + wide, top), (left, top + high), (left + wide, top + high)]
    there = cv2.perspectiveTransform(np.array([corners], np.float64), matrix)[0].clip(0, size)
    first, last = np.floor(there.min(axis=0)), np.ceil(there.max(axis=0))
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _face(
    matrix: Matrix, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the face's upright box on a canvas: turned a little, a face is hardly larger."""
    left, top, wide, high = box
    x, y = left + wide / 2, top + high / 2
    middles = [(left, y), (left + wide, y), (x, top), (x, top + high)]
    start, end, above, below = cv2.perspectiveTransform(np.array([middles]), matrix)[0]
    across, down = np.linalg.norm(end - start) / 2, np.linalg.norm(below - above) / 2
    centre = (start + end + above + below) / 4
    half = np.array((across, down))
    edges = np.stack([centre - half, centre + half]).clip(0, size)
    (left, top), (right, bottom) = np.rint(edges).astype(int).tolist()
    return left, top, right, bottom


def _background(plan: Plan) -> Rgb:
    """Return shapes, clouds and colours out of focus, BACKGROUND_REDUCTION times smaller."""
    rng = np.random.default_rng((*plan.seed, 1))
    width = plan.width_px // BACKGROUND_REDUCTION
    height = plan.height_px // BACKGROUND_REDUCTION
    picture = cv2.resize(_colours(rng, 9).reshape(3, 3, 3), (width, height))
    for colour in _colours(rng, int(rng.integers(5, 12))).tolist():
        centre = rng.uniform(0, (width, height)).tolist()
        sides = rng.uniform(8, (width / 2, height / 2)).tolist()
        # Straight edges only: in ellipses with clouds on them the detector sees faces.
        corners = cv2.boxPoints((centre, sides, float(rng.choice((0, rng.uniform(0, 90))))))
        cv2.fillConvexPoly(picture, corners.astype(np.int32), colour)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 4))
    for cells in (4, 8, 16, 32, 64, 128):
        clouds = rng.normal(0, 20 / cells**0.6, (cells, cells))
        picture += cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _colours(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return muted colours, the way rooms and streets are painted: (count, 3), 0 to 255."""
    # Red is always the least: in pink shapes with shades on them the detector sees faces.
    colours = np.sort(rng.uniform(35, 215, (count, 1)) + rng.normal(0, 14, (count, 3)), axis=1)
    greenish = rng.random(count) < 0.5
    colours[greenish] = colours[greenish][:, [0, 2, 1]]
    return colours


def _textured(back: Rgb, plan: Plan) -> Rgb:
    """Give a background of full size the grain of plaster, cloth and leaves."""
    rng = np.random.default_rng((*plan.seed, 3))
    height, width = back.shape[:2]
    for reduction in (2, 4):
        grain = _noise(rng, (height // reduction, width // reduction), rng.uniform(*GRAIN))
        large = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
        back = cv2.addWeighted(back, 1, cv2.merge([large] * 3), 1, -GREY)
    return back


def _lit(picture: Rgb, plan: Plan, face: tuple[int, int, int, int]) -> Rgb:
    """Let light and shade fall on the picture, as under trees, and shift the colours of the whole.

    It is what makes two faces differ that were cut from the same sample picture.
    """
    height, width = picture.shape[:2]
    _, top, _, bottom = face
    rng = np.random.default_rng((*plan.seed, 5))
    cells = np.ceil(np.array([height, width]) * SHADES_A_FACE / (bottom - top)).astype(int)
    shades = rng.normal(1, plan.shade, cells.clip(2))
    light = cv2.resize(shades, (LIGHT_CELLS, LIGHT_CELLS), interpolation=cv2.INTER_CUBIC)
    gains = (GREY * light[..., None] * np.array(plan.gains)).clip(0, 255).astype(np.uint8)
    large = cv2.resize(gains, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(picture, large, scale=1 / GREY)


def _blended(back: Rgb, front: Rgb, opacity: Grey) -> Rgb:
    share = cv2.merge([opacity] * 3)
    shown = cv2.multiply(front, share, scale=1 / 255)
    return cv2.add(shown, cv2.multiply(back, cv2.bitwise_not(share), scale=1 / 255))


def _noisy(picture: Rgb, plan: Plan) -> Rgb:
    """Add sensor noise: fine in brightness, coarse in colour, as after a camera's demosaicing."""
    rng = np.random.default_rng((*plan.seed, 2))
    height, width = picture.shape[:2]
    sigma = rng.uniform(*SENSOR_NOISE)
    coarse = _noise(rng, (height // 4, width // 4, 3), sigma)
    picture = cv2.addWeighted(picture, 1, cv2.resize(coarse, (width, height)), 1, -GREY)
    fine = _noise(rng, (height, width), sigma)
    return cv2.addWeighted(picture, 1, cv2.merge([fine] * 3), 1, -GREY)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Grey:
    """Return Gaussian noise around GREY, from one random byte a pixel: ten times as fast."""
    levels = [GREY + sigma * NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)]
    table = np.rint(levels).clip(0, 255).astype(np.uint8)
    return table[rng.integers(0, 256, shape, np.uint8)]
