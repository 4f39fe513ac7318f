"""Scoring files and putting the scorecard on one page: the faces, where they differ, the numbers, and curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intracoder.evaluation.canvas import INK, SOFT_INK, AnyImage, Canvas
from intracoder.evaluation.curves import draw_curves
from intracoder.evaluation.evaluator import Evaluator, Trial
from intracoder.evaluation.figures import StripRow, draw_strips, error_map
from intracoder.evaluation.metrics import METRICS, noise_floor, typical_perfect
from intracoder.evaluation.readings import FaceReadings
from intracoder.evaluation.scorecard import Scorecard, metric_text, save_scorecard, to_markdown
from intracoder.evaluation.windows import faces_of, moments_of
from intracoder.media.atomic import atomic_path
from intracoder.media.stills import write_image
from intracoder.records import Image

_LINE_PX = 24


def write_scorecard(
    card: Scorecard, trial: Trial, evaluator: Evaluator, folder: Path, *, stem: str = "scorecard"
) -> Path:
    """Writes ``stem``.json, .md and .png into ``folder`` and returns the JSON's path.

    Raises:
        MediaError: a clip can't be read any more, or the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_scorecard(card, folder / f"{stem}.json")
    with atomic_path(folder / f"{stem}.md") as temporary:
        temporary.write_text(to_markdown(card), encoding="utf-8")
    write_image(folder / f"{stem}.png", draw_scorecard(card, trial, evaluator.readings_of(trial)))
    return folder / f"{stem}.json"


def draw_scorecard(card: Scorecard, trial: Trial, readings: FaceReadings) -> Image:
    """Strips of target, output, truth and difference, the table of numbers, and the curves below."""
    moments = moments_of(readings)
    target, output = (faces_of(clip, moments, readings) for clip in (trial.target, trial.output))
    truth = None if trial.truth is None else faces_of(trial.truth, moments, readings)
    rows = [StripRow(name="target", crops=target), StripRow(name="output", crops=output)]
    if truth is not None:
        rows.append(StripRow(name="truth", crops=truth, note="the perfect swap"))
    against = "target" if truth is None else "truth"
    differences = [error_map(a, b) for a, b in zip(output, target if truth is None else truth, strict=True)]
    rows.append(StripRow(name="difference", crops=differences, note=f"to the {against}"))
    names = [f"frame {k + card.start}" for k in moments]
    strips = draw_strips(rows, column_names=names, title=f"{card.output}: {card.source} on {card.target}")
    return _stacked([strips, _numbers(card), draw_curves({card.output: card})])


def _numbers(card: Scorecard) -> Image:
    """The scorecard's table."""
    keys = [key for key in METRICS if key in card.metrics]
    sheet = Canvas((len(keys) + 2) * _LINE_PX, 1100)
    last = "noise floor" if card.truth else "a perfect swap reads"
    for x, text in ((28, "metric"), (300, "value"), (400, "ideal"), (500, last)):
        sheet.words(text, x, _LINE_PX * 0.7, size=9, color=SOFT_INK)
    for line, key in enumerate(keys):
        y, spec = (line + 1.7) * _LINE_PX, METRICS[key]
        sheet.line([(28, y - _LINE_PX / 2), (1072, y - _LINE_PX / 2)], color="#e3e6ea", width=0.8)
        sheet.words(spec.label, 28, y, size=10, color=INK)
        unit = f" {spec.unit}" if spec.unit else ""
        sheet.words(metric_text(card.metrics[key].value, key) + unit, 300, y, size=10, bold=True)
        sheet.words(metric_text(spec.ideal, key), 400, y, size=10, color=SOFT_INK)
        sheet.words(_beside(card, key), 500, y, size=10, color=SOFT_INK)
        sheet.words(spec.says, 650, y, size=8.5, color=SOFT_INK)
    return sheet.to_image()


def _beside(card: Scorecard, key: str) -> str:
    """What a reader compares the value with: the noise floor, or the range of perfect swaps scored without truth."""
    if card.truth is not None:
        return metric_text(noise_floor(key), key)
    typical = typical_perfect(key)
    return "–" if typical is None else f"{metric_text(typical.low, key)} … {metric_text(typical.high, key)}"


def _stacked(images: Sequence[AnyImage]) -> AnyImage:
    """Pictures below one another on white."""
    width = max(image.shape[1] for image in images)
    padded = [np.pad(i, ((0, 0), (0, width - i.shape[1]), (0, 0)), constant_values=255) for i in images]
    return np.concatenate(padded)
