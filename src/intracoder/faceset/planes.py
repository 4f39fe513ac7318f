"""What a decoder sees beside the code: the wanted geometry, and real frames bent onto it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from intracoder.faceset.likeness import Likeness
from intracoder.faceset.reference import PartRows, compose_reference
from intracoder.ops.geometry import TEMPLATES
from intracoder.ops.mask import hull_mask, skin_mask
from intracoder.ops.mesh import paint_geometry
from intracoder.records import Mask, Points

MARGIN = TEMPLATES["wide_margin"].side_cm / TEMPLATES["wide"].side_cm
"""Side of the stored crops / side of the network's window, both around the same middle."""


class DecoderPlanes(NamedTuple):
    """What a decoder sees, and what it may copy at a finer size."""

    planes: UInt8[np.ndarray, "s s p"]
    """Geometry (4), then visibility (1) and colour (3) of the reference, each where it was asked for."""
    detail: UInt8[np.ndarray, "z z 3"] | None
    """The reference's colour at full size; None without a reference, or where the sizes are equal."""


def decoder_planes(
    likeness: Likeness, wanted: Points, rows: PartRows | None, size: int, *, geometry: bool, detail: int = 1
) -> DecoderPlanes:
    """Draws the planes of one face.

    Args:
        likeness: Of the person who is to be drawn.
        wanted: Where that person's landmarks shall lie, pixels of a "wide" crop of ``size``.
        rows: Frames of the likeness to bend; None leaves the reference out.
        size: Side of the planes.
        geometry: Whether the geometry is wanted.
        detail: Side of the finer reference / ``size``.
    """
    planes: list[np.ndarray] = [paint_geometry(wanted, size)] if geometry else []
    fine = None
    if rows is not None:
        reference = _bent_reference(likeness, wanted, rows, size, detail)
        fine = np.ascontiguousarray(reference[..., 1:]) if detail > 1 else None
        # the same picture at both sizes, so that a gate found at one is right at the other
        planes.append(cv2.resize(reference, (size, size), interpolation=cv2.INTER_AREA) if detail > 1 else reference)
    stacked = np.dstack(planes) if planes else np.zeros((size, size, 0), np.uint8)
    return DecoderPlanes(stacked.astype(np.uint8, copy=False), fine)


def _bent_reference(
    likeness: Likeness, wanted: Points, rows: PartRows, size: int, detail: int
) -> UInt8[np.ndarray, "z z 4"]:
    """Stored frames bent onto ``wanted``; in the wider stored window, where there is room, then cut."""
    stored = round(size * MARGIN)
    border = (stored - size) // 2
    in_stored = wanted + np.array([border, border, 0], np.float32)
    frames = likeness.frames
    bent = compose_reference(frames.crops, frames.points, rows, in_stored, stored, detail)
    window = slice(border * detail, (border + size) * detail)
    return np.ascontiguousarray(bent[window, window])


def face_mask(points: Points, size: int) -> Mask:
    """What a decoder's mask is trained to be: the hull, a little in, with a soft edge."""
    return hull_mask(points, size, size, scale=0.97, feather_px=size / 24)


def color_mask(points: Points, size: int) -> Mask:
    """Where colour is measured: bare skin; a little of the whole face, should none of it be seen."""
    return np.asarray(np.maximum(skin_mask(points, size), 0.05 * face_mask(points, size)), dtype=np.float32)
