"""Things that pass before a face: a ball, a bar, a microphone, a hand. Plain solids, made here, that move on a path.

They are rendered with everything else, cast shadows, and are not part of the face mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float64, Int64

from intracoder.config import require
from intracoder.synthetic.camera import Vector

Shape = Literal["ball", "bar", "microphone", "hand"]
_ROUND: Final = 20
"""Corners of a circle."""
_OUTSIDE_M: Final = 0.3
"""How far beside the head a thing begins and ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solid:
    """A mesh about its own middle, head axes, metres."""

    positions: Float64[np.ndarray, "v 3"]
    triangles: Int64[np.ndarray, "t 3"]
    color: Vector
    """Linear."""
    roughness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Occluder:
    """A thing and its way: from one side to the other in front of the face, or up to it and back."""

    shape: Shape = "hand"
    start: int = 0
    """Frame of the track in which it comes in."""
    stop: int = 50
    """Frame in which it has gone."""
    height_m: float = 0.09
    """Of its middle above the neck joint, about 0.06 (mouth) to 0.15 (eyes)."""
    distance_m: float = 0.16
    """Of its middle before the neck joint; the nose is at about 0.13."""
    size: float = 1.0
    """Factor of its natural size."""
    from_left: bool = True
    """The viewer's left."""
    turns_back: bool = False
    """Comes up to the face and goes back, instead of passing."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(0 <= self.start < self.stop, "occluder.stop", "more than start, which is at least 0", self.stop)
        require(0.1 <= self.size <= 5, "occluder.size", "0.1..5", self.size)
        require(0.1 <= self.distance_m <= 0.6, "occluder.distance_m", "0.1..0.6", self.distance_m)

    def place(self, frame: int) -> tuple[Float64[np.ndarray, "3"], float]:
        """Where its middle is in a frame, head axes, and how far it is tilted, degrees; it waits beside the picture."""
        share = float(np.clip((frame - self.start) / (self.stop - self.start), 0, 1))
        if self.turns_back:
            share = 0.5 * float(np.sin(np.pi * share))
        side = -1.0 if self.from_left else 1.0
        x = side * _OUTSIDE_M * (1 - 2 * share)
        if share in (0.0, 1.0):
            x = side * 20 * _OUTSIDE_M  # so far away that it casts no shadow either
        return np.array([x, self.height_m + 0.02 * np.sin(2 * np.pi * share), self.distance_m]), 25 * (share - 0.5)

    def positions(self, solid: Solid, frame: int) -> Float64[np.ndarray, "v 3"]:
        """The solid's vertices in a frame."""
        middle, tilt_deg = self.place(frame)
        angle = np.radians(tilt_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        return np.asarray(self.size * solid.positions @ turn.T + middle)


def solid_of(shape: Shape) -> Solid:
    """The mesh of a shape."""
    if shape == "ball":
        return _joined([_capsule((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.04)], (0.55, 0.08, 0.05), 0.5)
    if shape == "bar":
        return _joined([_capsule((0.0, -0.25, 0.0), (0.0, 0.25, 0.0), 0.014)], (0.25, 0.26, 0.28), 0.35)
    if shape == "microphone":
        head = _capsule((0.0, 0.005, 0.0), (0.0, -0.005, 0.0), 0.026)
        grip = _capsule((0.0, -0.03, 0.0), (0.0, -0.22, 0.03), 0.013)
        return _joined([head, grip], (0.03, 0.03, 0.032), 0.55)
    palm = _flattened(_capsule((0.0, -0.03, 0.0), (0.0, 0.022, 0.0), 0.041))
    tips = ((-0.042, 0.098), (-0.015, 0.118), (0.013, 0.112), (0.039, 0.085))
    fingers = [_capsule((x * 0.72, 0.04, 0.0), (x, y, 0.012), 0.0088) for x, y in tips]
    thumb = _capsule((0.028, -0.03, 0.0), (0.068, 0.028, 0.016), 0.0105)
    wrist = _flattened(_capsule((0.0, -0.05, 0.0), (0.01, -0.3, 0.05), 0.028), 0.75)
    return _joined([palm, *fingers, thumb, wrist], (0.42, 0.22, 0.15), 0.55)


def _flattened(piece: tuple[np.ndarray, np.ndarray], share: float = 0.38) -> tuple[np.ndarray, np.ndarray]:
    """A piece made thinner towards the viewer."""
    positions, triangles = piece
    return positions * np.array([1.0, 1.0, share]), triangles


def _capsule(start: Vector, end: Vector, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A rod with round ends: vertices and triangles."""
    first, last = np.array(start, float), np.array(end, float)
    length = float(np.linalg.norm(last - first))
    axis = (last - first) / length if length > 0 else np.array([0.0, 1.0, 0.0])
    side = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    half = _ROUND // 4
    down = np.concatenate([np.linspace(-np.pi / 2, 0, half + 1), np.linspace(0, np.pi / 2, half + 1)])
    middles = [first] * (half + 1) + [last] * (half + 1)
    around = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    ring = np.cos(around)[:, None] * side + np.sin(around)[:, None] * other
    rows = [m + radius * (np.cos(a) * ring + np.sin(a) * axis) for m, a in zip(middles, down, strict=True)]
    k = np.arange(_ROUND)
    after = (k + 1) % _ROUND
    triangles = []
    for row in range(len(rows) - 1):
        low, high = row * _ROUND, (row + 1) * _ROUND
        triangles += [np.stack([low + k, low + after, high + after], 1), np.stack([low + k, high + after, high + k], 1)]
    return np.concatenate(rows), np.concatenate(triangles)


def _joined(pieces: list[tuple[np.ndarray, np.ndarray]], color: Vector, roughness: float) -> Solid:
    """Several pieces as one solid."""
    positions, triangles, count = [], [], 0
    for points, corners in pieces:
        positions.append(points)
        triangles.append(corners + count)
        count += len(points)
    return Solid(
        positions=np.concatenate(positions),
        triangles=np.concatenate(triangles).astype(np.int64),
        color=color,
        roughness=roughness,
    )
