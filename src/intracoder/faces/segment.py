"""Where the person is, and where a hand lies over it.

Source: MediaPipe's selfie segmentation and Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020;
anchors, decoding and windows after its graphs (Apache-2.0).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from intracoder.faces.boxes import suppress
from intracoder.faces.window import Window, cut
from intracoder.nets.runtime import onnx_session
from intracoder.ops.geometry import invert_affine
from intracoder.protocols import Segmenter
from intracoder.records import Image, Mask

_PERSON_PX = 256
_PALM_PX = 192
_HAND_PX = 224
_PALM_GRIDS: Final = ((24, 2), (12, 6))
"""Cells along a side and anchors in each cell: 2016 in all."""
_PALM_SCORE_MIN = 0.5
_PALM_OVERLAP_MAX = 0.3
_HANDS_MAX = 4
_HAND_PRESENCE_MIN = 0.5
_HAND_WINDOW = 2.6
"""Side of the hand's window over the palm's."""
_HAND_SHIFT = 0.5
"""How far the window's middle lies from the palm's towards the fingers, in palm sides."""
_FINGERS: Final = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_PALM: Final = (0, 1, 5, 9, 13, 17)
_FINGER_WIDTH = 0.36
"""Of the palm's width, between the roots of index and little finger."""
_PALM_EDGE = 0.5
"""How far flesh reaches beyond the palm's joints, as line width over the palm's width."""
_WRIST_LENGTH = 0.8
"""Length of forearm added behind the wrist, over the palm's width: where there is a hand there is one."""
_EDGE_SOFTNESS = 0.05


class PersonSegmenter:
    """Segmenter of people against the background; best for one person who fills much of the picture."""

    def __init__(self, *, threads: int = 0) -> None:
        """Opens the network with so many CPU threads; 0 takes the machine's."""
        self._net = onnx_session("selfie_segmentation", threads=threads)

    def segment(self, image: Image) -> Mask:
        """Probability of person at the image's size; the network itself sees 256 x 256, so edges are soft."""
        small = cv2.resize(image, (_PERSON_PX, _PERSON_PX), interpolation=cv2.INTER_AREA)
        (probability,) = self._net.run(small[None].astype(np.float32) / np.float32(255))
        return _resized(probability.reshape(_PERSON_PX, _PERSON_PX), image)


class HandSegmenter:
    """Segmenter of hands: palms are detected, 21 points found, and fingers and palm drawn from them.

    Every image is looked at by itself. Of rendered open hands before a face, seen from all around, 30 of 32 were found
    and over 0.9 of the mask lay on the hand; only edge-on hands were missed, and no hand was seen where there is
    none. Fists and fingers alone are often missed, and an arm is followed only a little beyond the wrist: the mask
    says where a hand surely is, not that there is none elsewhere.
    """

    def __init__(self, *, threads: int = 0) -> None:
        """Opens the networks with so many CPU threads; 0 takes the machine's."""
        self._palm_net = onnx_session("palm_detection", threads=threads)
        self._hand_net = onnx_session("hand_landmarks", threads=threads)
        self._anchors = _palm_anchors()

    def segment(self, image: Image) -> Mask:
        """1 on hands, 0 elsewhere, with a soft edge, at the image's size."""
        mask = np.zeros(image.shape[:2], np.float32)
        for points in self.hands(image):
            np.maximum(mask, _drawn_hand(points, *image.shape[:2]), out=mask)
        return mask

    def hands(self, image: Image) -> list[Float64[np.ndarray, "21 2"]]:
        """The points of each hand, wrist first, then thumb to little finger from root to tip; image pixels."""
        found = [self._points(image, window) for window in self._palm_windows(image)]
        return [points for points in found if points is not None]

    def _palm_windows(self, image: Image) -> list[Window]:
        """A turned square around each hand whose palm is detected, the fingers upwards in it."""
        height, width = image.shape[:2]
        # the network wants squares: the shorter side is filled up with black
        whole = Window(
            center=np.array([(width - 1) / 2, (height - 1) / 2]), side_px=float(max(height, width)), angle_rad=0.0
        )
        frame_to_crop = whole.frame_to_crop(_PALM_PX)
        crop = cut(image, frame_to_crop, _PALM_PX, border=cv2.BORDER_CONSTANT)
        raw, logits = self._palm_net.run(crop[None].astype(np.float32) / np.float32(255))
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -100, 100)))
        good = np.nonzero(scores >= _PALM_SCORE_MIN)[0]
        values = raw.reshape(-1, 18)[good].astype(np.float64).reshape(-1, 9, 2)
        # middle and size of the box, then seven points; all but the size are offsets from the anchor
        values[:, [0, *range(2, 9)]] += self._anchors[good][:, None]
        half = values[:, 1] / 2
        boxes = np.concatenate([values[:, 0] - half, values[:, 0] + half], 1)
        kept = suppress(boxes, scores[good], _PALM_OVERLAP_MAX)[:_HANDS_MAX]
        return [_hand_window(v, invert_affine(frame_to_crop)) for v in values[kept]]

    def _points(self, image: Image, window: Window) -> Float64[np.ndarray, "21 2"] | None:
        """The hand's points in image pixels, None where the network sees no hand."""
        frame_to_crop = window.frame_to_crop(_HAND_PX)
        crop = cut(image, frame_to_crop, _HAND_PX)
        raw, presence, *_ = self._hand_net.run(crop[None].astype(np.float32) / np.float32(255))
        if float(presence.reshape(-1)[0]) < _HAND_PRESENCE_MIN:
            return None
        crop_to_frame = invert_affine(frame_to_crop)
        # counted from the crop's outer edge, as all of these networks do
        in_crop = raw.reshape(21, 3)[:, :2].astype(np.float64) - 0.5
        return np.asarray(in_crop @ crop_to_frame[:, :2].T + crop_to_frame[:, 2])


class VisiblePerson:
    """Segmenter of the person where no hand covers it: person x (1 - hand)."""

    def __init__(self, person: Segmenter, hand: Segmenter) -> None:
        """Takes the two segmenters whose masks are multiplied."""
        self._person = person
        self._hand = hand

    def segment(self, image: Image) -> Mask:
        """0..1 at the image's size."""
        return np.asarray(self._person.segment(image) * (1 - self._hand.segment(image)))


def _palm_anchors() -> Float64[np.ndarray, "2016 2"]:
    """Middles of the palm network's anchors, crop pixels counted from the outer edge."""
    anchors = []
    for cells, per_cell in _PALM_GRIDS:
        y, x = np.mgrid[:cells, :cells]
        middles = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) * (_PALM_PX / cells)
        anchors.append(np.repeat(middles, per_cell, axis=0))
    return np.concatenate(anchors)


def _hand_window(values: Float64[np.ndarray, "9 2"], crop_to_frame: Float64[np.ndarray, "2 3"]) -> Window:
    """The window of one palm: its box's middle and size, then seven points, first the wrist, third the middle root."""
    scale = float(np.linalg.norm(crop_to_frame[:, 0]))
    center, wrist, root = (values[[0, 2, 4]] - 0.5) @ crop_to_frame[:, :2].T + crop_to_frame[:, 2]
    side = max(1.0, float(values[1].max()) * scale)
    along = root - wrist
    angle = float(np.arctan2(along[0], -along[1]))
    up = np.array([np.sin(angle), -np.cos(angle)])
    return Window(center=center + _HAND_SHIFT * side * up, side_px=_HAND_WINDOW * side, angle_rad=angle)


def _drawn_hand(points: Float64[np.ndarray, "21 2"], height: int, width: int) -> Float32[np.ndarray, "h w"]:
    """Fingers as thick lines, the palm as a filled outline, a stub of the forearm; soft edge."""
    canvas = np.zeros((height, width), np.uint8)
    palm_width = max(float(np.linalg.norm(points[17] - points[5])), float(np.linalg.norm(points[9] - points[0])) / 2)
    # far outside the image OpenCV's fixed-point coordinates would overflow
    safe = np.clip(points, -4 * max(height, width), 5 * max(height, width))
    shift = 4
    fixed = np.round(safe * 2**shift).astype(np.int32)
    finger_px, edge_px = max(1, round(_FINGER_WIDTH * palm_width)), max(1, round(_PALM_EDGE * palm_width))
    outline = cv2.convexHull(fixed[list(_PALM)])
    cv2.fillPoly(canvas, [outline], 255, cv2.LINE_8, shift)
    cv2.polylines(canvas, [outline], isClosed=True, color=255, thickness=edge_px, lineType=cv2.LINE_8, shift=shift)
    for finger in _FINGERS:
        cv2.polylines(canvas, [fixed[list(finger)]], isClosed=False, color=255, thickness=finger_px, shift=shift)
    along = safe[0] - safe[9]
    end = safe[0] + along / max(float(np.linalg.norm(along)), 1e-6) * _WRIST_LENGTH * palm_width
    arm = np.round(np.stack([safe[0], end]) * 2**shift).astype(np.int32)
    cv2.polylines(canvas, [arm], isClosed=False, color=255, thickness=max(1, round(0.7 * palm_width)), shift=shift)
    soft = cv2.GaussianBlur(canvas.astype(np.float32) / np.float32(255), (0, 0), max(0.5, _EDGE_SOFTNESS * palm_width))
    return np.asarray(soft, dtype=np.float32)


def _resized(mask: Float32[np.ndarray, "s s"], image: Image) -> Mask:
    """A network's square mask at the image's size."""
    height, width = image.shape[:2]
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(large, dtype=np.float32).reshape(height, width), 0, 1)
