"""One person's pictures as arrays: what training learns from, and what a swap takes its references from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from intracoder.errors import FaceSetError
from intracoder.records import Crops


def spread_rows(count: int, limit: int) -> Int64[np.ndarray, "m"]:
    """Which of ``count`` (at least one) frames are taken: at most ``limit``, evenly spread, in order, each once."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonFrames:
    """Aligned crops of one person, in the order they were filmed."""

    name: str
    """Who this is; the key of the person's decoder in a model."""
    crops: Crops
    """Cut by the "wide_margin" template, 256 px."""
    points: Float32[np.ndarray, "_ 478 3"]
    """Landmarks in crop pixels; z in the same unit, smaller = nearer."""
    blendshapes: Float32[np.ndarray, "_ 52"]
    """Expression coefficients, 0..1, order of faces.landmarks.BLENDSHAPE_NAMES."""
    frame_indices: Int64[np.ndarray, "_"]
    """Frame of the clip each crop was cut from."""
    clip_indices: Int64[np.ndarray, "_"]
    """Which clip or photo it comes from: 0, 1, ...; neighbours in time share it."""

    def __post_init__(self) -> None:
        """FaceSetError where the arrays don't describe the same crops, or are not finite."""
        counts = {
            "crops": len(self.crops),
            "points": len(self.points),
            "blendshapes": len(self.blendshapes),
            "frame_indices": len(self.frame_indices),
            "clip_indices": len(self.clip_indices),
        }
        if len(set(counts.values())) != 1 or not len(self.crops):
            raise FaceSetError(f"{self.name}: expected as many crops as rows in each array, at least 1, got {counts}")
        if not (np.isfinite(self.points).all() and np.isfinite(self.blendshapes).all()):
            raise FaceSetError(f"{self.name}: expected finite landmarks and blendshapes; extract the face set anew")

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.crops)

    def subset(self, indices: Int64[np.ndarray, "m"]) -> PersonFrames:
        """The crops at ``indices``, in that order."""
        return PersonFrames(
            name=self.name,
            crops=self.crops[indices],
            points=self.points[indices],
            blendshapes=self.blendshapes[indices],
            frame_indices=self.frame_indices[indices],
            clip_indices=self.clip_indices[indices],
        )
