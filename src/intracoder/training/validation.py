"""The loss on frames that are never learned from."""

from __future__ import annotations

import torch

from intracoder.nets.device import Compute
from intracoder.nets.intracoder import Intracoder
from intracoder.nets.losses import intracoder_losses
from intracoder.training.augment import centered
from intracoder.training.dataset import TrainingData

VALIDATION_FRAMES = 16
"""Most frames of each person that are looked at."""


@torch.inference_mode()
def validation_loss(net: Intracoder, data: TrainingData, compute: Compute) -> float | None:
    """Weighted sum on held-out frames, unchanged, with their nearest reference; None where there are none."""
    held = data.held_out(VALIDATION_FRAMES)
    if held is None:
        return None
    samples, shares = held
    batch = centered(samples, encoder_px=net.config.encoder_px, output_px=net.config.output_px)
    with compute.autocast():
        predicted = net(batch.inputs, shares, batch.planes)
    return float(intracoder_losses(predicted, batch.expected, batch.mask, batch.weight).total())
