"""Boxes (x0, y0, x1, y1) in pixels: overlap, suppression of doubles, squares."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64, Real


def overlaps(boxes: Real[np.ndarray, "n 4"], others: Real[np.ndarray, "m 4"]) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of every box with every other, 0..1; empty boxes overlap nothing."""
    first, second = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    areas = np.maximum(first[..., 2:] - first[..., :2], 0).prod(-1) + np.maximum(
        second[..., 2:] - second[..., :2], 0
    ).prod(-1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def suppress(
    boxes: Real[np.ndarray, "n 4"], scores: Real[np.ndarray, "n"], overlap_max: float
) -> Int64[np.ndarray, "k"]:
    """Indices of the boxes that stay after greedy non-maximum suppression, best score first.

    Args:
        boxes: Pixels.
        scores: Higher is better.
        overlap_max: Intersection over union above which the worse of two boxes goes.

    Source: greedy NMS as in Zhang et al. 2016 (MTCNN).
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[overlaps(boxes[best : best + 1], boxes[order])[0] <= overlap_max]
    return np.array(kept, np.int64)


def squares(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """Squares of the boxes' longer sides around their centres."""
    half = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).max(1, keepdims=True) / 2
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([center - half, center + half], 1)
