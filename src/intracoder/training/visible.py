"""Fitting ``nets.visible`` to rendered heads, and judging it on people who were left out.

Source: cross-entropy on each pixel of a U-Net, more where it matters: Ronneberger et al., "U-Net", MICCAI 2015, arXiv
1505.04597. AdamW: Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101; the half cosine: the same, ICLR 2017, arXiv
1608.03983. Things pasted over what is to be segmented: Nirkin et al., "On Face Segmentation, Face Swapping, and Face
Perception", FG 2018, arXiv 1704.06729.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, UInt8
from torch import Tensor

from intracoder.errors import TrainingError
from intracoder.nets.device import step_generator
from intracoder.nets.visible import VisibleNet
from intracoder.protocols import Progress, silent
from intracoder.training.visible_data import VisibleBatch, VisibleFaces, plain_batch, varied_batch

BATCH: Final = 16
_RATE: Final = 2e-3
_WARM_UP_STEPS: Final = 50
_LAST_FACTOR: Final = 0.01
_NEAR_PX: Final = 9
"""Side of the square by which the outline is grown, within which every pixel counts."""
_FAR_WEIGHT: Final = 0.05
_MUCH_HIDDEN: Final = 0.08
"""Share of the outline from which a row counts as hidden, and is drawn more often."""
_HIDDEN_FACTOR: Final = 4.0
_LEAST_PEOPLE: Final = 5
"""Every fifth is left out for judging."""
_LEAST_HIDDEN_PX: Final = 30
_JUDGE_EVERY: Final = 100
_JUDGE_ROWS: Final = 32
_TELL_EVERY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedVisible:
    """The network, and what it is good for: judged on people who were left out."""

    net: VisibleNet
    """In eval mode."""
    frames: int
    people: int
    held_out: int
    """How many of the people were left out."""
    false_cover: float
    """Mean share of the visible face that is called hidden, 0..1."""
    missed: float
    """Mean share of what hides the face that is called visible, 0..1; 0 where nothing hides it."""


def fit_visible(
    faces: VisibleFaces, *, steps: int, batch: int = BATCH, seed: int = 0, progress: Progress = silent
) -> FittedVisible:
    """Trains the network on the CPU; the same seed and steps give the same weights.

    Args:
        faces: What to learn from.
        steps: Of training.
        batch: Rows of a step.
        seed: Of the initial weights and of everything random.
        progress: Told of steps and losses, and now and then how people left out are judged.

    Raises:
        TrainingError: Too few people, or a loss that is not finite.
    """
    names = sorted(set(faces.people))
    if len(names) < _LEAST_PEOPLE:
        raise TrainingError(f"visible face: expected at least {_LEAST_PEOPLE} people, got {len(names)}; render more")
    left_out = frozenset(names[_LEAST_PEOPLE - 1 :: _LEAST_PEOPLE])
    judged = torch.tensor([row for row, name in enumerate(faces.people) if name in left_out])
    chances = _chances(faces, left_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = VisibleNet()
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * _rate_factor(step, steps)
        generator = step_generator(seed, step)
        rows = torch.multinomial(chances, batch, replacement=True, generator=generator)
        loss = _loss(net, varied_batch(faces.planes[rows], generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % _TELL_EVERY == 0 or step == steps - 1:
            _tell(progress, step + 1, steps, float(loss.detach()))
        if (step + 1) % _JUDGE_EVERY == 0 and step < steps - 1:
            _judge(net, faces, judged, step + 1, progress)
    false_cover, missed = _judge(net, faces, judged, steps, progress)
    return FittedVisible(
        net=net.eval(),
        frames=len(faces.planes),
        people=len(names),
        held_out=len(left_out),
        false_cover=false_cover,
        missed=missed,
    )


def _tell(progress: Progress, step: int, steps: int, loss: float) -> None:
    """The loss; TrainingError where it is no number."""
    if not math.isfinite(loss):
        raise TrainingError(f"visible face: loss is {loss} at step {step}; look at the clips and masks")
    progress("visible", float(step), float(steps), f"loss {loss:.4f}")


def _rate_factor(step: int, steps: int) -> float:
    """What the peak learning rate is multiplied by: linear warm-up under a half cosine."""
    warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return warm * (0.5 * (1 + math.cos(math.pi * step / steps)) + _LAST_FACTOR)


def _chances(faces: VisibleFaces, left_out: frozenset[str]) -> Float[Tensor, "n"]:
    """How often each row is drawn: people alike, hidden faces more often, those left out never."""
    counts = Counter(faces.people)
    even = torch.tensor([0.0 if name in left_out else 1 / counts[name] for name in faces.people])
    hidden = torch.stack([_hidden_share(row) for row in faces.planes])
    return even * torch.where(hidden > _MUCH_HIDDEN, _HIDDEN_FACTOR, 1.0)


def _hidden_share(row: UInt8[Tensor, "9 s s"]) -> Tensor:
    visible, hull = row[3].float() / 255, row[8].float() / 255
    return 1 - (visible * hull).sum() / hull.sum().clamp_min(1)


def _loss(net: VisibleNet, batch: VisibleBatch) -> Tensor:
    """Cross-entropy in and about the outline, and a little of it elsewhere."""
    near = F.max_pool2d(batch.hull, _NEAR_PX, 1, _NEAR_PX // 2) > 0.02
    weight = near.float() + _FAR_WEIGHT
    each = F.binary_cross_entropy_with_logits(net(batch.given), batch.visible, reduction="none")
    return (each * weight).sum() / weight.sum()


@torch.no_grad()
def _judge(net: VisibleNet, faces: VisibleFaces, rows: Tensor, step: int, progress: Progress) -> tuple[float, float]:
    """False cover and what is missed, of rows that are not varied."""
    covers, misses = [], []
    for some in torch.split(rows, _JUDGE_ROWS):
        batch = plain_batch(faces.planes[some])
        inside = batch.hull > 0.5
        said, true = ((x < level) & inside for x, level in ((net(batch.given), 0.0), (batch.visible, 0.5)))
        hidden, seen = true.sum((1, 2, 3)), (inside & ~true).sum((1, 2, 3))
        covers.append((said & ~true).sum((1, 2, 3)) / seen.clamp_min(1))
        enough = hidden >= _LEAST_HIDDEN_PX
        misses.append((~said & true).sum((1, 2, 3))[enough] / hidden[enough])
    false_cover, missed = float(torch.cat(covers).mean()), torch.cat(misses)
    share = float(missed.mean()) if len(missed) else 0.0
    progress("judge", float(step), None, f"false cover {false_cover:.4f}, missed {share:.3f}")
    return false_cover, share
