"""Losses of the intracoder, each by name with its raw value and weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from intracoder.nets.intracoder import Generated

SSIM_SIGMA_PX = 1.5
SSIM_RADIUS_PX = 5
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """How much each term counts."""

    color: float = 1.0
    """Charbonnier distance of colours."""
    ssim: float = 0.15
    """1 - SSIM of luma."""
    gradient: float = 0.4
    """L1 distance of horizontal and vertical differences."""
    alpha: float = 0.1
    """L1 distance of the predicted to the expected mask."""


class LossTerm(NamedTuple):
    """One loss before and after weighting."""

    raw: Float[Tensor, ""]
    weight: float


class LossTerms(dict[str, LossTerm]):
    """Terms by name."""

    def total(self) -> Float[Tensor, ""]:
        """The weighted sum."""
        return torch.stack([term.raw * term.weight for term in self.values()]).sum()


def intracoder_losses(
    predicted: Generated,
    expected: Float[Tensor, "b 3 s s"],
    mask: Float[Tensor, "b 1 s s"],
    weight: Float[Tensor, "b 1 s s"],
    weights: LossWeights = LossWeights(),
) -> LossTerms:
    """All terms for a batch; a weight of 0 leaves its term out.

    Args:
        predicted: Of the network, fp32.
        expected: Normalised colour, 0..1.
        mask: Expected alpha, 0..1.
        weight: What a pixel counts: 1 in the face, less outside, more at eyes and mouth; any scale.
        weights: What a term counts.
    """
    terms = LossTerms()
    difference = predicted.rgb - expected
    if weights.color:
        terms["color"] = LossTerm(charbonnier(difference, weight), weights.color)
    if weights.ssim:
        terms["ssim"] = LossTerm(ssim_loss(predicted.rgb, expected, weight), weights.ssim)
    if weights.gradient:
        terms["gradient"] = LossTerm(gradient_loss(difference, weight), weights.gradient)
    if weights.alpha:
        terms["alpha"] = LossTerm((predicted.alpha - mask).abs().mean(), weights.alpha)
    return terms


def of_slice(terms: LossTerms, weight: Float[Tensor, "k 1 s s"], whole: Float[Tensor, "b 1 s s"]) -> LossTerms:
    """Terms of one of several equal slices of a batch, such that their mean over the slices is the batch's term.

    A mean weighted by ``weight`` counts for as much as its slice's weights do in the ``whole`` batch's; a plain mean
    over rows is left as it is.
    """
    r = SSIM_RADIUS_PX
    everywhere = weight.mean() / whole.mean()
    inside = weight[..., r:-r, r:-r].mean() / whole[..., r:-r, r:-r].mean()
    shares = {"color": everywhere, "gradient": everywhere, "ssim": inside}
    return LossTerms(
        (name, term._replace(raw=term.raw * shares[name]) if name in shares else term) for name, term in terms.items()
    )


def charbonnier(difference: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Weighted mean of sqrt(d^2 + 1e-6), an L1 that is smooth at 0. Source: Charbonnier et al., ICIP 1994."""
    distance = (difference.square() + 1e-6).sqrt().mean(1, keepdim=True)
    return (weight * distance).sum() / weight.sum()


def gradient_loss(difference: Float[Tensor, "b c h w"], weight: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Weighted L1 of the difference's own horizontal and vertical differences: edges sharp and in place."""
    # rolled instead of cut, because gradients of slices are written into zeros of full size
    across = (difference - difference.roll(1, -1)).abs().mean(1, keepdim=True)
    down = (difference - difference.roll(1, -2)).abs().mean(1, keepdim=True)
    beside, above = weight.clone(), weight.clone()
    beside[..., 0] = above[..., 0, :] = 0  # nothing comes before the first
    return (beside * across + above * down).sum() / weight.sum()


def ssim_loss(
    predicted: Float[Tensor, "b 3 h w"], expected: Float[Tensor, "b 3 h w"], weight: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Weighted mean of 1 - SSIM on luma, without the border that the window does not fill.

    Source: Wang et al., Image quality assessment, TIP 2004 (sigma 1.5, K1 .01, K2 .03).
    """
    p, e = _luma(predicted), _luma(expected)
    mean_p, square_p, product = _blurred(torch.stack([p, p * p, p * e], 1)).unbind(1)
    mean_e, square_e = _blurred(torch.stack([e, e * e], 1)).unbind(1)
    similarity = ((2 * mean_p * mean_e + 1e-4) * (2 * (product - mean_p * mean_e) + 9e-4)) / (
        (mean_p * mean_p + mean_e * mean_e + 1e-4) * (square_p - mean_p * mean_p + square_e - mean_e * mean_e + 9e-4)
    )
    r = SSIM_RADIUS_PX
    inner = weight[:, 0, r:-r, r:-r]
    return (inner * (1 - similarity)).sum() / inner.sum()


def _luma(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h w"]:
    red, green, blue = images.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _blurred(images: Tensor) -> Tensor:
    """Separable Gaussian, valid part only; as two matrix products, faster on a CPU than depthwise convolution."""
    height, width = images.shape[2:]
    down, across = _band(height, images), _band(width, images)
    blurred: Tensor = down @ images @ across.T
    return blurred


def _band(size: int, like: Tensor) -> Tensor:
    """(size - 2 r, size) matrix whose rows are the Gaussian window, one pixel further in each row."""
    r = SSIM_RADIUS_PX
    columns = torch.arange(size, device=like.device, dtype=like.dtype)
    centers = columns[r : size - r, None]
    band = torch.exp(-(columns - centers).square() / (2 * SSIM_SIGMA_PX**2)) * ((columns - centers).abs() <= r)
    return band / band.sum(1, keepdim=True)
