"""A benchmark run as files: bench.json, report.md, and a page with pictures worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intracoder.errors import NoFaceError
from intracoder.evaluation import tables
from intracoder.evaluation.curves import draw_curves
from intracoder.evaluation.evaluator import Evaluator
from intracoder.evaluation.figures import IdentityRow, StripRow, draw_grid, draw_strips, error_map
from intracoder.evaluation.page import PairFigures, page
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.suites import Pair, Suite
from intracoder.evaluation.swapbench import BenchResult, trial_of
from intracoder.evaluation.trials import TrialResult, slug
from intracoder.evaluation.windows import face_square, faces_of, moments_of
from intracoder.media.atomic import atomic_path
from intracoder.media.stills import write_image
from intracoder.records import Image

OURS = "ours"
"""The method whose faces the performance grid shows, where it was run."""


def write_report(result: BenchResult, suite: Suite, evaluator: Evaluator, out: Path) -> Path:
    """Writes bench.json, report.md, pictures/ and index.html into ``out``; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "bench.json", tables.to_json(result))
    _write(out / "report.md", tables.to_markdown(result))
    figures = [_pair_figures(pair, result, evaluator, out) for pair in suite.pairs]
    _write(out / "index.html", page(result, [one for one in figures if one is not None]))
    return out / "index.html"


def _write(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# ---- pictures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Faces:
    """Squares of one pair's clips, one a moment."""

    names: Sequence[str]
    """Of the moments."""
    target: Sequence[Image]
    source: Sequence[Image]
    truth: Sequence[Image] | None
    outputs: Sequence[tuple[TrialResult, Sequence[Image]]]


def _pair_figures(pair: Pair, result: BenchResult, evaluator: Evaluator, out: Path) -> PairFigures | None:
    """Strips, error maps, performance grid and curves of one pair; None where no output of it is at hand."""
    shown = [t for t in result.trials if t.pair == pair.name and _is_shown(t, result)]
    if not shown or shown[0].output is None:
        return None
    try:
        readings = evaluator.readings_of(trial_of(pair, shown[0].output))
    except NoFaceError:
        return None
    moments = moments_of(readings)
    target = faces_of(pair.target_clip(), moments, readings)
    truth = None if pair.truth is None else faces_of(pair.same_part(pair.truth), moments, readings)
    source = evaluator.source_faces(Clip(path=pair.source[0]), readings, moments, face_square)
    faces = _Faces(
        names=[f"frame {k + pair.start}" for k in moments],
        target=target,
        source=source,
        truth=truth,
        outputs=[(t, faces_of(t.output, moments, readings)) for t in shown if t.output is not None],
    )
    pictures = {
        "strips": _strips(pair, faces),
        "errors": _errors(pair, faces),
        "grid": _grid(pair, faces),
        "curves": draw_curves({t.label: t.card for t in shown if t.card is not None}, title=f"{pair.name}: over time"),
    }
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    paths = {}
    for kind, image in pictures.items():
        path = folder / f"{slug(pair.name)}_{kind}.png"
        write_image(path, image)
        paths[kind] = path.relative_to(out).as_posix()
    return PairFigures(pair=pair.name, tags=pair.tags, against="target" if truth is None else "truth", paths=paths)


def _strips(pair: Pair, faces: _Faces) -> Image:
    """Target, source, truth, and what each method makes of them."""
    rows = [
        StripRow(name="target", note="what is filmed", crops=faces.target),
        StripRow(name="source", note="its nearest own frames", crops=faces.source),
    ]
    if faces.truth is not None:
        rows.append(StripRow(name="truth", note="the perfect swap", crops=faces.truth))
    rows += [
        StripRow(name=t.method, note=t.budget or "", crops=crops)
        for t, crops in faces.outputs
        if t.method != tables.COPY
    ]
    return draw_strips(rows, column_names=faces.names, title=pair.name)


def _errors(pair: Pair, faces: _Faces) -> Image:
    """How far each method is from the truth, or without one from the target."""
    reference, against = (faces.target, "target") if faces.truth is None else (faces.truth, "truth")
    rows = []
    for trial, crops in faces.outputs:
        maps = [error_map(a, b) for a, b in zip(crops, reference, strict=True)]
        rows.append(StripRow(name=trial.method, note=trial.budget or "", crops=maps))
    return draw_strips(rows, column_names=faces.names, title=f"{pair.name}: distance to the {against}")


def _grid(pair: Pair, faces: _Faces) -> Image:
    """The performance grid of ours at its longest budget, or else of the last method."""
    own = [one for one in faces.outputs if one[0].method == OURS]
    trial, crops = (own or faces.outputs)[-1]
    row = IdentityRow(
        name=pair.source[0].stem, swapped_crops=crops, source_crops=faces.source, source_note="nearest own frames"
    )
    title = f"{pair.name}: {trial.label}"
    return draw_grid(faces.target, [row], target_name=pair.target.stem, column_names=faces.names, title=title)


def _is_shown(trial: TrialResult, result: BenchResult) -> bool:
    """Whether pictures are taken from this trial: the lowest seed of its row, if the output is still there."""
    seeds = [t.seed for t in result.trials if t.label == trial.label and t.pair == trial.pair and t.seed is not None]
    return trial.seed == min(seeds, default=None) and trial.output is not None and trial.output.path.exists()
