"""What the estimators read when nothing is wrong: their noise floors, and naive scores of perfect swaps.

The stored values (reference_values.json) were made by ``measure_reference_values`` on the suite ``synthetic``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from intracoder.errors import ConfigError
from intracoder.evaluation.evaluator import Evaluator, Trial
from intracoder.evaluation.metrics import METRICS
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.scorecard import Scorecard
from intracoder.evaluation.suites import Pair, Suite
from intracoder.evaluation.swapbench import trial_of
from intracoder.media.atomic import atomic_path
from intracoder.media.reader import probe
from intracoder.media.writer import ClipWriter
from intracoder.protocols import Progress, silent
from intracoder.records import Frame, Image

CRF = 23
GRAIN_LEVELS = 1.0
_NOT_COMPARABLE = ("psnr_db", "background_psnr_db", "found", "mask_iou")
"""Metrics for which a deviation from the ideal says nothing of the estimator."""


def disturbed(image: Image, seed: int) -> Image:
    """``image`` moved by half a pixel and back, with grain of one level: nothing that a viewer would see."""
    there = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    back = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5]])
    moved = image
    for matrix in (there, back):
        size = (image.shape[1], image.shape[0])
        moved = np.asarray(
            cv2.warpAffine(moved, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
        )
    grain = np.random.default_rng(seed).normal(0.0, GRAIN_LEVELS, image.shape)
    return np.clip(moved + grain, 0, 255).round().astype(np.uint8)


def measure_reference_values(
    suite: Suite, evaluator: Evaluator, folder: Path, *, progress: Progress = silent
) -> dict[str, dict[str, dict[str, float]]]:
    """Noise floors and typical values over all pairs of ``suite`` that have a truth.

    For the floor the truth is disturbed, encoded at CRF and scored as an output against the undisturbed truth; the
    floor is the mean distance to the ideal (similarity: to the truth's own). Typical values are the naive scores of the
    truth.

    Raises:
        ConfigError: where no pair has a truth.
    """
    pairs = [pair for pair in suite.pairs if pair.truth is not None]
    if not pairs:
        raise ConfigError(f"suite {suite.name}: expected at least one pair with a truth, got none")
    strays: dict[str, list[float]] = {}
    naive: dict[str, list[float]] = {}
    for number, pair in enumerate(pairs):
        progress("reference values", float(number), float(len(pairs)), pair.name)
        assert pair.truth is not None
        truth = pair.same_part(pair.truth)
        path = folder / f"{pair.name}.mp4"
        with ClipWriter(path, probe(truth.path), crf=CRF) as writer:
            for frame in _disturbed_frames(truth):
                writer.write(frame)
        noisy = evaluator.evaluate(trial_of(pair, Clip(path=path)), progress)
        exact = evaluator.evaluate(_naive_trial(pair, truth), progress)
        for key in METRICS:
            _gather(strays, key, _stray(noisy, exact, key))
            _gather(naive, key, exact.value(key))
    progress("reference values", float(len(pairs)), float(len(pairs)), "")
    return {
        "noise_floor": {key: _spread(values) for key, values in strays.items() if key not in _NOT_COMPARABLE},
        "typical_perfect": {key: _spread(values) for key, values in naive.items()},
    }


def save_reference_values(values: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Writes what ``measure_reference_values`` returned."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _disturbed_frames(clip: Clip) -> Iterator[Frame]:
    """The clip's frames, each disturbed in its own way."""
    for k, frame in enumerate(clip.frames()):
        yield Frame(pixels=disturbed(frame.pixels, seed=k), index=frame.index, pts=frame.pts)


def _naive_trial(pair: Pair, truth: Clip) -> Trial:
    """The truth as an output that there is no truth for."""
    return Trial(output=truth, target=pair.target_clip(), source=tuple(Clip(path=path) for path in pair.source))


def _stray(noisy: Scorecard, exact: Scorecard, key: str) -> float | None:
    """Distance of a disturbed truth's value to where it should be."""
    value, ideal = noisy.value(key), METRICS[key].ideal
    wanted = exact.value(key) if ideal is None else ideal
    return None if value is None or wanted is None else abs(value - wanted)


def _gather(into: dict[str, list[float]], key: str, value: float | None) -> None:
    """Adds a measured value."""
    if value is not None:
        into.setdefault(key, []).append(value)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and range, four digits."""
    low, mean, high = min(values), float(np.mean(values)), max(values)
    return {"mean": float(f"{mean:.4g}"), "low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")}
