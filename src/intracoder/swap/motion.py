"""Steady motion: head and expression of a track without the landmarks' jitter, shot by shot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64

from intracoder.ops.geometry import smooth_series
from intracoder.records import HeadFit


def shot_bounds(times: Int64[np.ndarray, "n"], cuts: Sequence[int], *, max_gap: int) -> list[tuple[int, int]]:
    """Row ranges of one shot each, with at most ``max_gap`` frames between neighbours.

    Args:
        times: Frame indices, ascending.
        cuts: Frame indices at which a new shot begins.
        max_gap: Longest pause that motion is followed over.
    """
    shots = np.searchsorted(np.sort(np.array(cuts, dtype=np.int64)), times, side="right")
    breaks = np.flatnonzero((np.diff(shots) != 0) | (np.diff(times) > max_gap + 1)) + 1
    return list(pairwise([0, *breaks.tolist(), len(times)]))


def stretches(bounds: Sequence[tuple[int, int]], length: int, *, margin: int) -> Iterator[tuple[slice, slice]]:
    """Shots cut into pieces of ``length``, each with the range around it that smoothing it has to see."""
    for first, last in bounds:
        for start in range(first, last, length):
            stop = min(start + length, last)
            yield slice(start, stop), slice(max(first, start - margin), min(last, stop + margin))


def steady_rows(
    values: Float64[np.ndarray, "n k"],
    times: Int64[np.ndarray, "n"],
    bounds: Sequence[tuple[int, int]],
    window: int,
) -> Float64[np.ndarray, "n k"]:
    """Rows smoothed by a local quadratic within each range; fast but real motion such as a blink stays."""
    parts = [smooth_series(values[start:stop], times[start:stop], window) for start, stop in bounds]
    return np.concatenate(parts)


def steady_heads(
    heads: Sequence[HeadFit], times: Int64[np.ndarray, "n"], bounds: Sequence[tuple[int, int]], window: int
) -> list[HeadFit]:
    """Head fits smoothed: log scale, translation, and rotation as the nearest rotation to the smoothed matrix.

    Source: nearest rotation by SVD, Arun et al., PAMI 9(5), 1987; chordal mean, Hartley et al., IJCV 103, 2013.
    """
    rows = np.stack([[np.log(h.scale), *h.translation, *h.rotation.ravel()] for h in heads])
    return [
        HeadFit(scale=float(np.exp(row[0])), translation=row[1:4], rotation=_nearest_rotation(row[4:].reshape(3, 3)))
        for row in steady_rows(rows, times, bounds, window)
    ]


def _nearest_rotation(matrix: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    u, _, vt = np.linalg.svd(matrix)
    signs = np.array([1.0, 1.0, np.linalg.det(u @ vt)])
    return np.asarray((u * signs) @ vt)
