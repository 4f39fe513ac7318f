"""The faces of a clip as squares, for figures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from intracoder.evaluation.readings import Clip, FaceReadings
from intracoder.records import Image, Points

MOMENTS = 6
"""Frames shown of a clip."""
SIDE_PX = 320


def moments_of(readings: FaceReadings, count: int = MOMENTS) -> list[int]:
    """Evenly spread frames in which the target shows its face, counted from the part's beginning."""
    found = np.flatnonzero(readings.found)
    return [int(found[round(float(k))]) for k in np.linspace(0, len(found) - 1, min(count, len(found)))]


def faces_of(clip: Clip, moments: Sequence[int], readings: FaceReadings) -> list[Image]:
    """The face's square of some frames of a clip; all clips of one target are cut alike."""
    wanted = set(moments)
    frames = {k: frame.pixels for k, frame in enumerate(clip.frames()) if k in wanted}
    return [face_square(frames[k], readings.points[k]) for k in moments if k in frames]


def face_square(image: Image, points: Points, side_px: int = SIDE_PX) -> UInt8[np.ndarray, "s s 3"]:
    """The square around a face with a third of its size as margin; outside of the picture its edge is repeated."""
    low, high = points[:468, :2].min(axis=0), points[:468, :2].max(axis=0)
    side = 1.35 * float((high - low).max())
    zoom = side_px / side
    corner = (low + high) / 2 - side / 2
    matrix = np.array([[zoom, 0, -zoom * corner[0]], [0, zoom, -zoom * corner[1]]])
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    cut = cv2.warpAffine(image, matrix, (side_px, side_px), flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, dtype=np.uint8)
