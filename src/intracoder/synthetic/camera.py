"""Where a point of the scene falls in the picture: the same pinhole as the renderer's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from intracoder.config import require

SENSOR_MM: Final = 36.0
"""Width of a full-frame sensor, which a square picture fills."""
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera of the scene; scene axes are x right, y away, z up, in metres, the neck joint at the origin."""

    lens_mm: float = 85.0
    position: Vector = (0.0, -0.93, 0.12)
    target: Vector = (0.0, 0.0, 0.115)

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(8 <= self.lens_mm <= 400, "camera.lens_mm", "8..400", self.lens_mm)
        gap = np.subtract(self.target, self.position)
        level = float(np.hypot(gap[0], gap[1]))
        require(level > 0.05, "camera.position", "beside its target, not above it", self.position)


def to_scene(points: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
    """Head axes (y up, facing +z) to scene axes (z up, facing -y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1)


def project(
    camera: Camera, points: Float64[np.ndarray, "n 3"], size_px: int
) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, "n"]]:
    """Points in head axes to (x, y) in a square picture and their distance along the view, metres.

    A point in the middle of the view falls on ``size_px / 2``: edges of pixels are at whole numbers, as the metadata
    of the project's clips have it. Take half a pixel off for this package's pixel-centre rule.
    """
    position, target = np.array(camera.position), np.array(camera.target)
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    offset = to_scene(points) - position
    depth = offset @ forward
    scale = camera.lens_mm / SENSOR_MM * size_px / depth
    middle = size_px / 2
    return np.stack([middle + scale * (offset @ right), middle - scale * (offset @ up)], 1), depth
