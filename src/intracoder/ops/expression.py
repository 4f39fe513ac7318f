"""Expression apart from identity: a shared linear basis over blendshapes, and descriptors that compare frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64

from intracoder.errors import ConfigError
from intracoder.ops.topology import IRIS_LEFT, IRIS_RIGHT, canonical_points
from intracoder.records import HeadFit, Shape

_DEVIATION_FLOOR: Final = 0.02  # coefficients that hardly move must not be blown up into noise

_UNIT_POSE_DEG: Final = 8.0
_UNIT_MOUTH_OPEN_CM: Final = 0.4
_UNIT_MOUTH_WIDTH_CM: Final = 0.6
_UNIT_LIDS_CM: Final = 0.25
_UNIT_GAZE_CM: Final = 0.15

_LIP_UPPER, _LIP_LOWER = 13, 14
_MOUTH_LEFT, _MOUTH_RIGHT = 61, 291
_LIDS_LEFT, _LIDS_RIGHT = (159, 145), (386, 374)
_CORNERS_LEFT, _CORNERS_RIGHT = (33, 133), (263, 362)

FEATURE_COUNT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShapeBasis:
    """How each blendshape coefficient moves the points of any face."""

    directions: Float64[np.ndarray, "52 478 3"]
    """Canonical centimetres per coefficient (0..1)."""

    def offset(self, blendshapes: Float32[np.ndarray, "*n 52"]) -> Float64[np.ndarray, "*n 478 3"]:
        """Displacement of the points at these coefficients, relative to all coefficients 0."""
        return np.tensordot(blendshapes.astype(np.float64), self.directions, axes=1)


def fit_shape_basis(
    shapes: Sequence[Float64[np.ndarray, "_ 478 3"]],
    blendshapes: Sequence[Float32[np.ndarray, "_ 52"]],
    *,
    ridge: float = 0.1,
) -> ShapeBasis:
    """One basis for several people: ``shape = neutral of the person + sum of coefficient * direction``.

    Args:
        shapes: pose-free shapes, one array for each person.
        blendshapes: the same frames' coefficients, 0..1.
        ridge: penalty, in units of the coefficients' variance per frame.

    Raises ConfigError where the lists or their lengths differ, or hold nothing.

    Source: Hoerl & Kennard, "Ridge Regression", Technometrics 12(1), 1970; slopes shared, intercepts own.
    """
    counts = [len(rows) for rows in shapes], [len(rows) for rows in blendshapes]
    if counts[0] != counts[1] or sum(counts[0]) == 0:
        raise ConfigError(f"shape basis: expected as many shapes as blendshapes, at least 1, got {counts}")
    people = [(s, b.astype(np.float64)) for s, b in zip(shapes, blendshapes, strict=True) if len(s)]
    spread = np.concatenate([rows for _, rows in people]).std(axis=0) + _DEVIATION_FLOOR
    x = np.concatenate([(rows - rows.mean(axis=0)) / spread for _, rows in people])
    y = np.concatenate([(shape - shape.mean(axis=0)).reshape(len(shape), -1) for shape, _ in people])
    slopes = np.linalg.solve(x.T @ x + ridge * len(x) * np.eye(x.shape[1]), x.T @ y)
    return ShapeBasis(directions=(slopes / spread[:, None]).reshape(-1, *people[0][0].shape[1:]))


def neutral_shape(
    basis: ShapeBasis, shapes: Float64[np.ndarray, "n 478 3"], blendshapes: Float32[np.ndarray, "n 52"]
) -> Shape:
    """A person's shape with every coefficient at 0: the mean of the shapes without the mean expression."""
    return np.asarray(shapes.mean(axis=0) - basis.offset(blendshapes.mean(axis=0)))


def frame_features(shape: Shape, head: HeadFit, neutral: Shape | None = None) -> Float64[np.ndarray, "8"]:
    """What two frames of different people have in common: pose, mouth, lids and gaze, comparable by distance.

    Args:
        shape: pose-free landmarks.
        head: where the head is; only its yaw and pitch count (crops are upright and of one size).
        neutral: the person's neutral shape, which mouth width and gaze are measured from. Without it the mouth's
            width counts from the canonical head's and gaze from the middle between the eye's corners, which is
            only right for frames of one person.

    Returns:
        yaw (> 0 to the viewer's right) and pitch (> 0 up) / 8 deg, mouth opening / 0.4 cm, mouth width / 0.6 cm,
        opening of the left and right lids / 0.25 cm, gaze to the right and down / 0.15 cm: a difference of 1 in each
        is about equally plain to see.
    """
    yaw = np.arcsin(np.clip(head.rotation[2, 0], -1.0, 1.0))
    pitch = np.arctan2(-head.rotation[2, 1], head.rotation[2, 2])
    base = canonical_points() if neutral is None else neutral
    gaze = _gaze(shape) if neutral is None else _gaze(shape) - _gaze(neutral)
    return np.array(
        [
            np.degrees(yaw) / _UNIT_POSE_DEG,
            np.degrees(pitch) / _UNIT_POSE_DEG,
            _distance(shape, _LIP_UPPER, _LIP_LOWER) / _UNIT_MOUTH_OPEN_CM,
            (_distance(shape, _MOUTH_LEFT, _MOUTH_RIGHT) - _distance(base, _MOUTH_LEFT, _MOUTH_RIGHT))
            / _UNIT_MOUTH_WIDTH_CM,
            _distance(shape, *_LIDS_LEFT) / _UNIT_LIDS_CM,
            _distance(shape, *_LIDS_RIGHT) / _UNIT_LIDS_CM,
            *(gaze / _UNIT_GAZE_CM),
        ]
    )


def nearest(
    features: Float64[np.ndarray, "n f"], wanted: Float64[np.ndarray, "f"], count: int
) -> Int64[np.ndarray, "k"]:
    """Indices of the ``count`` (or all) rows most like ``wanted``, nearest first; ties in order."""
    distances = ((features - wanted) ** 2).sum(axis=1)
    return np.argsort(distances, kind="stable")[:count].astype(np.int64)


def _distance(shape: Float64[np.ndarray, "p 3"], a: int, b: int) -> float:
    """Between two points, centimetres."""
    return float(np.linalg.norm(shape[a] - shape[b]))


def _gaze(shape: Shape) -> Float64[np.ndarray, "2"]:
    """Mean displacement of the irises from the middle between the eye's corners, x and y, centimetres."""
    eyes = ((IRIS_LEFT[0], _CORNERS_LEFT), (IRIS_RIGHT[0], _CORNERS_RIGHT))
    offsets = [shape[iris, :2] - shape[list(corners), :2].mean(axis=0) for iris, corners in eyes]
    return np.asarray((offsets[0] + offsets[1]) / 2)
