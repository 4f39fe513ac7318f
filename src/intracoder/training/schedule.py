"""When a training ends, and what changes on the way there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from intracoder.config import TrainConfig
from intracoder.nets.losses import LossWeights

WARM_UP_STEPS = 100
FLAT_UNTIL = 0.45
LAST_FACTOR = 0.02
FINISHING = 0.4
"""Time that a training which ends early takes to bring its rate down / time spent before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Steps, where given, or else seconds: the learning rate reaches its end when the budget does."""

    steps: int | None
    seconds: float | None

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the budget that is used up; 1 or more ends the training."""
        if self.steps is not None:
            return step / self.steps
        return elapsed_s / self.seconds if self.seconds else 1.0

    def left_s(self, step: int, elapsed_s: float) -> float | None:
        """Seconds to go, from the pace so far; None before there is one."""
        done = self.progress(step, elapsed_s)
        if self.steps is None and self.seconds is not None:
            return max(self.seconds - elapsed_s, 0.0)
        return elapsed_s * (1 - done) / done if done else None


def budget_of(config: TrainConfig, share: float = 1.0) -> Budget:
    """Steps win over minutes; of minutes only a share, where a training ends early."""
    if config.steps is not None:
        return Budget(steps=config.steps, seconds=None)
    return Budget(steps=None, seconds=(config.minutes or 0.0) * 60 * share)


def has_stalled(best_s: float, elapsed_s: float, patience_s: float) -> bool:
    """Whether the held-out loss was best so long ago that it is time to finish; a patience of 0 never ends."""
    return patience_s > 0 and elapsed_s - best_s >= patience_s


def finishing_share(progress: float) -> float:
    """What share of a budget is left where a training that has come to ``progress`` shall finish now.

    A loss that stands still at a high rate still falls when the rate does: so the rate is brought down as at the end of
    every training, over FINISHING of what has been spent.
    """
    return min(1.0, progress * (1 + FINISHING))


def rate_factor(step: int, progress: float) -> float:
    """What the peak learning rate is multiplied by: linear warm-up, flat, then a half cosine down to LAST_FACTOR."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress < FLAT_UNTIL:
        return warm
    falling = min((progress - FLAT_UNTIL) / (1 - FLAT_UNTIL), 1.0)
    return warm * (LAST_FACTOR + (1 - LAST_FACTOR) * 0.5 * (1 + math.cos(math.pi * falling)))


def warp_strength(progress: float) -> float:
    """Deviation of the input's random warp, in units of half its side; falls as training ends."""
    return 0.03 if progress < 0.5 else 0.02 if progress < 0.85 else 0.005


def triplet_share(progress: float) -> float:
    """Share of the inputs that are pseudo-triplets; none at the very start, when codes mean nothing yet."""
    return 0.375 if progress > 0.02 else 0.0


def average_decay(step: int) -> float:
    """Of the exponential moving average of the weights, applied at every second step."""
    return min(0.995, (1 + step / 2) / (10 + step / 2))


def step_weights(step: int) -> LossWeights:
    """SSIM costs as much as all other terms, so it is taken at every second step with double weight."""
    weights = LossWeights()
    return replace(weights, ssim=2 * weights.ssim if step % 2 == 0 else 0.0)
