"""A picture of a face set: one face for each head turn and mouth opening, as far as the set has them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from intracoder.faceset.coverage import AXES, measures
from intracoder.faceset.entries import FaceEntry
from intracoder.faceset.store import FaceSet
from intracoder.media.stills import write_image
from intracoder.records import Image

_ROW_AXIS, _COLUMN_AXIS = AXES[2], AXES[0]
_CELL_PX = 160
_HEAD_PX = 26
_SIDE_PX = 92
_INK = (32, 32, 36)
_EMPTY = 225


def draw_sheet(faceset: FaceSet) -> Image:
    """Rows: mouth; columns: turn to the viewer's left and right. A grey cell is something the set lacks.

    Each cell shows the sharpest kept face of its kind and how many there are.
    """
    cells: dict[tuple[int, int], list[FaceEntry]] = {}
    for entry in faceset.kept():
        values = measures(entry)
        yaw, mouth = values[0], values[2]
        if yaw is not None and mouth is not None:
            row = _place(mouth, [one.below for one in _ROW_AXIS.ranges])
            column = _place(yaw, [one.below for one in _COLUMN_AXIS.ranges])
            cells.setdefault((row, column), []).append(entry)
    rows, columns = len(_ROW_AXIS.ranges), len(_COLUMN_AXIS.ranges)
    sheet = np.full((_HEAD_PX + rows * _CELL_PX, _SIDE_PX + columns * _CELL_PX, 3), 250, np.uint8)
    for column, one in enumerate(_COLUMN_AXIS.ranges):
        _write(sheet, one.label, _SIDE_PX + column * _CELL_PX + 6, _HEAD_PX - 9)
    for row, one in enumerate(_ROW_AXIS.ranges):
        _write(sheet, one.label, 6, _HEAD_PX + row * _CELL_PX + _CELL_PX // 2)
        for column in range(columns):
            y, x = _HEAD_PX + row * _CELL_PX, _SIDE_PX + column * _CELL_PX
            sheet[y + 1 : y + _CELL_PX - 1, x + 1 : x + _CELL_PX - 1] = _EMPTY
            _draw_cell(sheet, faceset, cells.get((row, column), []), x, y)
    return sheet


def write_sheet(faceset: FaceSet, path: Path) -> None:
    """Draws the sheet into a PNG or JPEG. Raises MediaError where it can't be written."""
    write_image(path, draw_sheet(faceset))


def _draw_cell(sheet: Image, faceset: FaceSet, entries: list[FaceEntry], x: int, y: int) -> None:
    """The sharpest face of a cell and the count."""
    if not entries:
        return
    best = max(entries, key=lambda entry: entry.scores.sharpness if entry.scores is not None else 0.0)
    side = _CELL_PX - 2
    picture = cv2.resize(faceset.crop(best), (side, side), interpolation=cv2.INTER_AREA)
    sheet[y + 1 : y + 1 + side, x + 1 : x + 1 + side] = picture
    count = str(len(entries))
    width = 9 * len(count) + 8
    sheet[y + _CELL_PX - 21 : y + _CELL_PX - 1, x + 1 : x + 1 + width] = 250
    _write(sheet, count, x + 5, y + _CELL_PX - 6)


def _place(value: float, edges: list[float]) -> int:
    """Which range a value falls into."""
    return int(np.searchsorted(edges[:-1], value, side="right"))


def _write(sheet: Image, text: str, x: int, y: int) -> None:
    """Small dark text, its base line at ``y``."""
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
