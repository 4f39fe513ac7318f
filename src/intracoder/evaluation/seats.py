"""The seat sheet: one frame with the face tipped, larger, smaller, higher and lower, to choose its seat by eye."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from intracoder.evaluation.canvas import COLORS, INK, SOFT_INK, AnyImage, Canvas, fit_square
from intracoder.ops.seating import Seat
from intracoder.records import Image

TILTS_DEG: Final = (-6, -3, 0, 3, 6)
SIZES: Final = (0.94, 0.97, 1, 1.03, 1.06)
"""Times the size as set."""
HEIGHTS: Final = (-0.05, -0.025, 0, 0.025, 0.05)
CELL_PX: Final = 236
_GAP, _HEAD, _CAPTION, _MARGIN = 18, 52, 30, 24
_COLUMNS: Final = 5


def seats_about(seat: Seat) -> tuple[tuple[Seat, ...], ...]:
    """Three rows of five with the seat as set in the middle of each: other tilts, other sizes, other heights."""
    return (
        tuple(dataclasses.replace(seat, tilt_deg=seat.tilt_deg + step) for step in TILTS_DEG),
        tuple(dataclasses.replace(seat, size=seat.size * factor) for factor in SIZES),
        tuple(dataclasses.replace(seat, height=seat.height + step) for step in HEIGHTS),
    )


def draw_seats(
    target: AnyImage, source: AnyImage, seats: Sequence[Sequence[Seat]], drawn: Sequence[Sequence[AnyImage]]
) -> Image:
    """The sheet.

    Args:
        target: Crop of the target's frame.
        source: The source's nearest own frame: how the face should look.
        seats: From ``seats_about``.
        drawn: The swapped crops, seat for seat.
    """
    width = 2 * _MARGIN + _COLUMNS * CELL_PX + (_COLUMNS - 1) * _GAP
    step = CELL_PX + _CAPTION + _GAP
    sheet = Canvas(2 * _MARGIN + _HEAD + (1 + len(seats)) * step, width)
    sheet.words("Where the face sits", _MARGIN, _MARGIN + 10, size=15, bold=True)
    top = _MARGIN + _HEAD
    for column, (name, picture) in enumerate((("target", target), ("source's nearest frame", source))):
        _cell(sheet, picture, column, top, name)
    says = (
        "Choose the picture in which brows, nose, mouth and chin sit as they do in the source,",
        "and give what stands below it to explain, render or swap, such as",
        "--set render.seat_tilt=3",
        "Framed: as it is set now, which suits most pairs. Where nose and mouth sit too low or",
        "too high, begin with the first row: it tips the face forward and back.",
    )
    for line, text in enumerate(says):
        sheet.words(text, _MARGIN + 2 * (CELL_PX + _GAP), top + 24 + 24 * line, size=10.5, color=SOFT_INK)
    for row, (name, tried, pictures) in enumerate(zip(("tilt", "size", "height"), seats, drawn, strict=True), start=1):
        for column, (seat, picture) in enumerate(zip(tried, pictures, strict=True)):
            edge = COLORS[0] if column == len(tried) // 2 else None
            _cell(sheet, picture, column, top + row * step, _caption(name, seat), edge=edge)
    return sheet.to_image()


def _caption(name: str, seat: Seat) -> str:
    value = {"tilt": seat.tilt_deg, "size": seat.size, "height": seat.height}[name]
    return f"render.seat_{name}={round(value, 3):g}"


def _cell(sheet: Canvas, picture: AnyImage, column: int, y: int, caption: str, *, edge: str | None = None) -> None:
    x = _MARGIN + column * (CELL_PX + _GAP)
    sheet.picture(fit_square(picture, CELL_PX), x, y, edge=edge)
    sheet.words(caption, x, y + CELL_PX + 16, size=10, bold=edge is not None, color=INK)
