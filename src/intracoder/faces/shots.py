"""Where one shot ends and the next begins."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from intracoder.records import Image

CUT_MIN: Final = 0.1
"""Change from one frame to the next that is a cut. Motion stays below 0.005 between neighbours; cuts between unlike
scenes measured 0.15 to 0.6; a sudden change of light by 20 levels, 0.16, counts as one too, which does no harm."""
SEARCH_MIN: Final = 0.02
"""Change after which somebody may have come in."""
DOUBT_MIN: Final = 0.006
"""Change that may be a cut between much alike pictures (portraits of different people before one backdrop: 0.013 and
more; a shaken camera: up to 0.012): whoever is being followed must be compared with what is known of them."""

_THUMBNAIL_WH = (64, 36)
_GRID = (2, 3)
_BINS = 16
_SPREAD = np.array([0.25, 0.5, 0.25])


class ShotWatch:
    """Compares each frame with the one before it. It keeps a thumbnail's histograms only."""

    def __init__(self) -> None:
        """Starts without a frame."""
        self._histograms: Float64[np.ndarray, "cells bins"] | None = None
        self._shape: tuple[int, ...] = ()

    def change(self, image: Image) -> float:
        """How much the picture changed since the last call, 0..1: 0 for the first, 1 where the size changed.

        Source: mean over a grid of the chi-square distance between grey histograms, after Nagasaka & Tanaka,
        "Automatic video indexing and full-video search for object appearances", 1992.
        """
        histograms = grid_histograms(image)
        last, last_shape = self._histograms, self._shape
        self._histograms, self._shape = histograms, image.shape
        if last is None:
            return 0.0
        if last_shape != image.shape:
            return 1.0
        return float((0.5 * (histograms - last) ** 2 / (histograms + last + 1e-9)).sum(1).mean())


def grid_histograms(image: Image) -> Float64[np.ndarray, "cells bins"]:
    """Grey histograms of the cells of a grid over a thumbnail, each summing to 1, slightly blurred over its bins."""
    small = cv2.resize(image, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    rows = np.array_split(grey, _GRID[0], axis=0)
    return np.stack([_histogram(cell) for row in rows for cell in np.array_split(row, _GRID[1], axis=1)])


def _histogram(cell: UInt8[np.ndarray, "h w"]) -> Float64[np.ndarray, "bins"]:
    """Shares of the grey levels; blurred, so that a level on the edge between two bins doesn't matter."""
    counts = np.bincount(cell.reshape(-1) // (256 // _BINS), minlength=_BINS)
    padded = np.concatenate([counts[:1], counts, counts[-1:]])
    return np.convolve(padded, _SPREAD, "valid") / cell.size
