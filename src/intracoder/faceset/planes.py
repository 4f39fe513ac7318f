"""What a decoder sees beside the code: the wanted geometry, and a real frame bent onto it."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from intracoder.faceset.likeness import Likeness
from intracoder.ops.geometry import TEMPLATES
from intracoder.ops.mask import hull_mask
from intracoder.ops.mesh import mesh_warp, paint_geometry
from intracoder.records import Image, Mask, Points

MARGIN = TEMPLATES["wide_margin"].side_cm / TEMPLATES["wide"].side_cm
"""Side of the stored crops / side of the network's window, both around the same middle."""


def decoder_planes(
    likeness: Likeness, wanted: Points, reference: int | None, size: int, *, geometry: bool
) -> UInt8[np.ndarray, "size size p"]:
    """Geometry (4 channels) and reference (3), each where it is asked for.

    Args:
        likeness: Of the person who is to be drawn.
        wanted: Where that person's landmarks shall lie, pixels of a "wide" crop.
        reference: Row of the likeness's frames to bend; None leaves the reference out.
        size: Side of the crop.
        geometry: Whether the geometry is wanted.
    """
    planes: list[np.ndarray] = [paint_geometry(wanted, size)] if geometry else []
    if reference is not None:
        planes.append(bent_reference(likeness, wanted, reference, size))
    if not planes:
        return np.zeros((size, size, 0), np.uint8)
    return np.dstack(planes)


def bent_reference(likeness: Likeness, wanted: Points, reference: int, size: int) -> Image:
    """A stored frame mesh-warped onto ``wanted``; bent in the wider stored window, where there is room, then cut."""
    stored = round(size * MARGIN)
    border = (stored - size) // 2
    in_stored = wanted + np.array([border, border, 0], np.float32)
    frames = likeness.frames
    bent = mesh_warp(frames.crops[reference], frames.points[reference], in_stored, stored)
    return np.ascontiguousarray(bent[border : border + size, border : border + size])


def face_mask(points: Points, size: int) -> Mask:
    """What a decoder's mask is trained to be, and where colour is measured: the hull, a little in, with a soft edge."""
    return hull_mask(points, size, size, scale=0.97, feather_px=size / 24)
