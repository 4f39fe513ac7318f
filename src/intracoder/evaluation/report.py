"""A benchmark run as files: bench.json, report.md, and a page with pictures worth looking at."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intracoder.errors import NoFaceError
from intracoder.evaluation import tables
from intracoder.evaluation.curves import draw_curves
from intracoder.evaluation.evaluator import Evaluator
from intracoder.evaluation.figures import IdentityRow, StripRow, draw_grid, draw_strips, error_map
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.suites import Pair, Suite
from intracoder.evaluation.swapbench import BenchResult, trial_of
from intracoder.evaluation.trials import TrialResult, slug
from intracoder.evaluation.windows import face_square, faces_of, moments_of
from intracoder.media.atomic import atomic_path
from intracoder.media.stills import write_image
from intracoder.records import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """Pictures of one pair, relative to the page."""

    pair: str
    paths: tuple[tuple[str, str], ...]
    """Caption and path."""


def write_report(result: BenchResult, suite: Suite, evaluator: Evaluator, out: Path) -> Path:
    """Writes bench.json, report.md, pictures/ and index.html into ``out``; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "bench.json", tables.to_json(result))
    _write(out / "report.md", tables.to_markdown(result))
    figures = [_pair_figures(pair, result, evaluator, out) for pair in suite.pairs]
    _write(out / "index.html", _page(result, [one for one in figures if one is not None]))
    return out / "index.html"


def _write(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# ---- pictures --------------------------------------------------------------------------------------------------


def _pair_figures(pair: Pair, result: BenchResult, evaluator: Evaluator, out: Path) -> _Figures | None:
    """Strips, error maps, curves and the performance grid of one pair; None where nothing of it was scored."""
    shown = [t for t in result.trials if t.pair == pair.name and t.output is not None and _is_first_seed(t, result)]
    if not shown:
        return None
    assert shown[0].output is not None
    try:
        readings = evaluator.readings_of(trial_of(pair, shown[0].output))
    except NoFaceError:
        return None
    moments = moments_of(readings)
    names = [f"frame {k + pair.start}" for k in moments]
    target = faces_of(pair.target_clip(), moments, readings)
    truth = None if pair.truth is None else faces_of(pair.same_part(pair.truth), moments, readings)
    outputs = [(t, faces_of(t.output, moments, readings)) for t in shown if t.output is not None]
    source = _source_faces(pair, evaluator, target)
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    written: list[tuple[str, str]] = []

    def keep(name: str, caption: str, image: Image) -> None:
        path = folder / f"{slug(pair.name)}_{name}.png"
        write_image(path, image)
        written.append((caption, path.relative_to(out).as_posix()))

    head = [StripRow(name="target", crops=target), StripRow(name="source", crops=source, note="some of its own frames")]
    if truth is not None:
        head.append(StripRow(name="truth", crops=truth, note="the perfect swap"))
    rows = [StripRow(name=t.method, crops=crops, note=t.budget or "") for t, crops in outputs]
    keep("strips", "What each method makes of it", draw_strips([*head, *rows], column_names=names, title=pair.name))
    reference = target if truth is None else truth
    maps = [
        StripRow(
            name=row.name, note=row.note, crops=[error_map(a, b) for a, b in zip(row.crops, reference, strict=True)]
        )
        for row in rows
    ]
    against = "target" if truth is None else "truth"
    keep(
        "errors",
        f"Difference to the {against}: black is equal, bright yellow 64 levels of 255 or more",
        draw_strips(maps, column_names=names, title=f"{pair.name}: errors"),
    )
    cards = {t.label: t.card for t in shown if t.card is not None}
    keep("curves", "Frame by frame", draw_curves(cards, title=pair.name))
    learned, crops = outputs[-1]
    row = IdentityRow(name=pair.source[0].stem, swapped_crops=crops, source_crops=source, source_note="own frames")
    title = f"{pair.name}: {learned.label}"
    grid = draw_grid(target, [row], target_name=pair.target.stem, column_names=names, title=title)
    keep("grid", "Performances and identities", grid)
    return _Figures(pair=pair.name, paths=tuple(written))


def _is_first_seed(trial: TrialResult, result: BenchResult) -> bool:
    """Whether pictures are taken from this trial: the lowest seed of its method."""
    seeds = [t.seed for t in result.trials if t.method == trial.method and t.seed is not None]
    return trial.seed == min(seeds, default=None)


def _source_faces(pair: Pair, evaluator: Evaluator, target: Sequence[Image]) -> list[Image]:
    """As many frames of the source as the strips have columns."""
    squares = evaluator.source_faces(Clip(path=pair.source[0]), len(target), face_square)
    return [squares[k % len(squares)] for k in range(len(target))]


# ---- the page --------------------------------------------------------------------------------------------------

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2330;max-width:1280px;margin:2rem auto;padding:0 1rem}
h1,h2,h3{line-height:1.2}.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px;white-space:nowrap}
th,td{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #e3e6ea}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}
td.best{font-weight:700;background:#eef6ee}tr.foot td{color:#6b7480;font-style:italic}
small{color:#6b7480}figure{margin:1.2rem 0}img{max-width:100%;height:auto}figcaption{color:#6b7480}
"""


def _page(result: BenchResult, figures: Sequence[_Figures]) -> str:
    """The HTML page; it needs nothing from the network."""
    title = html.escape(f"SwapBench: {result.suite}")
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
        f"<h1>{title}</h1><p>Intracoder {html.escape(result.package_version)}. Means over clips with 95 % bootstrap "
        "intervals by clip; the best of each column is marked, copying the target does not compete. "
        "Read abs(1 − NID) together with SSIM, NME, expression and HF: a blurred face can have the right identity.</p>",
    ]
    parts += [_html_table(result, name) for name in tables.slices(result)]
    errors = [f"<li>{html.escape(f'{t.pair}, {t.label}: {t.error}')}</li>" for t in result.trials if t.error]
    if errors:
        parts.append("<h2>Trials without a score</h2><ul>" + "".join(errors) + "</ul>")
    for one in figures:
        parts.append(f"<h2>{html.escape(one.pair)}</h2>")
        for caption, path in one.paths:
            text, link = html.escape(caption), html.escape(path, quote=True)
            parts.append(
                f'<figure><img loading="lazy" src="{link}" alt="{text}"><figcaption>{text}</figcaption></figure>'
            )
    return "\n".join(parts) + "</html>\n"


def _html_table(result: BenchResult, name: str) -> str:
    """One slice's table."""
    keys, table = tables.columns(result), tables.rows(result, name)
    winners = {key: tables.best(table, key) for key in keys}
    head = "".join(f"<th>{html.escape(tables.heading(key))}</th>" for key in keys)
    lines = [f'<h3>{html.escape(name)}</h3><div class="wide"><table><tr><th>method</th>{head}<th>s</th></tr>']
    for row in table:
        cells = []
        for key in keys:
            mean, _, interval = tables.cell(row.values.get(key), key).partition(" ")
            mark = ' class="best"' if winners[key] == row.label else ""
            cells.append(f"<td{mark}>{mean}<br><small>{interval}</small></td>")
        seconds = "–" if row.seconds is None else f"{row.seconds:.0f}"
        lines.append(f"<tr><td>{html.escape(row.label)}</td>{''.join(cells)}<td>{seconds}</td></tr>")
    label, texts = tables.footer(result, keys)
    lines.append(
        f'<tr class="foot"><td>{label}</td>{"".join(f"<td>{t}</td>" for t in texts)}<td></td></tr></table></div>'
    )
    return "\n".join(lines)
