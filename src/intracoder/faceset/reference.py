"""A reference for a decoder: one person's real pixels on a wanted geometry, each part from the frame that fits it.

No single frame has the wanted pose, mouth and eyes at once. So the face is bent from the frame of the nearest pose,
and eyes and mouth from those frames that have them most alike; they are laid in with soft edges and with the
brightness that the face has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from intracoder.ops.mesh import WarpField, apply_warp, fit_square, warp_field
from intracoder.ops.topology import EYES, LIPS
from intracoder.records import Crops, Image, Mask, Points

REFERENCE_CHANNELS: Final = 4
"""Visibility of the face's surface in its frame, then red, green, blue."""

# yaw, pitch, mouth opening and width, left and right lids, gaze x and y: see ops.expression.frame_features
_FACE_WEIGHTS: Final = np.array([1.0, 1.0, 0.3, 0.3, 0.15, 0.15, 0.1, 0.1])
_EYES_WEIGHTS: Final = np.array([0.4, 0.4, 0.05, 0.05, 1.5, 1.5, 1.0, 1.0])
_MOUTH_WEIGHTS: Final = np.array([0.4, 0.4, 1.5, 1.5, 0.0, 0.0, 0.0, 0.0])

_EYE_SCALE: Final = 1.9
_MOUTH_SCALE: Final = 1.35
_EDGE: Final = 1 / 48
"""Deviation of the parts' soft edges, fraction of the crop."""


Square: TypeAlias = UInt8[np.ndarray, "z z 3"]


class PartRows(NamedTuple):
    """Which stored frame each part of a reference comes from."""

    face: int
    eyes: int
    mouth: int


class PartDistances(NamedTuple):
    """Squared distance of wanted frames (rows) to stored ones (columns), by what matters to a part."""

    face: Float64[np.ndarray, "m n"]
    eyes: Float64[np.ndarray, "m n"]
    mouth: Float64[np.ndarray, "m n"]


def part_distances(wanted: Float64[np.ndarray, "m 8"], stored: Float64[np.ndarray, "n 8"]) -> PartDistances:
    """Distances of features, see ``Likeness.features``, for each part."""
    return PartDistances(
        *(
            np.stack([(((stored - row) ** 2) * weights).sum(axis=1) for row in wanted])
            for weights in (_FACE_WEIGHTS, _EYES_WEIGHTS, _MOUTH_WEIGHTS)
        )
    )


def compose_reference(
    crops: Sequence[Image] | Crops,
    points: Sequence[Points] | Float32[np.ndarray, "n 478 3"],
    rows: PartRows,
    wanted: Points,
    size: int,
    detail: int = 1,
) -> UInt8[np.ndarray, "{size*detail} {size*detail} 4"]:
    """Bends the rows' frames onto ``wanted`` and puts them together.

    Args:
        crops: A person's stored frames, of any side.
        points: Their landmarks, in the crops' pixels.
        rows: Which frames.
        wanted: Where the landmarks shall lie, pixels of a ``size`` crop of the same template.
        size: Side of the crop that ``wanted`` is in; bends are computed at this size.
        detail: How many times finer the result is: pixels are taken from the frames at that size.

    Returns:
        Visibility (0..255, of the face's frame), red, green, blue; side ``size * detail``.
    """
    face, field = _bent(crops[rows.face], points[rows.face], wanted, size, detail)
    side = size * detail
    for row, outlines, scale in ((rows.eyes, EYES, _EYE_SCALE), (rows.mouth, (LIPS,), _MOUTH_SCALE)):
        if row != rows.face:
            part, _ = _bent(crops[row], points[row], wanted, size, detail)
            for outline in outlines:
                face = _laid_in(face, part, _enlarged(_part_mask(wanted, outline, scale, size), side))
    visibility = np.rint(_enlarged(field.visibility, side) * 255).astype(np.uint8)
    return np.dstack([visibility, face])


def _bent(crop: Image, points: Points, wanted: Points, size: int, detail: int) -> tuple[Square, WarpField]:
    """The crop bent onto ``wanted``, ``detail`` times finer than the field, and the field."""
    square, at = fit_square(crop, points, size)
    field = warp_field(at, wanted, size)
    if detail == 1:
        return apply_warp(square, field), field
    side = size * detail
    origin = (cv2.resize(field.origin, (side, side), interpolation=cv2.INTER_LINEAR) + 0.5) * detail - 0.5
    fine, _ = fit_square(crop, points, side)
    fine_field = WarpField(origin=origin.astype(np.float32), visibility=_enlarged(field.visibility, side))
    return apply_warp(fine, fine_field), field


def _enlarged(mask: Mask, side: int) -> Float32[np.ndarray, "{side} {side}"]:
    if len(mask) == side:
        return mask
    return np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _laid_in(face: Image, part: Image, mask: Mask) -> Image:
    """``part`` over ``face``, shifted in colour so that the two agree along the mask's edge."""
    edge = mask * (1 - mask)
    total = float(edge.sum())
    if total <= 0:
        return face
    shift = ((face.astype(np.float32) - part) * edge[..., None]).sum(axis=(0, 1)) / total
    mixed = face + mask[..., None] * (part + shift - face)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)


def _part_mask(points: Points, outline: Sequence[int], scale: float, size: int) -> Mask:
    """The outline's hull, grown about its middle, with a soft edge."""
    xy = points[list(outline), :2]
    middle = xy.mean(axis=0)
    # a closed eye is a line: its hull grows by a part of its length in all directions
    reach = (scale - 1) * np.linalg.norm(xy - middle, axis=1).max() / 2
    hull = cv2.convexHull((middle + (xy - middle) * (1 + (scale - 1) / 2)).astype(np.float32)).reshape(-1, 2)
    mask = np.zeros((size, size), np.float32)
    vertices = np.rint(np.clip(hull, -size, 2 * size)).astype(np.int32)
    cv2.fillPoly(mask, [vertices], 1.0)
    cv2.polylines(mask, [vertices], isClosed=True, color=1.0, thickness=max(1, round(2 * reach)))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), size * _EDGE), dtype=np.float32)
