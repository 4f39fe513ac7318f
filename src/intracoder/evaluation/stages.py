"""The stage sheet: one frame through every stage of the swap, for teaching and for finding what went wrong."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from intracoder.evaluation.canvas import INK, SOFT_INK, AnyImage, Canvas, fit_square
from intracoder.records import Affine, Image, Points
from intracoder.swap.compositor import FrameStages

CELL_PX = 236
COLUMNS = 4
_GAP, _HEAD, _CAPTION, _MARGIN = 18, 52, 46, 24


def draw_stages(stages: FrameStages, planes: UInt8[np.ndarray, "n n p"] | None) -> Image:
    """Twelve pictures with a line each on what happened.

    Args:
        stages: From ``swap.compositor``.
        planes: What the decoder was given beside the code: geometry (4), visibility (1), reference (3); None for the
            plain net.
    """
    frame = stages.frame.pixels
    pictures: list[tuple[str, str, AnyImage]] = [
        ("1  frame", "478 landmarks, window of the crop", _annotated(frame, stages)),
        ("2  crop", "aligned by a smoothed similarity", stages.crop),
    ]
    if planes is not None and planes.shape[2] >= 4:
        pictures.append(("3  geometry", "source's shape, target's expression", planes[..., :3].copy()))
    if planes is not None and planes.shape[2] >= 8:
        pictures.append(("4  reference", "source's nearest real frames, bent", planes[..., 5:8].copy()))
    alpha = np.repeat(np.rint(stages.alpha * 255).astype(np.uint8)[..., None], 3, axis=2)
    pictures += [
        ("5  intracoder", "source's decoder on the target's code", stages.swapped),
        ("6  colour", "skin brought to the target's light", stages.matched),
        ("7  second network", "resolution doubled, fine detail, teeth", stages.enhanced),
        ("8  sharpness", "as sharp and grainy as the target", stages.sharpened),
        ("9  alpha", "hulls, learned mask, hair, hands", alpha),
        ("10  blend", "laid over the crop", stages.blended),
        ("11  composite", "back in the frame", stages.composite),
        ("12  change", "difference to the frame, times two", _change(frame, stages.composite)),
    ]
    rows = -(-len(pictures) // COLUMNS)
    width = 2 * _MARGIN + COLUMNS * CELL_PX + (COLUMNS - 1) * _GAP
    height = 2 * _MARGIN + _HEAD + rows * (CELL_PX + _CAPTION + _GAP)
    sheet = Canvas(height, width)
    sheet.words(
        f"One frame through every stage (frame {stages.frame.index})", _MARGIN, _MARGIN + 10, size=15, bold=True
    )
    for number, (name, says, picture) in enumerate(pictures):
        x = _MARGIN + number % COLUMNS * (CELL_PX + _GAP)
        y = _MARGIN + _HEAD + number // COLUMNS * (CELL_PX + _CAPTION + _GAP)
        sheet.picture(fit_square(picture, CELL_PX), x, y)
        sheet.words(name, x, y + CELL_PX + 13, size=10.5, bold=True, color=INK)
        sheet.words(says, x, y + CELL_PX + 31, size=8.5, color=SOFT_INK)
    return sheet.to_image()


def _annotated(frame: Image, stages: FrameStages) -> Image:
    """The frame with the target's landmarks and the crop's window."""
    view = frame.copy()
    scale = max(1, round(max(frame.shape[:2]) / 500))
    window = _window(stages.planned.frame_to_crop, stages.swapped.shape[0])
    cv2.polylines(view, [np.round(window).astype(np.int32)], isClosed=True, color=(255, 196, 0), thickness=scale)
    points: Points = stages.planned.target_points
    for x, y in points[:, :2]:
        cv2.circle(view, (round(float(x)), round(float(y))), scale, (0, 230, 120), -1)
    return view


def _window(frame_to_crop: Affine, size: int) -> np.ndarray:
    """Corners of the crop in frame pixels, (4, 2)."""
    edge = size - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    inverse = cv2.invertAffineTransform(frame_to_crop)
    return np.asarray(corners @ inverse[:, :2].T + inverse[:, 2])


def _change(frame: Image, composite: Image) -> Image:
    """Twice the absolute difference, on black."""
    difference = np.abs(frame.astype(np.int16) - composite.astype(np.int16)) * 2
    return np.asarray(np.clip(difference, 0, 255), dtype=np.uint8)
