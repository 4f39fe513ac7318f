"""Where the face is, what of it matters most, and where a swapped one may show."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from intracoder.ops.topology import (
    BROWS,
    CHEEKS,
    EYE_CORNERS,
    EYES,
    FOREHEAD,
    INNER_LIPS,
    LIPS,
    NOSE,
    OVAL,
    canonical_points,
)
from intracoder.records import Mask

_SUBPIXEL_BITS: Final = 4
_EDGE_SIGMAS: Final = 2.563  # a Gaussian edge rises from 10 % to 90 % over this many of its deviations
_LEAST_FEATHER_PX: Final = 0.5
_SURFACE_SCALE: Final = 0.95  # landmarks on the outline lie partly on what is behind
_BORDER_FRACTION: Final = 0.03  # of the crop: alpha rises from 0 over this margin

_CLOSED, _OPEN = 0.12, 0.25
"""Height of the lips' inner line / its width, at which a mouth counts as closed and as open."""

_LIDS: Final = 1.5
"""Size of an eye with its lids / its opening's."""
_LASHES: Final = 0.35
"""Width of the mask's edge about it / the eye's width."""

_OUTSIDE_WEIGHT: Final = 0.1
_RING_WEIGHT: Final = 0.4
_FACE_WEIGHT: Final = 0.5
_EYES_WEIGHT: Final = 2.0
_LIPS_WEIGHT: Final = 1.0


def hull_mask(
    points_xy: Float[np.ndarray, "p d"],
    height: int,
    width: int,
    *,
    scale: float = 1.0,
    hairline: float = 1.0,
    feather_px: float = 0.0,
) -> Mask:
    """The face's outline, filled.

    Args:
        points_xy: dense landmarks, pixels; only x and y are looked at.
        height: of the mask.
        width: of the mask.
        scale: size relative to the outline, about its middle.
        hairline: further size of its upper part, from the eyes up; between eyes and mouth it passes over to 1.
        feather_px: width over which the edge rises from 0.1 to 0.9; the half value stays on the outline.

    Returns:
        1 inside, 0 outside.
    """
    mask = np.zeros((height, width), dtype=np.float32)
    sizes = scale * (1 + (hairline - 1) * _upper_share())
    _fill(mask, cv2.convexHull(_scaled(_outline(points_xy, OVAL), sizes)).reshape(-1, 2))
    return soften(mask, feather_px)


@functools.cache
def _upper_share() -> Float32[np.ndarray, "k 1"]:
    """How far each point of the outline belongs to its upper part: 1 from the eyes up, 0 from the mouth down."""
    height = canonical_points()[:, 1]
    mouth, eyes = height[list(LIPS)].mean(), height[list(EYE_CORNERS)].mean()
    share = np.clip((mouth - height[list(OVAL)]) / (mouth - eyes), 0, 1)
    return np.asarray(share[:, None], dtype=np.float32)


def soften(mask: Mask, feather_px: float) -> Mask:
    """``mask`` with an edge of ``feather_px`` (10 to 90 %); under half a pixel leaves it as it is."""
    if feather_px < _LEAST_FEATHER_PX:
        return mask
    return np.clip(np.asarray(cv2.GaussianBlur(mask, (0, 0), feather_px / _EDGE_SIGMAS), dtype=np.float32), 0.0, 1.0)


def weight_map(points: Float[np.ndarray, "p d"], size: int) -> Float32[np.ndarray, "size size"]:
    """How much each pixel of a crop counts in a loss.

    0.1 outside, 0.5 in a ring around the face, 1 in the face, 2 on the lips, 3 on the eyes; soft in between.
    """
    face = hull_mask(points, size, size, feather_px=_EDGE_SIGMAS * size / 60)
    ring = hull_mask(points, size, size, scale=1.18, feather_px=_EDGE_SIGMAS * size / 60)
    extra = np.zeros((size, size), dtype=np.float32)
    regions = [(eye, 1.35, _EYES_WEIGHT) for eye in EYES] + [(LIPS, 1.15, _LIPS_WEIGHT)]
    for region, scale, weight in regions:
        filled = np.zeros((size, size), dtype=np.float32)
        _fill(filled, cv2.convexHull(_scaled(_outline(points, region), scale)).reshape(-1, 2))
        np.maximum(extra, weight * soften(filled, _EDGE_SIGMAS * size / 80), out=extra)
    return _OUTSIDE_WEIGHT + _RING_WEIGHT * ring + _FACE_WEIGHT * face + extra


def skin_mask(points: Float[np.ndarray, "p d"], size: int) -> Mask:
    """Bare skin of a crop: forehead, nose and upper cheeks, without eyes, brows, lips and where a beard may grow."""
    mask = np.zeros((size, size), dtype=np.float32)
    for skin in (FOREHEAD, NOSE, *CHEEKS):
        _fill(mask, _outline(points, skin))
    for other, scale in [*((eye, 1.5) for eye in EYES), *((brow, 1.6) for brow in BROWS), (LIPS, 1.2)]:
        hull = cv2.convexHull(_scaled(_outline(points, other), scale)).reshape(-1, 2)
        _fill(mask, hull, level=0.0)
    return soften(mask, size / 80)


def surface_mask(points: Float[np.ndarray, "p d"], size: int) -> Mask:
    """The face's surface in a crop: all of the outline but the eyes."""
    mask = hull_mask(points, size, size, scale=_SURFACE_SCALE)
    for eye in EYES:
        _fill(mask, cv2.convexHull(_scaled(_outline(points, eye), 1.3)).reshape(-1, 2), level=0.0)
    return soften(mask, size / 80)


def eye_mask(points: Float[np.ndarray, "p d"], size: int) -> Mask:
    """Both eyes with lids and lashes in a crop, softly; weaker while they are closed."""
    mask = np.zeros((size, size), dtype=np.float32)
    for lids in EYES:
        outline = _outline(points, lids)
        one = np.zeros_like(mask)
        _fill(one, _scaled(outline, _LIDS))
        mask = np.maximum(mask, soften(one, _LASHES * float(np.ptp(outline[:, 0]))))
    return mask


def opening_mask(points: Float[np.ndarray, "p d"], size: int, *, least: float = 0.0) -> Mask:
    """What shows between the lids in a crop, of eyes that are open enough.

    Args:
        points: dense landmarks, crop pixels.
        size: side of the crop, pixels.
        least: area of an opening / the square of its width, under which it is left out.
    """
    mask = np.zeros((size, size), dtype=np.float32)
    for lids in EYES:
        outline = _outline(points, lids)
        if cv2.contourArea(outline) >= least * float(np.ptp(outline, axis=0).max()) ** 2:
            _fill(mask, outline)
    return mask


def mouth_mask(points: Float[np.ndarray, "p d"], size: int) -> Mask:
    """The mouth's opening in a crop with a soft edge; it fades as the mouth closes, and is empty where it is closed."""
    mask = np.zeros((size, size), dtype=np.float32)
    lips = _outline(points, INNER_LIPS)
    opening = np.ptp(lips[:, 1]) / max(float(np.ptp(lips[:, 0])), 1e-6)
    share = float(np.clip((opening - _CLOSED) / (_OPEN - _CLOSED), 0, 1))
    if share > 0:
        _fill(mask, lips, level=share**2 * (3 - 2 * share))
    return soften(mask, _EDGE_SIGMAS * size / 200)


def combine_alpha(
    hull: Mask, predicted: Mask | None, person: Mask | None, hand: Mask | None, *, feather_px: float = 0.0
) -> Mask:
    """Where the swapped face shows in a crop.

    Args:
        hull: landmark hull of the face, 0..1.
        predicted: the network's own face mask; limits the hull.
        person: person segmentation; the background before the face stays.
        hand: hand mask; hands before the face stay.
        feather_px: softening of the product; what was 0 in ``hull`` stays 0.

    Returns:
        ``min(hull, predicted) * person * (1 - hand)``, softened, and faded to exactly 0 at the crop's border.
    """
    alpha = hull if predicted is None else np.minimum(hull, predicted)
    if person is not None:
        alpha = alpha * person
    if hand is not None:
        alpha = alpha * (1.0 - hand)
    support = (hull > 0).astype(np.float32)
    return np.asarray(soften(alpha, feather_px) * support * border_ramp(*hull.shape))


def border_ramp(height: int, width: int) -> Mask:
    """0 on the outermost pixels, rising smoothly to 1 over 3 % of the side."""
    y, x = (_ramp(count) for count in (height, width))
    return np.asarray(np.minimum(y[:, None], x[None, :]))


def _ramp(count: int) -> Float32[np.ndarray, "n"]:
    """One side's rise and fall."""
    inward = np.minimum(np.arange(count), np.arange(count)[::-1])
    share = np.clip(inward / max(1.0, _BORDER_FRACTION * count), 0.0, 1.0)
    return np.asarray(share**2 * (3 - 2 * share), dtype=np.float32)


def _outline(points: Float[np.ndarray, "p d"], indices: Sequence[int]) -> Float32[np.ndarray, "k 2"]:
    """x, y of some landmarks."""
    return np.asarray(points[list(indices), :2], dtype=np.float32)


def _scaled(
    outline: Float32[np.ndarray, "k 2"], scale: float | Float32[np.ndarray, "k 1"]
) -> Float32[np.ndarray, "k 2"]:
    """The outline grown about its middle, all of it alike or each point by its own factor."""
    middle = outline.mean(axis=0)
    return np.asarray(middle + (outline - middle) * np.float32(scale))


def _fill(mask: np.ndarray, outline: Float32[np.ndarray, "k 2"], level: float = 1.0) -> None:
    """Paints a closed outline, sub-pixel exact with a smooth edge."""
    cover: UInt8[np.ndarray, "h w"] = np.zeros(mask.shape, dtype=np.uint8)
    reach = 4.0 * max(mask.shape)
    vertices = np.rint(np.clip(outline, -reach, reach) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(cover, [vertices], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    mask += (level - mask) * (cover.astype(np.float32) / np.float32(255))
