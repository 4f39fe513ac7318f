"""A sheet of paper in pixels: pictures, lines and words by position. Drawn by Matplotlib, without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from intracoder.records import Image

INK = "#1c2330"
SOFT_INK = "#6b7480"
PAPER = "#ffffff"
COLORS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#be123c", "#0e7490", "#a16207", "#475569")
"""Colours of identities, methods and curves, in order of use."""


Px: TypeAlias = float | int
"""A position or length on the sheet; the tests' type checks do not take an int for a float."""


AnyImage: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
"""An Image whose size has nothing to do with that of others beside it."""


def fit_square(image: Image, side_px: int) -> UInt8[np.ndarray, "s s 3"]:
    """``image`` in a white square of ``side_px``: scaled to fit, never stretched."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.full((side_px, side_px, 3), 255, np.uint8)
    y, x = (side_px - new[1]) // 2, (side_px - new[0]) // 2
    square[y : y + new[1], x : x + new[0]] = small
    return square


class Canvas:
    """White sheet of ``height`` x ``width`` pixels; x to the right, y down, origin at the top left corner."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=PAPER)
        self._agg = FigureCanvasAgg(self.figure)
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set_xlim(0, width)
        self._axes.set_ylim(height, 0)
        self._axes.axis("off")
        self._pictures: list[tuple[Image, int, int]] = []

    def picture(self, image: Image, x: int, y: int, *, edge: str | None = None) -> None:
        """Lays ``image`` down pixel for pixel, top left corner at (x, y), with a frame of colour ``edge``."""
        height, width = image.shape[:2]
        self._pictures.append((image, x, y))
        if edge is not None:
            self.line([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], color=edge, width=4)

    def line(self, points: Sequence[tuple[Px, Px]], *, color: str = INK, width: Px = 1.6, dotted: bool = False) -> None:
        """Joins ``points`` by a solid or a dotted line."""
        xs, ys = zip(*points, strict=True)
        style: object = (0, (0.1, 2.2)) if dotted else "solid"
        self._axes.plot(xs, ys, color=color, linewidth=width, linestyle=style, dash_capstyle="round", zorder=1)

    def words(
        self,
        text: str,
        x: Px,
        y: Px,
        *,
        size: Px = 11,
        color: str = INK,
        align: str = "left",
        bold: bool = False,
    ) -> None:
        """Writes ``text``, vertically centred on y; ``align`` says which part of it is at x."""
        weight = "bold" if bold else "normal"
        # a name may hold a dollar sign; it is no formula
        self._axes.text(
            x, y, text, fontsize=size, color=color, ha=align, va="center", weight=weight, parse_math=False, zorder=3
        )

    def to_image(self) -> Image:
        """The sheet as RGB. Pictures are copied in last, so that their pixels stay exact."""
        self._agg.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(self._agg.buffer_rgba())  # type: ignore[no-untyped-call]
        sheet = np.ascontiguousarray(pixels[..., :3]).copy()
        for image, x, y in self._pictures:
            sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
        return sheet
