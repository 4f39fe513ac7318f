"""In-mask colour normalisation: what the network need not learn about colour, taken out before and put back after."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

CENTER = 0.5
SPREAD = 0.2
"""Where one standard deviation of the masked colour lands; 2.5 of them fill 0..1."""
DEVIATION_FLOOR = 0.02


class ColorStats(NamedTuple):
    """Masked mean and deviation of each channel."""

    mean: Float[Tensor, "b 3 1 1"]
    deviation: Float[Tensor, "b 3 1 1"]


def color_stats(images: Float[Tensor, "b 3 s s"], masks: Float[Tensor, "b 1 s s"]) -> ColorStats:
    """Statistics inside the masks; images and masks 0..1."""
    weight = masks / (masks.sum((2, 3), keepdim=True) + 1e-3)
    mean = (images * weight).sum((2, 3), keepdim=True)
    variance = ((images - mean).square() * weight).sum((2, 3), keepdim=True)
    return ColorStats(mean, variance.sqrt() + DEVIATION_FLOOR)


def normalized(images: Float[Tensor, "b 3 s s"], stats: ColorStats) -> Float[Tensor, "b 3 s s"]:
    """Images with mean CENTER and deviation SPREAD inside the mask, clipped to 0..1."""
    return ((images - stats.mean) * (SPREAD / stats.deviation) + CENTER).clamp(0, 1)


def restored(images: Float[Tensor, "b 3 s s"], stats: ColorStats) -> Float[Tensor, "b 3 s s"]:
    """Undoes ``normalized``, with these or another picture's statistics; clipped to 0..1."""
    return torch.clamp((images - CENTER) * (stats.deviation / SPREAD) + stats.mean, 0, 1)
