"""The scorecard of one output: numbers, JSON and Markdown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from intracoder.errors import ConfigError
from intracoder.evaluation.metrics import METRICS, noise_floor, typical_perfect
from intracoder.evaluation.statistics import percentiles
from intracoder.media.atomic import atomic_path

SCHEMA = "intracoder.scorecard/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric of one output, in the metric's unit."""

    value: float
    """The clip's value: the mean over frames, or a ratio of sums where the metric is a ratio over time."""
    p5: float | None
    p95: float | None
    frames: tuple[float | None, ...]
    """Per frame, None where it could not be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What one output scored."""

    output: str
    target: str
    source: str
    truth: str | None
    """Name of the truth that everything is measured against; None for naive scores."""
    embedder: str
    start: int
    """First frame of the target that was looked at."""
    frame_count: int
    target_faces: int
    """Frames in which the target shows its face."""
    metrics: Mapping[str, Measured]
    """By key of METRICS; what could not be measured is missing."""

    def value(self, key: str) -> float | None:
        """The clip's value of a metric, None where it was not measured."""
        return self.metrics[key].value if key in self.metrics else None


def measured(per_frame: Float64[np.ndarray, "n"], value: float | None = None) -> Measured | None:
    """A metric from its values per frame; ``value`` replaces their mean. None where no frame was measured."""
    finite = per_frame[np.isfinite(per_frame)]
    if not finite.size:
        return None
    low, high = percentiles(per_frame)
    frames = tuple(float(v) if np.isfinite(v) else None for v in per_frame)
    return Measured(value=float(finite.mean()) if value is None else value, p5=low, p95=high, frames=frames)


def to_json(card: Scorecard) -> str:
    """The scorecard as JSON of schema SCHEMA (scorecard.schema.json), with noise floors and typical values beside."""
    metrics = {}
    for key, one in card.metrics.items():
        typical = typical_perfect(key) if card.truth is None else None
        metrics[key] = {
            "value": _short(one.value),
            "p5": _short(one.p5),
            "p95": _short(one.p95),
            "unit": METRICS[key].unit,
            "ideal": METRICS[key].ideal,
            "noise_floor": noise_floor(key),
            "perfect_swap_reads": None if typical is None else dataclasses.asdict(typical),
            "frames": [_short(v) for v in one.frames],
        }
    head = {f.name: getattr(card, f.name) for f in dataclasses.fields(card) if f.name != "metrics"}
    return json.dumps({"schema": SCHEMA, **head, "metrics": metrics}, indent=1, allow_nan=False) + "\n"


def from_json(text: str, *, where: str) -> Scorecard:
    """Reads what ``to_json`` wrote; ConfigError naming ``where`` for anything else."""
    try:
        data: dict[str, Any] = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ConfigError(f"{where}: expected schema {SCHEMA}, got {data['schema']!r}")
        metrics = {key: _measured_from(key, one, where) for key, one in data["metrics"].items()}
        names = {f.name for f in dataclasses.fields(Scorecard)} - {"metrics"}
        return Scorecard(**{name: data[name] for name in names}, metrics=metrics)
    except (json.JSONDecodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: can't be read as a scorecard: {error!r}") from error


def _measured_from(key: str, data: Mapping[str, Any], where: str) -> Measured:
    """One metric of a JSON scorecard."""
    if key not in METRICS:
        raise ConfigError(f"{where}: unknown metric {key!r}; known: {', '.join(METRICS)}")
    values = [data["value"], *(v for v in (data["p5"], data["p95"], *data["frames"]) if v is not None)]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        raise ConfigError(f"{where}: metric {key!r}: expected finite numbers")
    low, high = _number(data["p5"]), _number(data["p95"])
    return Measured(value=float(data["value"]), p5=low, p95=high, frames=tuple(map(_number, data["frames"])))


def _number(value: float | int | None) -> float | None:
    """A JSON number as float."""
    return None if value is None else float(value)


def save_scorecard(card: Scorecard, path: Path) -> None:
    """Writes JSON to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(to_json(card), encoding="utf-8")


def load_scorecard(path: Path) -> Scorecard:
    """Reads a scorecard's JSON file; ConfigError where it is missing or is no scorecard."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as a scorecard: {error}") from error
    return from_json(text, where=str(path))


def to_markdown(card: Scorecard) -> str:
    """The scorecard as a table for people."""
    reference = f"truth {card.truth}" if card.truth else "no truth: naive values beside those of a perfect swap"
    lines = [
        f"# Scorecard of {card.output}",
        "",
        f"target {card.target}, source {card.source}, {reference}; frames {card.start} to "
        f"{card.start + card.frame_count - 1}, {card.target_faces} of them with the target's face; "
        f"identity by {card.embedder}.",
        "",
        "| metric | value | 5–95 % of frames | ideal | noise floor | perfect swap reads | what it says |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, spec in METRICS.items():
        if key not in card.metrics:
            continue
        one, typical = card.metrics[key], typical_perfect(key) if card.truth is None else None
        reads = "" if typical is None else f"{metric_text(typical.low, key)} … {metric_text(typical.high, key)}"
        spread = "" if one.p5 is None else f"{metric_text(one.p5, key)} … {metric_text(one.p95, key)}"
        unit = f" {spec.unit}" if spec.unit else ""
        cells = [spec.label, f"**{metric_text(one.value, key)}**{unit}", spread, metric_text(spec.ideal, key)]
        lines.append("| " + " | ".join([*cells, metric_text(noise_floor(key), key), reads, spec.says]) + " |")
    return "\n".join(lines) + "\n"


def metric_text(value: float | None, key: str) -> str:
    """A number as the tables show it; a dash for None."""
    # adding 0 turns -0.0, which rounding leaves, into 0.0
    return "–" if value is None else f"{round(value, METRICS[key].digits) + 0.0:.{METRICS[key].digits}f}"


def _short(value: float | None) -> float | None:
    """Six significant digits: enough for every use, and files stay readable."""
    return None if value is None else float(f"{value:.6g}")
