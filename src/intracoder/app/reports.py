"""Run reports as JSON files beside the outputs."""

from __future__ import annotations

import json
from pathlib import Path

from intracoder.errors import ConfigError
from intracoder.media.atomic import atomic_path
from intracoder.records import Outcome, RunReport


def report_path(output: Path) -> Path:
    """Where an output's report lies."""
    return output.with_name(f"{output.stem}.report.json")


def report_to_json(report: RunReport) -> str:
    """The report for machines: counts, one row a frame, times and hashes."""
    info = report.target
    data = {
        "output": str(report.output),
        "output_sha256": report.output_sha256,
        "record_id": report.record_id,
        "source": report.source_name,
        "target": {"path": str(info.path), "width": info.width, "height": info.height, "rate": str(info.frame_rate)},
        "package_version": report.package_version,
        "model_sha256": report.model_sha256,
        "counts": report.counts(),
        "stage_seconds": {name: round(value, 2) for name, value in report.stage_seconds.items()},
        "frames": [[f.frame_index, f.outcome.value, f.confidence] for f in report.frames],
    }
    return json.dumps(data, indent=1)


def save_report(report: RunReport, path: Path) -> None:
    """Writes the report as JSON."""
    with atomic_path(path) as beside:
        beside.write_text(report_to_json(report), encoding="utf-8")


def swapped_frames(path: Path) -> frozenset[int]:
    """The frames that a report says were swapped; ConfigError where it can't be read or lists none."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["frames"]
        swapped = frozenset(int(index) for index, outcome, _ in rows if outcome == Outcome.SWAPPED.value)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: can't be read as the report of a run: {error!r}") from error
    if not swapped:
        raise ConfigError(f"{path}: expected at least one swapped frame, got none; there is nothing to judge")
    return swapped
