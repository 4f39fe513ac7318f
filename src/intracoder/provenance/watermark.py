"""The invisible mark: 48 bits in every frame, read from what is left of the file.

Embedding adds one keyed pattern, the same in every frame and repeated over it, scaled by a map of what hides it.
Strength follows the frame's size: a small frame, which loses more of the mark to compression, gets more of it.

A mark counts as found where the chance that an unmarked picture scores so high is bounded by 1e-9 (the bound and
its proof are in ``watermark_search``). The key is public, since anyone must be able to look for the mark; so anyone
could also forge or subtract it. A missing mark proves nothing.

Source: spread-spectrum marking after Cox et al. 1997; tiling for shift invariance after Kalker et al. 1999 (JAWS).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32

from intracoder.provenance.watermark_carrier import PUBLIC_KEY, Carrier
from intracoder.provenance.watermark_code import PAYLOAD_BYTES
from intracoder.provenance.watermark_search import Residual, Searcher
from intracoder.records import Image, WatermarkReading

__all__ = ["PAYLOAD_BYTES", "Residual", "TileMark", "strength_for"]

_STRENGTH_720 = 0.41
_SIZE_EXPONENT = 1.57
_STRENGTH_MIN, _STRENGTH_MAX = 0.30, 1.0
_PROMISED_LINES = 360
_STRENGTH_SMALL = 0.6
"""Under _PROMISED_LINES nothing is promised after re-encoding, and full strength shows as grain on plain walls."""
_FLAT_LEVELS, _LEVELS_PER_ACTIVITY, _MOST_LEVELS = 0.7, 0.55, 4.5
_EDGE_LEVELS = 8.0
"""A step counts as this much activity at most: beside a hard edge the flat side shows what it is given."""


def strength_for(height: int, width: int) -> float:
    """Strength of the mark by the frame's shorter side: 0.41 at 720, 0.70 at 512, 1.0 from 407 to 360, then 0.6."""
    if min(height, width) < _PROMISED_LINES:
        return _STRENGTH_SMALL
    strength = _STRENGTH_720 * (720 / min(height, width)) ** _SIZE_EXPONENT
    return float(np.clip(strength, _STRENGTH_MIN, _STRENGTH_MAX))


class TileMark:
    """Watermarker of this project. Keeps the pattern of the last frame size and payload."""

    def __init__(self, key: bytes = PUBLIC_KEY, *, over: bytes | None = None) -> None:
        """Prepares the carrier of ``key``.

        Args:
            key: Whose mark; the public one by default.
            over: Payload that the frames carry already, when a marked clip is edited again: two payloads in one
                place would cancel each other, so the new one is written over it.
        """
        self._over = over
        self._carrier = Carrier(key)
        self._searcher = Searcher(self._carrier)
        self._made_for: tuple[int, int, bytes] | None = None
        self._pattern: Float32[np.ndarray, "h w"] = np.zeros((0, 0), np.float32)
        self._inverse = self._pattern

    def embed(self, image: Image, payload: bytes) -> Image:
        """Marks a frame.

        Args:
            image: RGB, any size; under 360 lines the mark is not claimed to survive compression.
            payload: 6 bytes.

        Returns:
            A new image; all three channels change alike, mostly by 0 to 3 levels, by at most 20.

        Raises:
            ValueError: a payload of another length.
        """
        height, width = image.shape[:2]
        if self._made_for != (height, width, payload):
            pattern = self._carrier.pattern(height, width, payload, over=self._over)
            self._pattern = pattern * np.float32(strength_for(height, width))
            self._inverse = -self._pattern
            self._made_for = (height, width, payload)
        hiding = _hiding(image)
        # up and down apart: unsigned bytes that saturate are twice as fast here as signed 16-bit ones
        up = cv2.cvtColor(cv2.multiply(self._pattern, hiding, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB)
        marked = cv2.add(image, up)
        down = cv2.cvtColor(cv2.multiply(self._inverse, hiding, dtype=cv2.CV_8U), cv2.COLOR_GRAY2RGB, dst=up)
        return cv2.subtract(marked, down, dst=marked)

    def read(self, images: Sequence[Image]) -> WatermarkReading:
        """The mark in frames of one file, or in a single picture. Never raises on unmarked images.

        Args:
            images: RGB, all of one size, at least one.
        """
        residual = Residual()
        for image in images:
            residual.add(image)
        return self.read_residual(residual)

    def read_residual(self, residual: Residual, *, search: bool = True) -> WatermarkReading:
        """As ``read``, for frames that were added one by one and need not be kept.

        Args:
            residual: At least one frame.
            search: Look for a turned, scaled, shifted or mirrored mark too, which takes seconds.
        """
        return self._searcher.read(residual, search=search)


def _hiding(image: Image) -> Float32[np.ndarray, "h w"]:
    """Grey levels (1 sigma, at strength 1) that the picture hides: more in texture, less on flat areas."""
    height, width = image.shape[:2]
    step = max(1, round(min(height, width) / 180))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    levels = small.astype(np.float32)
    detail = np.minimum(cv2.absdiff(levels, cv2.GaussianBlur(levels, (0, 0), 2.0)), np.float32(_EDGE_LEVELS))
    activity = cv2.GaussianBlur(detail, (0, 0), 2.1)
    hiding = np.clip(_FLAT_LEVELS + _LEVELS_PER_ACTIVITY * activity, _FLAT_LEVELS, _MOST_LEVELS)
    return np.asarray(cv2.resize(hiding, (width, height), interpolation=cv2.INTER_LINEAR))
