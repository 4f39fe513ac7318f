"""Head pose from dense landmarks."""

from __future__ import annotations

import cv2
import numpy as np

from intracoder.errors import NoFaceError
from intracoder.ops.topology import STABLE, canonical_points
from intracoder.records import Points, Pose

_FOCAL = 2.0
"""Focal length over the picture's longer side: a portrait lens, 28 degrees of view. With 1, as for a wide angle, the
yaw of 85 mm footage comes out a quarter too small; the exact value matters little."""


def head_pose(points: Points, height: int, width: int) -> Pose:
    """Yaw, pitch and roll of the head as the camera sees it, degrees.

    The camera is taken to be a portrait lens without distortion. Against rendered heads with known pose, yaw follows
    with a slope of 0.90 to 0.99 (r > 0.99, deviation 1 to 2 degrees); pitch is looser (r 0.78 to 0.98, 1 to 3
    degrees), and each person has an offset of some degrees, as people differ from the mean face.

    Args:
        points: Dense landmarks, image pixels; z is not used.
        height: Of the image, pixels.
        width: Of the image, pixels.

    Raises:
        NoFaceError: The points are not finite or all in one place, so that there is no pose.

    Source: PnP by Terzakis & Lourakis, "SQPnP", ECCV 2020, refined by Levenberg-Marquardt on the reprojection error
    (OpenCV).
    """
    seen = points[list(STABLE), :2].astype(np.float64)
    if not np.isfinite(seen).all() or np.ptp(seen, axis=0).max() < 1e-3:
        raise NoFaceError("landmarks: expected finite points in different places for a head pose; drop this face")
    shape = canonical_points()[list(STABLE)]
    focal = _FOCAL * max(height, width)
    camera = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    is_found, turn, shift = cv2.solvePnP(shape, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not is_found:
        raise NoFaceError("landmarks: no head pose fits them; drop this face")
    turn, shift = cv2.solvePnPRefineLM(shape, seen, camera, None, turn, shift)
    rotation = cv2.Rodrigues(turn)[0]
    # canonical and camera axes: x right, y down, z away; R = Rz(roll) Ry(-yaw) Rx(-pitch)
    return Pose(
        yaw_deg=float(np.degrees(np.arctan2(rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0])))),
        pitch_deg=float(np.degrees(-np.arctan2(rotation[2, 1], rotation[2, 2]))),
        roll_deg=float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0]))),
    )
