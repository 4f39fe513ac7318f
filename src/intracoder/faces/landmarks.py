"""Dense landmarks with irises, and expression coefficients.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019, and
Grishchenko et al., "Blendshapes GHUM", 2023; MediaPipe's face_landmarker networks (Apache-2.0).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intracoder.errors import WeightsError
from intracoder.faces.window import Window, cut, window_of_points, window_of_points5
from intracoder.nets.runtime import onnx_session
from intracoder.ops.geometry import invert_affine
from intracoder.records import Blendshapes, Image, Points, Points5

_CROP_PX = 256
_POINT_COUNT = 478
_LOOKS_MAX = 3
_SETTLED = 0.04
"""Change of the window, over its side, under which another look gives nothing new."""

BLENDSHAPE_NAMES: Final = (
    *("_neutral", "browDownLeft", "browDownRight", "browInnerUp"),
    *("browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft"),
    *("cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft"),
    *("eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft"),
    *("eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft"),
    *("eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward"),
    *("jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)
"""ARKit's names, in the order of the coefficients; left and right are the person's own here, as in ARKit."""

_BLENDSHAPE_POINTS: Final = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314),
    *(317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382),
    *(384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473),
    *(474, 475, 476, 477),
)
"""Landmarks that the expression network reads."""

_EYE_LEFT_CORNERS, _EYE_RIGHT_CORNERS = (33, 133), (362, 263)
_NOSE_TIP, _MOUTH_LEFT, _MOUTH_RIGHT = 1, 61, 291


class FaceMesh:
    """Landmarker with 478 points."""

    def __init__(self, *, threads: int = 0) -> None:
        """Opens the networks.

        Args:
            threads: CPU threads of each network; 0 takes the machine's.
        """
        self._mesh_net = onnx_session("face_landmarks_478", threads=threads)
        self._expression_net = onnx_session("face_blendshapes_52", threads=threads)
        if len(_BLENDSHAPE_POINTS) != 146 or len(BLENDSHAPE_NAMES) != 52:
            raise WeightsError("face_blendshapes_52: expected 146 points in and 52 names out")

    def landmarks(self, image: Image, near: Points5 | Points) -> tuple[Points, float]:
        """Dense points in image pixels, and presence 0..1.

        Args:
            image: The whole frame.
            near: Five points of a detector: the network looks up to three times, each time through a better window.
                Or the dense points of the frame before: it looks once.
        """
        if near.shape[0] == _POINT_COUNT:
            return self._look(image, window_of_points(near))
        window = window_of_points5(near)
        for _ in range(_LOOKS_MAX - 1):
            points, presence = self._look(image, window)
            better = window_of_points(points)
            moved = float(np.abs(better.center - window.center).max()) + abs(better.side_px - window.side_px)
            if moved < _SETTLED * window.side_px and abs(better.angle_rad - window.angle_rad) < _SETTLED:
                return points, presence
            window = better
        return self._look(image, window)

    def blendshapes(self, points: Points) -> Blendshapes:
        """52 expression coefficients, 0..1, in the order of BLENDSHAPE_NAMES; size and place don't matter."""
        chosen = np.ascontiguousarray(points[None, list(_BLENDSHAPE_POINTS), :2])
        (coefficients,) = self._expression_net.run(chosen)
        return np.asarray(np.clip(coefficients.reshape(-1), 0, 1))

    def _look(self, image: Image, window: Window) -> tuple[Points, float]:
        """One run of the landmark network on one square."""
        frame_to_crop = window.frame_to_crop(_CROP_PX)
        crop = cut(image, frame_to_crop, _CROP_PX)
        found, logit, *_ = self._mesh_net.run(crop[None].astype(np.float32) / np.float32(255))
        points = found.reshape(_POINT_COUNT, 3).astype(np.float64)
        # the network counts from the crop's outer edge: the middle of its first pixel is 0.5
        points[:, :2] -= 0.5
        crop_to_frame = invert_affine(frame_to_crop)
        points[:, :2] = points[:, :2] @ crop_to_frame[:, :2].T + crop_to_frame[:, 2]
        points[:, 2] *= window.side_px / _CROP_PX
        return points.astype(np.float32), float(1 / (1 + np.exp(-float(logit.reshape(-1)[0]))))


def points5_of(points: Points) -> Points5:
    """The five points (eye_left, eye_right, nose, mouth_left, mouth_right) of dense landmarks, same pixels.

    An eye is the middle of its corners, so that gaze and blinks don't move it.
    """
    eyes = points[list(_EYE_LEFT_CORNERS), :2].mean(0), points[list(_EYE_RIGHT_CORNERS), :2].mean(0)
    return np.stack([*eyes, points[_NOSE_TIP, :2], points[_MOUTH_LEFT, :2], points[_MOUTH_RIGHT, :2]])
