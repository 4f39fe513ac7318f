"""Metrics over time, one small diagram each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from intracoder.evaluation.canvas import COLORS, INK, PAPER, SOFT_INK
from intracoder.evaluation.metrics import METRICS
from intracoder.evaluation.scorecard import Scorecard
from intracoder.records import Image

CURVES = ("similarity", "pose_deg", "expression", "light_de", "flicker_ratio", "ssim")
"""Metrics worth seeing frame by frame."""


def draw_curves(cards: Mapping[str, Scorecard], *, title: str = "", keys: Sequence[str] = CURVES) -> Image:
    """Per-frame values of several outputs of one target, a panel a metric and a line an output.

    Args:
        cards: Scorecards by the name in the legend.
        title: Heading.
        keys: Metrics; those that no card has are left out.
    """
    shown = [key for key in keys if any(key in card.metrics for card in cards.values())]
    columns = 2 if len(shown) > 1 else 1
    lines = -(-len(shown) // columns) or 1
    figure = Figure(figsize=(11, 2.3 * lines + 1.2), dpi=100, facecolor=PAPER, layout="constrained")
    agg = FigureCanvasAgg(figure)
    if title:
        figure.suptitle(f"{title}\n", fontsize=14, weight="bold", color=INK, x=0.025, ha="left")
    for place, key in enumerate(shown):
        axes = figure.add_subplot(lines, columns, place + 1)
        spec = METRICS[key]
        if spec.ideal is not None:
            axes.axhline(spec.ideal, color=SOFT_INK, linewidth=0.8, linestyle=(0, (4, 3)))
        for k, (name, card) in enumerate(cards.items()):
            if key in card.metrics:
                values = [np.nan if v is None else v for v in card.metrics[key].frames]
                frames = np.arange(len(values)) + card.start
                axes.plot(frames, values, color=COLORS[k % len(COLORS)], linewidth=1.4, label=name)
        unit = f" ({spec.unit})" if spec.unit else ""
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if place >= len(shown) - columns:
            axes.set_xlabel("frame", fontsize=9, color=SOFT_INK)
        axes.set_title(spec.label + unit, fontsize=10, color=INK, loc="left")
        axes.tick_params(labelsize=8, colors=SOFT_INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    if shown:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=4, fontsize=9, frameon=False)
    agg.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(agg.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[..., :3])
