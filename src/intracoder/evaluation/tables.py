"""The numbers of a benchmark run as tables: a row a method, a column a metric, one table a slice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np

from intracoder.evaluation.metrics import METRICS, noise_floor, typical_perfect
from intracoder.evaluation.statistics import Summary, summarize
from intracoder.evaluation.swapbench import BenchResult
from intracoder.evaluation.trials import TrialResult

SCHEMA = "intracoder.bench/1"
EVERYTHING = "all"
"""The slice that holds every frame of every pair."""
COPY = "copy-target"
"""Perfect in whatever is measured against the target: it is shown and does not compete."""
NID_GAP = "nid_gap"
"""|1 - NID|: NID may exceed 1, and both sides are as wrong."""
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "identity": (NID_GAP, "nid", "leak", "similarity"),
        "like the truth": ("ssim", "psnr_db", "perceptual", "gt_margin", "nme_percent", "mask_iou"),
        "performance": ("expression", "pose_deg", "gaze_deg", "found"),
        "picture": ("detail_ratio", "light_de", "seam_de", "background_psnr_db"),
        "over time": ("flicker_ratio", "jitter_ratio"),
    }
)
"""Columns that belong together, in the order of the page."""
_WITH_TRUTH = (
    *(NID_GAP, "leak", "ssim", "nme_percent", "expression", "detail_ratio", "psnr_db", "perceptual", "gt_margin"),
    *("pose_deg", "gaze_deg", "light_de", "seam_de", "flicker_ratio", "jitter_ratio", "mask_iou", "background_psnr_db"),
)
_WITHOUT_TRUTH = (
    *("nid", "leak", "similarity", "expression", "pose_deg", "gaze_deg", "detail_ratio", "light_de", "seam_de"),
    *("flicker_ratio", "jitter_ratio", "background_psnr_db", "found"),
)
_PER_CLIP = ("nid", "leak", "flicker_ratio", "jitter_ratio")
"""Normalised over the whole clip: their single frames are no scores, so slices of frames leave them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method with one budget, on one slice."""

    slice: str
    label: str
    values: dict[str, Summary]
    """By metric key or NID_GAP."""
    seconds: float | None
    """Mean wall clock of learning and rendering a pair."""
    failed: int
    """Trials without a score."""


def columns(result: BenchResult) -> tuple[str, ...]:
    """Metrics shown for a run: with truth, those that it allows."""
    return _WITH_TRUTH if has_truth(result) else _WITHOUT_TRUTH


def slices(result: BenchResult) -> tuple[str, ...]:
    """EVERYTHING, the pairs' tags, and slices of frames, in order of appearance."""
    names = [tag for trial in result.trials for tag in (*trial.tags, *trial.frame_slices)]
    return (EVERYTHING, *dict.fromkeys(names))


def rows(result: BenchResult, name: str) -> tuple[Row, ...]:
    """The table of one slice."""
    labels = dict.fromkeys(trial.label for trial in result.trials)
    return tuple(_row(name, label, [t for t in result.trials if t.label == label]) for label in labels)


def _row(name: str, label: str, trials: Sequence[TrialResult]) -> Row:
    """Summaries over the clips of the slice, seeds averaged within a clip."""
    inside = [t for t in trials if name == EVERYTHING or name in t.tags or name in t.frame_slices]
    values = {}
    for key in (NID_GAP, *METRICS):
        by_pair: dict[str, list[float]] = {}
        for trial in inside:
            value = _value(trial, key, name)
            if value is not None:
                by_pair.setdefault(trial.pair, []).append(value)
        summary = summarize(list(by_pair.values()))
        if summary is not None:
            values[key] = summary
    times = [t.seconds for t in inside if t.seconds is not None]
    seconds = float(np.mean(times)) if times else None
    return Row(slice=name, label=label, values=values, seconds=seconds, failed=sum(t.card is None for t in inside))


def _value(trial: TrialResult, key: str, name: str) -> float | None:
    """One trial's value of a metric on a slice, None where it was not measured."""
    source = "nid" if key == NID_GAP else key
    if trial.card is None or source not in trial.card.metrics:
        return None
    one = trial.card.metrics[source]
    value = one.value
    if name in trial.frame_slices and name not in trial.tags:
        if source in _PER_CLIP:
            return None
        picked = [one.frames[k] for k in trial.frame_slices[name] if k < len(one.frames)]
        numbers = [v for v in picked if v is not None]
        if not numbers:
            return None
        value = float(np.mean(numbers))
    return abs(1.0 - value) if key == NID_GAP else value


def to_json(result: BenchResult) -> str:
    """The run as JSON of schema SCHEMA (bench.schema.json)."""
    trials: list[dict[str, Any]] = [
        {
            "pair": t.pair,
            "tags": list(t.tags),
            "method": t.method,
            "budget": t.budget,
            "seed": t.seed,
            "seconds": None if t.seconds is None else round(t.seconds, 2),
            "code": t.code,
            "error": t.error,
            "truth": None if t.card is None else t.card.truth,
            "metrics": {} if t.card is None else {k: _six(m.value) for k, m in t.card.metrics.items()},
        }
        for t in result.trials
    ]
    table = [
        {
            "slice": row.slice,
            "row": row.label,
            "seconds": None if row.seconds is None else round(row.seconds, 2),
            "failed": row.failed,
            "metrics": {
                key: {k: v if k == "clips" or v is None else _six(v) for k, v in asdict(one).items()}
                for key, one in row.values.items()
            },
        }
        for name in slices(result)
        for row in rows(result, name)
    ]
    floors = {key: floor for key in METRICS if (floor := noise_floor(key)) is not None}
    head = {"schema": SCHEMA, "suite": result.suite, "package_version": version("intracoder")}
    return (
        json.dumps({**head, "trials": trials, "table": table, "noise_floor": floors}, indent=1, allow_nan=False) + "\n"
    )


def _six(value: float) -> float:
    """Six significant digits."""
    return float(f"{value:.6g}")


# ---- for people ------------------------------------------------------------------------------------------------


def heading(key: str) -> str:
    """A column's name with its unit."""
    if key == NID_GAP:
        return "abs(1 − NID)"
    spec = METRICS[key]
    return f"{spec.label} ({spec.unit})" if spec.unit else spec.label


def cell(summary: Summary | None, key: str) -> str:
    """Mean and, from two clips on, its 95 % interval."""
    if summary is None:
        return "–"
    digits = 2 if key == NID_GAP else METRICS[key].digits
    text = number(summary.mean, digits)
    if summary.ci_low is None or summary.ci_high is None:
        return text
    return f"{text} [{number(summary.ci_low, digits)}, {number(summary.ci_high, digits)}]"


def number(value: float, digits: int) -> str:
    """Rounded, without a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def best(table: Sequence[Row], key: str) -> str | None:
    """Label of the row nearest to the ideal (or highest, where there is none). Copying the target does not compete."""
    ideal = 0.0 if key == NID_GAP else METRICS[key].ideal
    known = [(row.values[key].mean, row.label) for row in table if key in row.values and row.label != COPY]
    if len(known) < 2:
        return None
    if ideal is None:
        return max(known)[1]
    return min(known, key=lambda one: abs(one[0] - ideal))[1]


def close_to_best(table: Sequence[Row], key: str) -> frozenset[str]:
    """Labels of rows that are no further from the best than the metric's noise floor: nothing tells them apart."""
    winner, floor = best(table, key), noise_floor("nid" if key == NID_GAP else key)
    if winner is None or floor is None:
        return frozenset()
    means = {row.label: row.values[key].mean for row in table if key in row.values and row.label != COPY}
    return frozenset(label for label, mean in means.items() if label != winner and abs(mean - means[winner]) <= floor)


def like_perfect(table: Sequence[Row], key: str) -> frozenset[str]:
    """Labels of rows inside the range of perfect swaps scored without truth: nothing tells them from perfect."""
    typical = typical_perfect(key)
    means = {row.label: row.values[key].mean for row in table if key in row.values and row.label != COPY}
    return frozenset(
        label for label, mean in means.items() if typical is not None and typical.low <= mean <= typical.high
    )


def has_truth(result: BenchResult) -> bool:
    """Whether anything was measured against a truth. Without one no row is the best: ideals are not what to reach."""
    return any(trial.card is not None and trial.card.truth is not None for trial in result.trials)


def ideal_text(key: str) -> str:
    """What a perfect swap has, for the head of a column."""
    ideal = 0.0 if key == NID_GAP else METRICS[key].ideal
    return "high" if ideal is None else f"{ideal:g}"


def says(key: str) -> str:
    """One sentence on a column."""
    return "Distance of NID to 1, in either direction." if key == NID_GAP else METRICS[key].says


def footer(result: BenchResult, keys: Sequence[str]) -> tuple[str, list[str]]:
    """The last line of a table: noise floors where there is truth, else what a perfect swap reads."""
    if has_truth(result):
        floors = [noise_floor("nid" if key == NID_GAP else key) for key in keys]
        texts = [
            "–" if f is None else number(f, 2 if k == NID_GAP else METRICS[k].digits)
            for f, k in zip(floors, keys, strict=True)
        ]
        return "noise floor", texts
    reads = []
    for key in keys:
        typical = typical_perfect(key)
        digits = METRICS[key].digits
        reads.append("–" if typical is None else f"{number(typical.low, digits)} … {number(typical.high, digits)}")
    return "a perfect swap reads", reads


def provenance(result: BenchResult) -> str:
    """Which states of the package made the outputs. Several in one table are no fault, but have to be known."""
    states = Counter(trial.code for trial in result.trials if trial.code)
    return ", ".join(f"Intracoder {state} (trials: {count})" for state, count in states.items())


def to_markdown(result: BenchResult) -> str:
    """All tables."""
    keys = columns(result)
    parts = [f"# SwapBench: {result.suite}", "", f"Made by {provenance(result)}.", ""]
    for name in slices(result):
        table = rows(result, name)
        parts += [f"## {name}", "", "| method | " + " | ".join(map(heading, keys)) + " | s | failed |"]
        parts.append("|---" * (len(keys) + 3) + "|")
        winners = {key: best(table, key) if has_truth(result) else None for key in keys}
        for row in table:
            cells = []
            for key in keys:
                text = cell(row.values.get(key), key)
                cells.append(f"**{text}**" if winners[key] == row.label else text)
            seconds = "–" if row.seconds is None else f"{row.seconds:.0f}"
            parts.append("| " + " | ".join([row.label, *cells, seconds, str(row.failed)]) + " |")
        label, cells = footer(result, keys)
        parts += ["| *" + " | ".join([label + "*", *cells, "", ""]) + " |", ""]
    errors = [f"- {t.pair}, {t.label}: {t.error}" for t in result.trials if t.error]
    if errors:
        parts += ["## Trials without a score", "", *errors, ""]
    return "\n".join(parts)
