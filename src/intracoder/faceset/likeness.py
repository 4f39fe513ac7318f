"""What a swap must know of a person: the head at rest, and real frames to copy from, found by pose and expression."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64

from intracoder.faceset.person import PersonFrames
from intracoder.nets.weights import load_array
from intracoder.ops.expression import ShapeBasis, frame_features, neutral_shape
from intracoder.ops.geometry import fit_head, unposed
from intracoder.ops.seating import Seating
from intracoder.ops.structure import combined, find_heads, lay_on, shape_from_motion
from intracoder.records import HeadFit, Shape

SEATING: Final = "seating"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Performance:
    """What a row of landmarks does: where the head is, and the face's shape without that."""

    heads: tuple[HeadFit, ...]
    shapes: Float64[np.ndarray, "n 478 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RestingHead:
    """One person's head with a face at rest, and how expressions move it."""

    shape: Shape
    basis: ShapeBasis

    def perform(self, points: Float32[np.ndarray, "n 478 3"], blendshapes: Float32[np.ndarray, "n 52"]) -> Performance:
        """Heads and shapes of this person's landmarks, in any pixels; NoFaceError where they are degenerate."""
        rough = [fit_head(row) for row in points]
        heads = find_heads(self.shape, self.basis.offset(blendshapes), points.astype(np.float64), rough)
        shapes = np.stack([unposed(row, head) for row, head in zip(points, heads, strict=True)])
        return Performance(heads=tuple(heads), shapes=shapes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Likeness:
    """One person, ready to be swapped in."""

    frames: PersonFrames
    """Real frames; what references are warped from."""
    rest: RestingHead
    performance: Performance
    """Of every frame, in its crop's pixels."""
    features: Float64[np.ndarray, "n 8"]
    """Of every frame, see ``shape_features``."""

    def wearing(self, performance: Performance, other: RestingHead) -> Performance:
        """This person's head where another's is, with that one's expressions.

        Against the truth of twelve synthetic pairs, all landmarks come 30 % nearer than with heads that are laid on
        one another by single pictures' depth (3.1 to 2.15 % of the eye distance).

        Args:
            performance: The other person's.
            other: The same person at rest.

        Raises:
            WeightsError: The packaged file of the seating is damaged.
        """
        laid, shapes = laid_on(self.rest.shape, performance, other)
        seated = packaged_seating().offset(self.rest.shape, other.shape) @ laid.rotation / laid.scale
        heads = tuple(combined(head, laid) for head in performance.heads)
        return Performance(heads=heads, shapes=np.asarray(shapes + seated))


def laid_on(
    shape: Shape, performance: Performance, other: RestingHead
) -> tuple[HeadFit, Float64[np.ndarray, "n 478 3"]]:
    """A head on another one, which performs: how it lies there, and its shapes in its own measure."""
    laid = lay_on(shape, other.shape)
    moved = (performance.shapes - other.shape) @ laid.rotation / laid.scale
    return laid, np.asarray(shape + moved)


@functools.cache
def packaged_seating() -> Seating:
    """The seating that ships; WeightsError where its file is damaged."""
    seen, moved = load_array(SEATING).astype(np.float64)
    return Seating(seen=seen, moved=moved)


def measure_performance(points: Float32[np.ndarray, "n 478 3"]) -> Performance:
    """The same of people who are not known yet, as single pictures are read; NoFaceError for degenerate ones."""
    heads = tuple(fit_head(row) for row in points)
    shapes = np.stack([unposed(row, head) for row, head in zip(points, heads, strict=True)])
    return Performance(heads=heads, shapes=shapes)


def find_rest(
    points: Float32[np.ndarray, "n 478 3"], blendshapes: Float32[np.ndarray, "n 52"], basis: ShapeBasis
) -> RestingHead:
    """A person's head at rest, from frames in which it turns and speaks."""
    seen = measure_performance(points)
    read = neutral_shape(basis, seen.shapes, blendshapes)
    shape = shape_from_motion(read, basis.offset(blendshapes), points.astype(np.float64), seen.heads)
    return RestingHead(shape=shape, basis=basis)


def make_likeness(frames: PersonFrames, rest: RestingHead) -> Likeness:
    """Measures a person's frames."""
    performance = rest.perform(frames.points, frames.blendshapes)
    features = shape_features(performance.shapes, performance.heads)
    return Likeness(frames=frames, rest=rest, performance=performance, features=features)


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
