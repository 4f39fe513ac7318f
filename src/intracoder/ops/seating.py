"""How a face that landmarks have read in its own head is read in another's.

Where skin shows nothing to go by, a landmark network puts its points where heads usually have them: relative to the
eyes, nose and mouth that it sees, and to the outline. So a head's landmarks are off by some hundredths of the eye
distance in a way that belongs to that head, and two heads laid on one another by them don't lie as the heads
themselves would. With synthetic people the truth can be read too: how much nearer to it each point has to go is, over
people, a linear function of how the two heads at rest differ, and that function is fitted once (``training.seating``).

Source: ridge regression, Hoerl & Kennard, Technometrics 12(1), 1970.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from intracoder.ops.geometry import placed
from intracoder.ops.structure import lay_on
from intracoder.ops.topology import (
    EYE_CORNERS,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    OVAL,
    SURFACE_COUNT,
    canonical_points,
)
from intracoder.records import HeadFit, Shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seating:
    """A linear function of low rank, from the difference of two heads to offsets of points."""

    seen: Float64[np.ndarray, "k 468 3"]
    """What it looks at in the difference; in 1/cm, so that it gives pure numbers."""
    moved: Float64[np.ndarray, "k 468 3"]
    """Where the points go for each of these numbers, cm."""

    def offset(self, shape: Shape, other: Shape) -> Float64[np.ndarray, "478 3"]:
        """What has to be added to the points of a face that lies on another head (``lay_on``).

        Args:
            shape: The face's own head at rest, centimetres.
            other: The head that it comes on, at rest.

        Returns:
            Centimetres in ``other``'s axes; an eye's iris goes where its lids go. 0 for equal heads, and the opposite
            for the opposite way.
        """
        difference = upright(shape) - upright(other)
        amounts = np.tensordot(self.seen, difference, axes=2)
        offset = np.zeros_like(shape)
        offset[:SURFACE_COUNT] = np.tensordot(amounts, self.moved, axes=1)
        for iris, lids in ((IRIS_LEFT, EYE_LEFT), (IRIS_RIGHT, EYE_RIGHT)):
            offset[list(iris)] = offset[list(lids)].mean(axis=0)
        return offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What is corrected by hand; about the middle of the face's outline, so that this stays where it is."""

    tilt_deg: float = 0.0
    """How far the face is tipped back."""
    size: float = 1.0
    """How many times as large it is made."""
    height: float = 0.0
    """How far up it is moved, in distances of the outer eye corners."""

    def move(self, shape: Shape) -> HeadFit:
        """The same as a similarity.

        Args:
            shape: The face at rest, centimetres; x right, y down, z away from the viewer.

        Returns:
            From and to centimetres in ``shape``'s axes; the identity for a seat as it is found.
        """
        middle = shape[list(OVAL)].mean(axis=0)
        eyes = np.linalg.norm(shape[EYE_CORNERS[0]] - shape[EYE_CORNERS[3]])
        rotation = cv2.Rodrigues(np.array([-np.deg2rad(self.tilt_deg), 0.0, 0.0]))[0]
        up = np.array([0.0, -self.height * eyes, 0.0])
        translation = middle - self.size * rotation @ middle + up
        return HeadFit(scale=self.size, rotation=rotation, translation=translation)


def upright(shape: Shape) -> Float64[np.ndarray, "468 3"]:
    """The surface of a head laid on the canonical one, where heads can be compared point by point."""
    return placed(shape[:SURFACE_COUNT], lay_on(shape, canonical_points()))
