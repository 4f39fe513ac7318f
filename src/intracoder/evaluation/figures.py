"""Pictures that explain a swap: the performance grid, strips and error maps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from intracoder.errors import ConfigError
from intracoder.evaluation.canvas import COLORS, INK, SOFT_INK, AnyImage, Canvas, Px, fit_square
from intracoder.records import Image

_MARGIN = 28
_LABEL = 140
_GAP_X, _GAP_Y = 30, 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdentityRow:
    """One source person's part of the performance grid; crops are RGB uint8 of any size."""

    name: str
    swapped_crops: Sequence[AnyImage]
    """The target's performances with this identity, one per column."""
    source_crops: Sequence[AnyImage] = ()
    """This person's own nearest frames, one per column, or empty."""
    source_note: str = "nearest own frame"
    """What the source's frames are."""


def draw_grid(
    target_crops: Sequence[AnyImage],
    rows: Sequence[IdentityRow],
    *,
    target_name: str = "target",
    column_names: Sequence[str] = (),
    title: str = "",
    cell_px: int = 144,
) -> AnyImage:
    """The performance grid: columns are performances, rows are people.

    Solid lines join faces of the same pose and expression (target and swapped), dotted lines join faces of the
    same identity (along each row, and from a swapped face to the source's own frame below it).

    Args:
        target_crops: The target's faces, one per column, RGB uint8.
        rows: One entry per source identity.
        target_name: Label of the first row.
        column_names: Words over the columns, for example frame numbers; empty for none.
        title: Heading; empty for none.
        cell_px: Side of a face in the figure.

    Raises:
        ConfigError: where a row has another number of crops than ``target_crops``, or there are none.
    """
    count = len(target_crops)
    if count == 0:
        raise ConfigError("performance grid: expected at least one target crop, got none")
    for row in rows:
        if len(row.swapped_crops) != count or len(row.source_crops) not in (0, count):
            got = f"{len(row.swapped_crops)} swapped and {len(row.source_crops)} source crops"
            raise ConfigError(
                f"performance grid, row {row.name!r}: expected {count} crops as in the target row, got {got}"
            )
    if column_names and len(column_names) != count:
        raise ConfigError(f"performance grid: expected {count} column names, got {len(column_names)}")
    head = (34 if title else 0) + (22 if column_names else 0)
    lines = 1 + sum(2 if row.source_crops else 1 for row in rows)
    height = 2 * _MARGIN + head + lines * cell_px + (lines - 1) * _GAP_Y + 42
    width = 2 * _MARGIN + _LABEL + count * cell_px + (count - 1) * _GAP_X
    sheet = Canvas(height, width)
    if title:
        sheet.words(title, _MARGIN, _MARGIN + 6, size=14, bold=True)
    grid = _Grid(sheet=sheet, top=_MARGIN + head, cell_px=cell_px)
    for k, name in enumerate(column_names):
        sheet.words(name, grid.x(k) + cell_px / 2, grid.top - 12, size=9.5, color=SOFT_INK, align="center")
    _fill_grid(grid, target_crops, rows, target_name)
    _legend(sheet, height - _MARGIN - 2)
    return sheet.to_image()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """Where the cells of the performance grid are."""

    sheet: Canvas
    top: int
    cell_px: int

    def x(self, column: int) -> int:
        return _MARGIN + _LABEL + column * (self.cell_px + _GAP_X)

    def y(self, line: int) -> int:
        return self.top + line * (self.cell_px + _GAP_Y)

    def place(self, line: int, crops: Sequence[AnyImage], color: str, name: str, role: str) -> None:
        """One row of faces with its label, joined by a dotted line: the same identity."""
        middle = self.y(line) + self.cell_px / 2
        self.sheet.words(name, _MARGIN, middle - 9, size=12, bold=True, color=color)
        self.sheet.words(role, _MARGIN, middle + 10, size=9, color=SOFT_INK)
        for k, crop in enumerate(crops):
            if k:
                ends = [(self.x(k) - _GAP_X, middle), (self.x(k), middle)]
                self.sheet.line(ends, color=color, width=2.6, dotted=True)
            self.sheet.picture(fit_square(crop, self.cell_px), self.x(k), self.y(line), edge=color)

    def join(self, upper: int, column: int, *, dotted: bool, color: str) -> None:
        """Line from a cell of row ``upper`` to the cell below it."""
        x = self.x(column) + self.cell_px / 2
        ends = [(x, self.y(upper) + self.cell_px), (x, self.y(upper + 1))]
        self.sheet.line(ends, color=color, width=2.6 if dotted else 2.2, dotted=dotted)

    def bridge(self, lower: int, upper: int, column: int, color: str) -> None:
        """Solid line from row ``upper`` to row ``lower`` past the rows between, at the left side of the cells."""
        x, half = self.x(column) - _GAP_X / 2 + 5, self.cell_px / 2
        start, end = self.y(upper) + half + 24, self.y(lower) + half - 24
        self.sheet.line([(self.x(column), start), (x, start), (x, end), (self.x(column), end)], color=color, width=1.8)


def _fill_grid(grid: _Grid, target_crops: Sequence[AnyImage], rows: Sequence[IdentityRow], target_name: str) -> None:
    """Places target row, then each identity, and joins what belongs together."""
    grid.place(0, target_crops, SOFT_INK, target_name, "original")
    line, last = 1, 0
    for k, row in enumerate(rows):
        color = COLORS[k % len(COLORS)]
        grid.place(line, row.swapped_crops, color, row.name, "swapped")
        for column in range(len(target_crops)):
            if last == line - 1:
                grid.join(last, column, dotted=False, color=INK)
            else:
                grid.bridge(line, last, column, INK)
        last = line
        if row.source_crops:
            grid.place(line + 1, row.source_crops, color, row.name, row.source_note)
            for column in range(len(target_crops)):
                grid.join(line, column, dotted=True, color=color)
            line += 1
        line += 1


def _legend(sheet: Canvas, y: Px) -> None:
    """What the two kinds of line mean."""
    sheet.line([(_MARGIN, y), (_MARGIN + 44, y)], color=INK, width=2.2)
    sheet.words("same pose and expression", _MARGIN + 54, y, size=10, color=SOFT_INK)
    sheet.line([(_MARGIN + 270, y), (_MARGIN + 314, y)], color=INK, width=2.6, dotted=True)
    sheet.words("same identity", _MARGIN + 324, y, size=10, color=SOFT_INK)


# ---- strips and error maps -------------------------------------------------------------------------------------

ERROR_FULL_SCALE = 64.0
"""Mean difference of the channels that an error map shows at its brightest, levels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StripRow:
    """One method's faces at the strip's moments."""

    name: str
    crops: Sequence[AnyImage]
    note: str = ""
    """Small print under the name."""


def draw_strips(
    rows: Sequence[StripRow], *, column_names: Sequence[str] = (), title: str = "", cell_px: int = 144
) -> AnyImage:
    """Faces in rows (target, source, truth, each method) and columns (moments), close together for comparing.

    Raises:
        ConfigError: where the rows differ in length, or there are none.
    """
    counts = {len(row.crops) for row in rows}
    if len(counts) != 1 or 0 in counts:
        raise ConfigError(f"strips: expected rows of one length, at least 1, got {sorted(counts)}")
    (count,) = counts
    gap, head = 6, (34 if title else 0) + (20 if column_names else 0)
    label = 190
    width = 2 * _MARGIN + label + count * (cell_px + gap)
    sheet = Canvas(2 * _MARGIN + head + len(rows) * (cell_px + gap), width)
    if title:
        sheet.words(title, _MARGIN, _MARGIN + 6, size=14, bold=True)
    for k, name in enumerate(column_names[:count]):
        x = _MARGIN + label + k * (cell_px + gap) + cell_px / 2
        sheet.words(name, x, _MARGIN + head - 10, size=9.5, color=SOFT_INK, align="center")
    for line, row in enumerate(rows):
        y = _MARGIN + head + line * (cell_px + gap)
        name = textwrap.fill(row.name, 21)
        sheet.words(name, _MARGIN, y + cell_px / 2 - 8, size=11, bold=True)
        sheet.words(row.note, _MARGIN, y + cell_px / 2 + 11 + 8 * name.count("\n"), size=8.5, color=SOFT_INK)
        for k, crop in enumerate(row.crops):
            sheet.picture(fit_square(crop, cell_px), _MARGIN + label + k * (cell_px + gap), y)
    return sheet.to_image()


def error_map(image: Image, reference: Image) -> Image:
    """Where ``image`` differs from ``reference``: black is equal, bright yellow ERROR_FULL_SCALE levels or more."""
    difference = np.abs(image.astype(np.float32) - reference.astype(np.float32)).mean(axis=2)
    levels = np.clip(difference * (255.0 / ERROR_FULL_SCALE), 0, 255).astype(np.uint8)
    colored = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(colored[..., ::-1])
