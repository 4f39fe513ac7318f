"""Where a target's face shows, and where its hair or a thing before it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from intracoder.nets.visible import VISIBLE_PX, read_visible
from intracoder.ops.mask import hull_mask
from intracoder.ops.mesh import fit_square, paint_geometry, point_normals
from intracoder.ops.topology import SURFACE_COUNT
from intracoder.protocols import FaceSegmenter
from intracoder.records import Crops, Image, Mask, Points, SurfaceShares

_HIDDEN, _SEEN = 0.35, 0.65
"""Probability of a face up to which it counts as hidden, and from which as seen."""
_GRAZING: Final = 0.2
"""Cosine to the viewer under which a point is not looked at."""
_TAKEN_FOR_SEEN: Final = 0.5
"""Weight, in frames, of a point's being seen where hardly a frame shows it."""


class LearnedVisibility:
    """FaceSegmenter by the packaged network, on the CPU: it takes some milliseconds a face."""

    def __init__(self) -> None:
        """Loads the network.

        Raises:
            WeightsError: The packaged file is damaged.
        """
        self._net = read_visible()

    @torch.inference_mode()
    def visible(self, crop: Image, points: Points) -> Mask:
        """Whether a pixel shows the face, 0..1, at the crop's size; outside of its outline it says nothing.

        The network's doubts count for the face: half-sure, it would let the target's nose shine through.
        """
        logits = self._net(torch.from_numpy(_given(crop, points))[None])
        large = cv2.resize(logits.sigmoid()[0, 0].numpy(), crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip((large - _HIDDEN) / (_SEEN - _HIDDEN), 0.0, 1.0), dtype=np.float32)


def share_seen(
    segmenter: FaceSegmenter, crops: Crops | Sequence[Image], points: Sequence[Points] | Float32[np.ndarray, "n 478 3"]
) -> SurfaceShares:
    """How much of the time each point of a person's face is seen while it is turned to the viewer, 0..1.

    Args:
        segmenter: Says what is seen.
        crops: Of one person.
        points: Their landmarks, crop pixels, depth included.
    """
    seen, known = np.full(SURFACE_COUNT, _TAKEN_FOR_SEEN), np.full(SURFACE_COUNT, _TAKEN_FOR_SEEN)
    for crop, row in zip(crops, points, strict=True):
        weights = np.clip(-point_normals(row)[:, 2] - _GRAZING, 0.0, 1.0)
        x, y = row[:SURFACE_COUNT, :2].astype(np.float32).T
        there = cv2.remap(segmenter.visible(crop, row), x[None], y[None], cv2.INTER_LINEAR)[0]
        seen, known = seen + weights * there, known + weights
    return np.asarray(seen / known)


def _given(crop: Image, points: Points) -> Float32[np.ndarray, "8 p p"]:
    """What the network is given: colours, geometry and outline of a square "wide" crop, 0..1."""
    size = VISIBLE_PX
    small, there = fit_square(crop, points, size)
    levels = np.dstack([small, paint_geometry(there, size)]).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(np.dstack([levels, hull_mask(there, size, size)]).transpose(2, 0, 1))
