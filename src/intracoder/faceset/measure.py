"""What is measured of a face and of its crop."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from intracoder.faceset.entries import THUMBNAIL_PX, CropScores
from intracoder.ops.quality import exposure, sharpness
from intracoder.ops.topology import CHEEK_LEFT, CHEEK_RIGHT, OVAL
from intracoder.records import Face, Image, Points

_CHEEK_MIN_PX = 24
"""Area under which a cheek counts as out of sight."""
_MIDDLE = (0.22, 0.78)
"""Part of the crop's side that the thumbnail shows: the face inside its outline."""


def face_side_px(face: Face) -> float:
    """Longer side of the box around the face's landmarks (of the detector's box where it has none)."""
    if face.points is None:
        return float(max(face.box[2] - face.box[0], face.box[3] - face.box[1]))
    extent = face.points[:, :2].max(axis=0) - face.points[:, :2].min(axis=0)
    return float(extent.max())


def outside_fraction(points: Points, height: int, width: int) -> float:
    """How much of a face lies outside its picture, fraction of its landmarks."""
    x, y = points[:, 0], points[:, 1]
    return float(np.mean((x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)))


def score_crop(crop: Image, points: Float[np.ndarray, "478 3"]) -> CropScores:
    """Measures a crop inside the face; ``points`` are crop pixels."""
    side = len(crop)
    mask = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points[list(OVAL), :2]).astype(np.int32)), 1.0)
    low, high = (round(side * f) for f in _MIDDLE)
    grey = cv2.cvtColor(np.ascontiguousarray(crop[low:high, low:high]), cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return CropScores(
        sharpness=sharpness(crop, mask),
        exposure=min(max(exposure(crop, mask), 0.0), 1.0),
        side_light=_side_light(crop, points[:, :2]),
        thumbnail=np.asarray(thumbnail, dtype=np.uint8),
    )


def _side_light(crop: Image, points: Float[np.ndarray, "478 2"]) -> float:
    """(right - left) / (right + left) of the cheeks' mean luma; 0 where a cheek is out of sight."""
    grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    left, right = (_mean_inside(grey, points, cheek) for cheek in (CHEEK_LEFT, CHEEK_RIGHT))
    if left is None or right is None:
        return 0.0
    return (right - left) / max(right + left, 1.0)


def _mean_inside(
    grey: UInt8[np.ndarray, "s s"], points: Float[np.ndarray, "478 2"], outline: Sequence[int]
) -> float | None:
    """Mean inside a ring of landmarks; None where it is too small."""
    ring = points[list(outline)].astype(np.float32)
    zone = np.zeros(grey.shape, np.float32)
    cv2.fillPoly(zone, [np.round(ring).astype(np.int32)], 1.0)
    area = float(zone.sum())
    return float((grey * zone).sum()) / area if area >= _CHEEK_MIN_PX else None
