"""Batched augmentation, a pure function of the samples and a generator.

Source: random warp, shared transform of input and expected picture: the first face swap programs and faceswap's
training data; light jitter on input and expected alike: Li et al., Celeb-DF, arXiv 1909.12962, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from intracoder.faceset.planes import MARGIN
from intracoder.nets.normalize import normalized, skin_color

WEIGHT_UNIT = 80.0
"""Level of a stored weight map that counts 1."""
WARP_GRID = 5
LIGHT_GRID = 3


class Samples(NamedTuple):
    """What is drawn from the stored arrays for one step; side q = MARGIN * the output's."""

    inputs: UInt8[Tensor, "b 3 q q"]
    """What the encoder is to see: the crop itself, or a pseudo-triplet's other face."""
    layers: UInt8[Tensor, "b c q q"]
    """Expected crop (3), mask (1), weight (1), skin (1), geometry (4 or 0)."""
    references: UInt8[Tensor, "b 4 q q"] | None
    """Visibility and colour of other frames of the person, warped onto this one."""


class Batch(NamedTuple):
    """What the network and the losses take; fp32, 0..1."""

    inputs: Float[Tensor, "b 3 e e"]
    expected: Float[Tensor, "b 3 s s"]
    mask: Float[Tensor, "b 1 s s"]
    weight: Float[Tensor, "b 1 s s"]
    planes: Float[Tensor, "b p s s"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Strengths; measured in METHODS §8 at these values."""

    rotate_rad: float = 0.17
    log_scale: float = 0.08
    shift: float = 0.06
    """Fraction of half the stored side."""
    light: float = 0.5
    """Gamma and low-frequency gain on input and expected alike; 1 slows convergence."""
    reference_light: float = 1.0
    """The reference's own low-frequency gain: its light must not be trusted."""
    degrade_share: float = 0.35
    """Share of inputs that lose resolution and gain noise."""


def augmented(
    samples: Samples, generator: Generator, *, encoder_px: int, output_px: int, warp: float, strengths: Augmentation
) -> Batch:
    """One training batch: transformed, lit, degraded, colour-normalised.

    Args:
        samples: Stored pictures.
        generator: All randomness, on the CPU whatever the device, so that runs repeat.
        encoder_px: Side of the inputs.
        output_px: Side of everything else.
        warp: Deviation of the inputs' random warp, in units of half the side; 0 leaves them in place.
        strengths: Of all other changes.
    """
    count, device = len(samples.inputs), samples.inputs.device
    draw = _Draw(generator, count, device)
    grid = _similarity_grid(draw, output_px, strengths)
    parts = [samples.layers] if samples.references is None else [samples.layers, samples.references]
    layers = _sampled(torch.cat(parts, 1), grid)
    inputs = _sampled(samples.inputs, grid + _warp_field(draw, output_px, warp) if warp else grid)
    inputs = _degraded(inputs, draw, strengths.degrade_share)
    if encoder_px != output_px:
        inputs = F.avg_pool2d(inputs, output_px // encoder_px)
    expected, mask, weight, skin = layers[:, :3], layers[:, 3:4], layers[:, 4:5] * (255 / WEIGHT_UNIT), layers[:, 5:6]
    gamma, field = _light(draw, strengths.light)
    inputs, expected = _lit(inputs, gamma, field), _lit(expected, gamma, field)
    planes = layers[:, 6:]
    if samples.references is not None:
        own_gamma, own_field = _light(draw, strengths.reference_light)
        reference = _lit(planes[:, -3:], own_gamma * gamma, own_field)
        planes = torch.cat([planes[:, :-3], normalized(reference, skin_color(reference, skin))], 1)
    input_skin = F.adaptive_avg_pool2d(skin, encoder_px)
    return Batch(
        inputs=normalized(inputs, skin_color(inputs, input_skin)),
        expected=normalized(expected, skin_color(expected, skin)),
        mask=mask,
        weight=weight,
        planes=planes if planes.shape[1] else None,
    )


def centered(samples: Samples, *, encoder_px: int, output_px: int) -> Batch:
    """The same without any change: the middle window, for validation and previews."""
    still = Augmentation(rotate_rad=0.0, log_scale=0.0, shift=0.0, light=0.0, reference_light=0.0, degrade_share=0.0)
    generator = torch.Generator().manual_seed(0)
    return augmented(samples, generator, encoder_px=encoder_px, output_px=output_px, warp=0.0, strengths=still)


class _Draw:
    """Random numbers for a batch, drawn on the CPU and moved."""

    def __init__(self, generator: Generator, count: int, device: torch.device) -> None:
        self._generator = generator
        self._device = device
        self.count = count

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(self.count, *shape, generator=self._generator) * (high - low) + low
        return drawn.to(self._device, non_blocking=True)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        drawn = torch.randn(self.count, *shape, generator=self._generator) * deviation
        return drawn.to(self._device, non_blocking=True)


def _similarity_grid(draw: _Draw, size: int, strengths: Augmentation) -> Tensor:
    """(b, size, size, 2) sampling positions of a random similarity of the network's window in the stored one."""
    angle = draw.uniform(-strengths.rotate_rad, strengths.rotate_rad)
    scale = draw.uniform(-strengths.log_scale, strengths.log_scale).exp() / MARGIN
    shift = draw.uniform(-strengths.shift, strengths.shift, 2)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    return F.affine_grid(torch.stack(rows, 1), [draw.count, 3, size, size], align_corners=False)


def _warp_field(draw: _Draw, size: int, warp: float) -> Tensor:
    """(b, size, size, 2) smooth displacements from a coarse grid of random ones."""
    coarse = draw.normal(2 * warp, 2, WARP_GRID, WARP_GRID)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def _sampled(stored: Tensor, grid: Tensor) -> Tensor:
    """0..1 pictures; divided after sampling, when there are fewer pixels."""
    levels = F.grid_sample(stored.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return levels.mul_(1 / 255)


def _degraded(images: Tensor, draw: _Draw, share: float) -> Tensor:
    """A share of the images shrunk and grown again, with noise; the number is fixed, so that shapes are."""
    chosen = round(share * draw.count)
    if not chosen:
        return images
    rows = draw.uniform(0.0, 1.0).argsort()[:chosen]
    factor = float(draw.uniform(0.35, 0.8)[0])
    size = images.shape[-1]
    small = F.interpolate(images[rows], size=(round(size * factor),) * 2, mode="bilinear", align_corners=False)
    soft = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    noise = draw.normal(1.0, 3, size, size)[:chosen] * draw.uniform(0.0, 0.03)[:chosen, None, None, None]
    return images.index_copy(0, rows, soft + noise)


def _light(draw: _Draw, strength: float) -> tuple[Tensor, Tensor]:
    """Gamma (b, 1, 1, 1), and log gain on a coarse grid (b, 3, g, g), mostly grey."""
    gamma = draw.normal(0.12 * strength, 1, 1, 1).exp()
    grey = draw.normal(0.18 * strength, 1, LIGHT_GRID, LIGHT_GRID)
    return gamma, grey + draw.normal(0.03 * strength, 3, LIGHT_GRID, LIGHT_GRID)


def _lit(images: Tensor, gamma: Tensor, field: Tensor) -> Tensor:
    """Gamma and gain in one exponential; a gain that is the same everywhere is left to the normalisation."""
    gain = F.interpolate(field, size=images.shape[-2:], mode="bilinear", align_corners=True)
    return torch.exp(images.clamp_min(1e-3).log() * gamma + gain).clamp(0, 1)
