"""Training the colour and resolution network, on what one person's decoder makes.

Two lessons in every step. Resolution: the intracoder's own pictures of the source, mixed with plainly degraded ones,
are to become the real crops. Colour: a real face's inner colours are changed at random and are to be undone, judged by
the surroundings and by the blurred inner face of somebody else in the same place and light, which teaches that light
should be taken over and a beard should not. No labels are needed for either.

Source: training on the generator's own output: METHODS §2.3; undoing a random change of colour: METHODS §2.8.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, UInt8
from safetensors.torch import save_file
from torch import Generator, Tensor

from intracoder.errors import TrainingError
from intracoder.media.atomic import atomic_path
from intracoder.nets.device import Compute, step_generator
from intracoder.nets.enhancer import Enhancer, EnhancerConfig, carried, save_tensors, veiled
from intracoder.nets.losses import charbonnier, gradient_loss, ssim_loss
from intracoder.protocols import Progress, silent
from intracoder.training.enhance_data import LIGHT_GRID, EnhancerData
from intracoder.training.schedule import Budget, average_decay, rate_factor

TEXTURE_PX = 8
TELL_EVERY = 10
INITIAL_STREAM = 1
"""Of ``step_generator``: draws of the initial weights, apart from those of step 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhanceOptions:
    """Strengths of the lessons."""

    batch: int = 8
    """Resolution patches of a step."""
    color_batch: int = 16
    """Faces of a step whose colours are corrected."""
    lr: float = 2e-3
    """Peak learning rate."""
    patch: float = 0.5
    """Side of a resolution patch, fraction of the crop's."""
    degraded_share: float = 0.5
    """Share of resolution patches that come from real crops, shrunk, instead of from the intracoder."""
    light: float = 1.0
    """Strength of the random change of colour."""
    disguise_share: float = 0.75
    """Share of colour samples that see another person's blurred face."""
    ssim: float = 0.15
    """Weight of 1 - SSIM in the resolution lesson."""
    gradient: float = 0.4
    """Weight of the gradient term in the resolution lesson."""
    texture: float = 2.0
    """Weight of the amount of fine detail in the resolution lesson."""


class _Stored(NamedTuple):
    """The data as channels-first uint8 tensors."""

    generated: Tensor
    expected: Tensor
    faces: Tensor
    disguised: Tensor
    changed: Tensor
    masks: Tensor


def train_enhancer(
    data: EnhancerData,
    *,
    compute: Compute,
    budget: Budget,
    seed: int = 0,
    options: EnhanceOptions = EnhanceOptions(),
    config: EnhancerConfig | None = None,
    progress: Progress = silent,
) -> Enhancer:
    """The trained network (exponential mean of the weights), in eval mode on ``compute``'s device.

    Args:
        data: What to learn from.
        compute: Where, and in which number format.
        budget: Seconds, which end on time whatever the machine does, or steps, which repeat exactly.
        seed: Of the initial weights and of everything random.
        options: Strengths of the lessons.
        config: Of the network; None takes the default one for the data's sizes.
        progress: Told the budget's share that is done, losses, rate and time left.

    Raises:
        TrainingError: Sizes that don't fit the network, or a loss that is not finite.
    """
    config = _fitting(data, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_generator(seed, 0, INITIAL_STREAM).initial_seed())
        enhancer = Enhancer(config)
    enhancer = enhancer.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(enhancer).eval().requires_grad_(False)
    stored = _stored(data, compute.device)
    optimizer = torch.optim.AdamW(enhancer.parameters(), options.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    started = time.monotonic()
    step, elapsed_s = 0, 0.0
    while (done := budget.progress(step, elapsed_s)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rate_factor(step, done)
        terms = _losses(enhancer, stored, step_generator(seed, step), compute, options)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(enhancer.parameters(), 1.0)
        optimizer.step()
        step += 1
        _follow(average, enhancer, step)
        elapsed_s = time.monotonic() - started
        if step % TELL_EVERY == 0:
            _tell(progress, budget, step, elapsed_s, terms)
    progress("enhance", 1.0, 1.0, f"{step} steps")
    return average  # type: ignore[no-any-return]


def _tell(progress: Progress, budget: Budget, step: int, elapsed_s: float, terms: Mapping[str, Tensor]) -> None:
    """Losses, rate and time left; TrainingError where a loss is no number."""
    values = {name: term.detach().item() for name, term in terms.items()}
    lost = [name for name, value in values.items() if not math.isfinite(value)]
    if lost:
        raise TrainingError(
            f"colour and resolution training: {lost[0]} loss is {values[lost[0]]} at step {step}; lower the rate"
        )
    losses = " ".join(f"{name} {value:.4f}" for name, value in values.items())
    left = budget.left_s(step, elapsed_s) or 0.0
    done = min(1.0, budget.progress(step, elapsed_s))
    progress("enhance", done, 1.0, f"{step / max(elapsed_s, 1e-6):.1f} steps/s, {losses}, {left:.0f} s left")


def save_enhancer(enhancer: Enhancer, path: Path) -> None:
    """Writes the network whole or not at all; ``nets.enhancer.load_enhancer`` reads it.

    Raises:
        MediaError: The file can't be written.
    """
    tensors, metadata = save_tensors(enhancer)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


# ---- lessons ---------------------------------------------------------------------------------------------------


def _losses(
    enhancer: Enhancer, stored: _Stored, generator: Generator, compute: Compute, options: EnhanceOptions
) -> dict[str, Tensor]:
    """All weighted terms of one step."""
    terms = _resolution_losses(enhancer, stored, _Draw(generator, options.batch, compute.device), compute, options)
    draw = _Draw(generator, options.color_batch, compute.device)
    terms["color"] = _color_loss(enhancer, stored, draw, options)
    return terms


def _resolution_losses(
    enhancer: Enhancer, stored: _Stored, draw: _Draw, compute: Compute, options: EnhanceOptions
) -> dict[str, Tensor]:
    """Patches of the generated crops are to become the real ones."""
    scale = enhancer.config.scale
    rows = draw.rows(len(stored.generated))
    side = max(16, round(options.patch * enhancer.config.crop_px) // 2 * 2)
    corners = draw.corners(stored.masks[rows], side)
    crops, masks = (_patches(x[rows], corners, side, 1) for x in (stored.generated, stored.masks))
    expected = _patches(stored.expected[rows], corners, side, scale)
    own = F.interpolate(expected, size=(side, side), mode="area")
    degraded = draw.uniform(0.0, 1.0)[:, None, None, None] < options.degraded_share
    crops = torch.where(degraded, _degraded(own, draw), crops)
    # what lies around the face tells how sharp it may be, not what it looks like: often it is another frame's
    others = _patches(stored.faces[draw.rows(len(stored.faces))], corners, side, 1)
    around = torch.where(draw.uniform(0.0, 1.0)[:, None, None, None] < 0.5, own, others)
    gamma, gain = draw.light(0.5 * options.light)
    crops, expected, around = (_lit(x, gamma, gain.mean((2, 3), keepdim=True)) for x in (crops, expected, around))
    with compute.autocast():
        predicted = enhancer.detail(crops, around, masks)
    # colours are not this part's business, which it couldn't change anyway: they are taken out of what is expected
    base = F.interpolate(crops, scale_factor=float(scale), mode="bilinear", align_corners=False)
    expected = expected + carried(base) - carried(expected)
    weight = F.interpolate(masks, scale_factor=float(scale), mode="bilinear", align_corners=False) + 0.02
    difference = predicted - expected
    return {
        "detail": charbonnier(difference, weight),
        "gradient": options.gradient * gradient_loss(difference, weight),
        "ssim": options.ssim * ssim_loss(predicted, expected, weight),
        "texture": options.texture * _texture_loss(predicted, expected, weight),
    }


def _texture_loss(predicted: Tensor, expected: Tensor, weight: Tensor) -> Tensor:
    """Every small area is to hold as much fine detail as the real one, wherever exactly in it.

    The other terms reward blur where a detail's place can't be known; this one asks for its amount.
    """
    amounts = []
    for images in (predicted, expected):
        fine = images.mean(1, keepdim=True)
        fine = fine - F.avg_pool2d(fine, 3, stride=1, padding=1, count_include_pad=False)
        amounts.append(F.avg_pool2d(fine.square() + 1e-6, TEXTURE_PX).sqrt())
    area = F.avg_pool2d(weight, TEXTURE_PX)
    return (area * (amounts[0] - amounts[1]).abs()).sum() / area.sum()


def _color_loss(enhancer: Enhancer, stored: _Stored, draw: _Draw, options: EnhanceOptions) -> Tensor:
    """A random change of colour is to be undone, as far as the closed form has not."""
    rows = draw.rows(len(stored.faces))
    side = enhancer.config.thumb_px
    faces, disguised, masks = (_thumbs(x[rows], side) for x in (stored.faces, stored.disguised, stored.masks))
    changed = _thumbs(stored.changed[rows, draw.rows(stored.changed.shape[1])], side)
    seen = torch.where(draw.uniform(0.0, 1.0)[:, None, None, None] < options.disguise_share, disguised, faces)
    references = faces * (1 - masks) + seen * masks
    # the whole frame has its own random light, in which all that is seen stands
    light = draw.light(0.5 * options.light)
    changed, references, faces = (_lit(x, *light) for x in (changed, references, faces))
    predicted = enhancer.color(changed, references, masks)
    return charbonnier(predicted - faces, masks + 1e-4) + charbonnier(veiled(predicted - faces, masks), masks + 1e-4)


# ---- samples ---------------------------------------------------------------------------------------------------


class _Draw:
    """Random numbers of a step, drawn on the CPU whatever the device, so that runs repeat."""

    def __init__(self, generator: Generator, count: int, device: torch.device) -> None:
        self._generator = generator
        self._device = device
        self.count = count

    def uniform(self, low: float, high: float) -> Float[Tensor, "b"]:
        """One number a sample."""
        return (torch.rand(self.count, generator=self._generator) * (high - low) + low).to(self._device)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Numbers of a shape for each sample."""
        return (torch.randn(self.count, *shape, generator=self._generator) * deviation).to(self._device)

    def rows(self, total: int) -> Tensor:
        """Indices of samples."""
        return torch.randint(total, (self.count,), generator=self._generator).to(self._device)

    def corners(self, masks: UInt8[Tensor, "b 1 s s"], side: int) -> list[tuple[int, int]]:
        """Top-left corners of patches whose middles lie in the masks."""
        room = masks.shape[-1] - side
        likely = F.avg_pool2d(masks.float().cpu(), 8)
        cells = torch.multinomial(likely.flatten(1) + 1e-3, 1, generator=self._generator)[:, 0]
        jitter = torch.randint(8, (self.count, 2), generator=self._generator)
        middles = torch.stack([cells // likely.shape[-1], cells % likely.shape[-1]], 1) * 8 + jitter
        corners = (middles - side // 2).clamp(0, room).tolist()
        return [(int(top), int(left)) for top, left in corners]

    def light(self, strength: float) -> tuple[Tensor, Tensor]:
        """Gamma (b, 1, 1, 1) and log gain (b, 3, g, g): exposure, white balance, and a smooth field over the face."""
        gamma = self.normal(0.15 * strength, 1, 1, 1).exp()
        overall = self.normal(0.18 * strength, 1, 1, 1) + self.normal(0.08 * strength, 3, 1, 1)
        field = self.normal(0.18 * strength, 1, LIGHT_GRID, LIGHT_GRID)
        return gamma, overall + field + self.normal(0.03 * strength, 3, LIGHT_GRID, LIGHT_GRID)


def _lit(images: Tensor, gamma: Tensor, gain: Tensor) -> Tensor:
    """Images under a gamma and a smooth log gain, clipped to 0..1."""
    if gain.shape[-1] > 1:
        gain = F.interpolate(gain, size=images.shape[-2:], mode="bicubic", align_corners=True)
    return torch.exp(images.clamp_min(1e-3).log() * gamma + gain).clamp(0, 1)


def _degraded(images: Tensor, draw: _Draw) -> Tensor:
    """Blurred and noisy, each sample by another amount."""
    soft = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    share = draw.uniform(0.0, 1.0)[:, None, None, None]
    noise = draw.normal(1.0, *images.shape[1:]) * draw.uniform(0.0, 0.02)[:, None, None, None]
    return (images + share * (soft - images) + noise).clamp(0, 1)


def _patches(images: UInt8[Tensor, "b c h h"], corners: list[tuple[int, int]], side: int, scale: int) -> Tensor:
    """Squares of ``side * scale``, 0..1."""
    cut = [
        image[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        for image, (top, left) in zip(images, corners, strict=True)
    ]
    return torch.stack(cut).float() / 255


def _thumbs(images: UInt8[Tensor, "b c s s"], side: int) -> Tensor:
    """Shrunk to ``side``, 0..1."""
    return F.interpolate(images.float() / 255, size=(side, side), mode="area")


def _stored(data: EnhancerData, device: torch.device) -> _Stored:
    def tensor(array: np.ndarray) -> Tensor:
        channels = array[..., None] if array.ndim == 3 else array
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(channels, -1, -3))).to(device)

    return _Stored(*(tensor(getattr(data, name)) for name in _Stored._fields))


def _fitting(data: EnhancerData, config: EnhancerConfig | None) -> EnhancerConfig:
    """The config, or one made for the data's sizes, where they fit one another."""
    side, output = data.generated.shape[1], data.expected.shape[1]
    if output % side:
        raise TrainingError(f"colour and resolution training: expected a multiple of {side} px crops, got {output} px")
    made = config or EnhancerConfig(crop_px=side, scale=output // side)
    if (made.crop_px, made.output_px) != (side, output):
        got = f"{side} and {output}"
        raise TrainingError(
            f"colour and resolution training: expected crops of {made.crop_px} and {made.output_px} px, got {got}"
        )
    return made


def _follow(average: Enhancer, enhancer: Enhancer, step: int) -> None:
    """Moves the averaged weights on; the mean gets longer as training goes."""
    share = 1 - average_decay(2 * step)
    with torch.no_grad():
        for mean, value in zip(average.parameters(), enhancer.parameters(), strict=True):
            mean.lerp_(value, share)
