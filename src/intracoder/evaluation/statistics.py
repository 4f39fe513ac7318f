"""What a list of numbers says: mean, spread, and how sure the mean is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Several clips' values of one metric; every field is in the metric's unit."""

    mean: float
    p5: float
    p95: float
    ci_low: float | None
    """Lower end of the 95 % interval of the mean, None from fewer than two clips."""
    ci_high: float | None
    clips: int
    """How many independent clips the numbers rest on."""


def percentiles(values: Float64[np.ndarray, "n"]) -> tuple[float | None, float | None]:
    """5th and 95th percentile of the finite values, None where there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None, None
    low, high = np.percentile(finite, [5.0, 95.0])
    return float(low), float(high)


def bootstrap_interval(clip_means: Sequence[float], *, seed: int = 0) -> tuple[float | None, float | None]:
    """95 % interval of the mean over clips, by resampling whole clips with replacement.

    Frames of a clip are nearly the same picture: resampling frames would make the interval far too narrow.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, percentile interval; cluster resampling.
    """
    values = np.asarray(clip_means, dtype=np.float64)
    if values.size < 2:
        return None, None
    draws = np.random.default_rng(seed).integers(0, values.size, (DRAWS, values.size))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def summarize(by_clip: Sequence[Sequence[float]]) -> Summary | None:
    """Summary of one metric: ``by_clip`` holds each clip's values (one per seed); None where all are empty.

    Seeds of a clip are averaged first, so that many seeds of one clip do not count as many clips.
    """
    filled = [np.asarray(values, dtype=np.float64) for values in by_clip if len(values)]
    if not filled:
        return None
    means = [float(values.mean()) for values in filled]
    low, high = np.percentile(np.concatenate(filled), [5.0, 95.0])
    ci_low, ci_high = bootstrap_interval(means)
    return Summary(
        mean=float(np.mean(means)), p5=float(low), p95=float(high), ci_low=ci_low, ci_high=ci_high, clips=len(means)
    )
