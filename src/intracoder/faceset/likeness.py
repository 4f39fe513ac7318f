"""What a swap must know of a person: a neutral shape, and real frames to copy from, found by pose and expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64

from intracoder.faceset.person import PersonFrames
from intracoder.ops.expression import frame_features
from intracoder.ops.geometry import fit_head, unposed
from intracoder.records import HeadFit, Shape

EYE_CORNERS: Final = (33, 133, 362, 263)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Performance:
    """What a row of landmarks does: where the head is, and the face's shape without that."""

    heads: tuple[HeadFit, ...]
    shapes: Float64[np.ndarray, "n 478 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """One person, ready to be swapped in."""

    frames: PersonFrames
    """Real frames; what references are warped from."""
    neutral: Shape
    """The face at rest."""
    features: Float64[np.ndarray, "n 8"]
    """Of every frame, see ``shape_features``."""

    def wearing(self, shapes: Float64[np.ndarray, "n 478 3"], neutral: Shape) -> Float64[np.ndarray, "n 478 3"]:
        """This person's face with another's expressions, put where that one's eyes are.

        Head fits depend on outline and hair, so two people's shapes don't lie alike in them; eye corners are seen
        best and matter most. (Against the truth of three pairs, all landmarks come 4 to 9 % nearer.)

        Args:
            shapes: The other person's face, without pose.
            neutral: The same at rest.
        """
        corners = list(EYE_CORNERS)
        moved = self.neutral + (neutral[corners] - self.neutral[corners]).mean(axis=0)
        return np.asarray(moved + (shapes - neutral))


def measure_performance(points: Float32[np.ndarray, "n 478 3"]) -> Performance:
    """Head fits and pose-free shapes of landmarks in any pixels; NoFaceError where they are degenerate."""
    heads = tuple(fit_head(row) for row in points)
    shapes = np.stack([unposed(row, head) for row, head in zip(points, heads, strict=True)])
    return Performance(heads=heads, shapes=shapes)


def make_likeness(frames: PersonFrames, neutral: Shape) -> Likeness:
    """Measures the features of a person's frames."""
    seen = measure_performance(frames.points)
    return Likeness(frames=frames, neutral=neutral, features=shape_features(seen.shapes, seen.heads))


def shape_features(shapes: Float64[np.ndarray, "n 478 3"], heads: Sequence[HeadFit]) -> Float64[np.ndarray, "n 8"]:
    """``frame_features`` of every row.

    Comparable only between shapes of one person: put an expression on that person before (``Likeness.wearing``).
    """
    return np.stack([frame_features(shape, head) for shape, head in zip(shapes, heads, strict=True)])


def feature_distances(
    wanted: Float64[np.ndarray, "m 8"], stored: Float64[np.ndarray, "n 8"]
) -> Float64[np.ndarray, "m n"]:
    """Squared distance of every wanted row to every stored one."""
    return np.stack([((stored - row) ** 2).sum(axis=1) for row in wanted])


def steady_choice(
    distances: Float64[np.ndarray, "m n"], switch_cost: float, starts: Sequence[int] = ()
) -> Int64[np.ndarray, "m"]:
    """The column for each row that makes distances plus ``switch_cost`` per change of column least over all rows.

    A choice frame by frame flickers between equals; this changes only where it pays.

    Args:
        distances: Of each moment to each candidate.
        switch_cost: In the distances' unit.
        starts: Rows before which a change is free (cuts).

    Source: Viterbi, IEEE Trans. Information Theory 13(2), 1967, with equal cost for all changes.
    """
    count = len(distances)
    came_from = np.empty((count, distances.shape[1]), dtype=np.int64)
    stay = np.arange(distances.shape[1])
    free = set(starts)
    total = distances[0].copy()
    for row in range(1, count):
        best = int(total.argmin())
        changes = total > total[best] + (0.0 if row in free else switch_cost)
        came_from[row] = np.where(changes, best, stay)
        total = total[came_from[row]] + np.where(changes & (row not in free), switch_cost, 0.0) + distances[row]
    chosen = np.empty(count, dtype=np.int64)
    chosen[-1] = total.argmin()
    for row in range(count - 1, 0, -1):
        chosen[row - 1] = came_from[row, chosen[row]]
    return chosen
