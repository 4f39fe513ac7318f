"""The visible label: an "AI MODIFIED" badge, its letters 5 % of the frame's shorter side high.

Source: GB 45438-2025 (text at least 5 % of the shorter side); the wording is that of the EU's icon for changed media.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float32

from intracoder.records import Image

LABEL_TEXT = "AI MODIFIED"
CAP_HEIGHT = 0.05
"""Height of the capitals, fraction of the frame's shorter side."""

_FONT = cv2.FONT_HERSHEY_DUPLEX
_FINER = 4
"""The badge is drawn this many times larger and reduced, since OpenCV's lettering is rough when small."""
_BOX_OPACITY = 0.72
_BOX_GREY = 16
_CAP_MIN_PX = 7
"""Under this, letters are no longer letters; only frames of less than 140 px a side reach it."""


class Badge:
    """The label of one frame size, drawn once and laid over every frame."""

    def __init__(self, height: int, width: int) -> None:
        """Draws the badge for frames of ``height`` x ``width`` pixels, bottom left."""
        self._size = (height, width)
        cap = max(_CAP_MIN_PX, math.ceil(CAP_HEIGHT * min(height, width)))
        badge, alpha = _draw(cap)
        room = (max(1, width - 2), max(1, height - 2))
        if badge.shape[1] > room[0] or badge.shape[0] > room[1]:  # a narrow portrait: as large as it fits
            ratio = min(room[0] / badge.shape[1], room[1] / badge.shape[0])
            size = (max(1, int(badge.shape[1] * ratio)), max(1, int(badge.shape[0] * ratio)))
            badge, alpha = (cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (badge, alpha))
        box_height, box_width = badge.shape[:2]
        margin = min(round(0.6 * cap), (height - box_height) // 2, (width - box_width) // 2)
        top, left = height - margin - box_height, max(0, margin)
        self._region = np.s_[max(0, top) : max(0, top) + box_height, left : left + box_width]
        # 8-bit fixed point: three times as fast as floats
        self._light = np.rint(badge * alpha[..., None] * 256).astype(np.uint16)
        self._keep = np.rint((1.0 - alpha[..., None]) * 256).astype(np.uint16)

    @property
    def region(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the badge, pixels; bottom and right are the first outside."""
        rows, columns = self._region
        return rows.start, columns.start, rows.stop, columns.stop

    def apply(self, image: Image) -> Image:
        """A copy of ``image`` with the badge; outside ``region`` it is bit for bit the same.

        Args:
            image: RGB of the size that the badge was drawn for.

        Raises:
            ValueError: another size.
        """
        if image.shape[:2] != self._size:
            raise ValueError(f"label: expected a frame of {self._size[1]}x{self._size[0]}, got {image.shape[1::-1]}")
        labelled = image.copy()
        part = labelled[self._region]
        labelled[self._region] = ((part * self._keep + self._light) >> 8).astype(np.uint8)
        return labelled


def _letters(cap_px: int) -> Float32[np.ndarray, "h w"]:
    """LABEL_TEXT as opacity 0..1, cropped to its ink, which is exactly ``cap_px`` high (there are only capitals)."""
    scale = _FINER * cap_px / 21  # about; versions of OpenCV draw the same font differently, so the ink is measured
    stroke = max(1, round(_FINER * cap_px / 7))
    (width, height), below = cv2.getTextSize(LABEL_TEXT, _FONT, scale, stroke)
    canvas = np.zeros((3 * (height + below), width + 2 * height), np.uint8)
    cv2.putText(canvas, LABEL_TEXT, (height, 2 * height), _FONT, scale, 255, stroke, cv2.LINE_AA)
    left, top, ink_width, ink_height = cv2.boundingRect(canvas)
    ink = canvas[top : top + ink_height, left : left + ink_width].astype(np.float32) / 255
    size = (max(1, round(ink_width * cap_px / ink_height)), cap_px)
    return cv2.resize(ink, size, interpolation=cv2.INTER_AREA)


def _draw(cap_px: int) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """White capitals of ``cap_px`` on a dark box with a light rim: colour 0..255 and opacity 0..1."""
    letters = _letters(cap_px)
    pad, rim = round(0.6 * cap_px), max(1, round(cap_px / 14))
    ink = np.pad(letters, pad)
    ink[:rim] = ink[-rim:] = 1
    ink[:, :rim] = ink[:, -rim:] = 1
    grey = _BOX_GREY + (255 - _BOX_GREY) * ink
    return cv2.merge((grey, grey, grey)), _BOX_OPACITY + (1 - _BOX_OPACITY) * ink
