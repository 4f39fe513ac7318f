"""The picture that shows how a training comes along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from intracoder.faceset.likeness import Likeness
from intracoder.faceset.person import spread_rows
from intracoder.media.stills import write_image
from intracoder.nets.device import Compute
from intracoder.nets.intracoder import Intracoder
from intracoder.records import Crops, Image
from intracoder.training.redraw import Cast, redraw, window_crops

COLUMNS = 8
CELL_PX = 160
LABEL_PX = 24
GAP_PX = 4
SOURCE, TARGET = 0, 1
COMMENT = "AI-modified: training preview made by Intracoder"
_PAPER, _INK = (24, 26, 31), (225, 228, 235)


def write_preview(
    net: Intracoder, people: list[Likeness], compute: Compute, path: Path, mark: Callable[[Image], Image]
) -> None:
    """Rewrites the picture, passed through ``mark``, whole or not at all."""
    write_image(path, mark(draw_preview(net, people, compute)), comment=COMMENT)


def draw_preview(net: Intracoder, people: list[Likeness], compute: Compute) -> Image:
    """Rows of target, its reconstruction, swap and source, at moments spread over the target's frames.

    Args:
        net: In eval mode; draws ``people`` by decoder.
        people: The source, the target, and possibly more.
        compute: Device and precision.
    """
    source, target = people[SOURCE], people[TARGET]
    count = len(target.frames)
    rows = spread_rows(count, COLUMNS).tolist()
    own = redraw(net, Cast(actor=target, artist=target, person=TARGET), rows, compute)
    swap = redraw(net, Cast(actor=target, artist=source, person=SOURCE), rows, compute)
    share = swap.alpha[..., None]
    pasted = np.rint(swap.generated * share + swap.real * (1 - share)).astype(np.uint8)
    nearest, _ = window_crops(source, [parts.face for parts in swap.references], net.config.output_px)
    strips = [
        (f"target: {target.frames.name}", own.real),
        (f"target redrawn by its own decoder: {target.frames.name}", own.generated),
        (f"AI-modified, swap: {source.frames.name} acting as {target.frames.name}", pasted),
        (f"source, nearest real frame: {source.frames.name}", nearest),
    ]
    return np.concatenate([_strip(label, crops) for label, crops in strips])


def _strip(label: str, crops: Crops) -> Image:
    """A labelled row of pictures."""
    width = COLUMNS * CELL_PX + (COLUMNS + 1) * GAP_PX
    strip = np.full((LABEL_PX + CELL_PX + GAP_PX, width, 3), _PAPER, np.uint8)
    # OpenCV's built-in font has no more than ASCII
    text = label.encode("ascii", "replace").decode("ascii")
    cv2.putText(strip, text, (GAP_PX + 2, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    for k, crop in enumerate(crops):
        cell = cv2.resize(crop, (CELL_PX, CELL_PX), interpolation=cv2.INTER_CUBIC)
        left = GAP_PX + k * (CELL_PX + GAP_PX)
        strip[LABEL_PX : LABEL_PX + CELL_PX, left : left + CELL_PX] = cell
    return strip
