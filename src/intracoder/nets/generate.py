"""The intracoder in use: uint8 crops in, uint8 crops and masks out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float32, UInt8
from torch import Tensor

from intracoder.nets.device import Compute
from intracoder.nets.intracoder import Intracoder, swap_faces
from intracoder.nets.normalize import normalized, restored, skin_color
from intracoder.records import Crops, Masks, SwappedCrops

DARK = 0.03
"""Added to both levels of a ratio, 0..1: in the dark a level more or less is no detail."""
DETAIL_MOST = 2.0
"""Most that detail brightens or darkens."""


class DecoderInput(NamedTuple):
    """Planes for a decoder, and where their skin is."""

    planes: UInt8[np.ndarray, "n s s p"]
    """Geometry (4), then visibility (1) and colour (3) of the reference, as the net's config has them."""
    masks: Masks
    """Skin at the wanted landmarks: where the reference's colour is measured."""
    detail: UInt8[np.ndarray, "n z z 3"] | None = None
    """The reference's colour at a multiple of the net's output size."""


@torch.inference_mode()
def generate_faces(
    net: Intracoder,
    person: int,
    crops: Crops,
    masks: Float32[np.ndarray, "n m m"],
    decoder_input: DecoderInput | None,
    compute: Compute,
) -> SwappedCrops:
    """One person's face for every crop, in the crop's own colours.

    Args:
        net: In eval mode, on the compute's device.
        person: Whose decoder draws.
        crops: Of anybody, at the net's output size.
        masks: Skin at the crops' own landmarks, at the output size: the colour that is measured there is given back.
        decoder_input: None for the plain autoencoder.
        compute: Device and precision.

    Returns:
        Crops and the net's own face masks at the output size; with finer references also what is copied from them
        beyond that size.
    """
    inputs = _images(crops, compute)
    color = skin_color(inputs, _masks(masks, compute))
    small = _pooled(normalized(inputs, color), net.config.encoder_px)
    planes, detail = (None, None) if decoder_input is None else _planes(net, decoder_input, compute)
    with compute.autocast():
        generated = swap_faces(net, person, small, planes, detail)
    rgb = restored(generated.rgb.float(), color)
    coarse = _pooled(rgb, net.config.output_px)
    levels = coarse.mul(255).round().to(torch.uint8)
    alpha = _pooled(generated.alpha.float(), net.config.output_px)
    return SwappedCrops(
        crops=_channels_last(levels),
        masks=alpha[:, 0].cpu().numpy(),
        detail=_channels_last(_finer(rgb, coarse)) if detail is not None else None,
    )


def _finer(fine: Tensor, coarse: Tensor) -> Tensor:
    """What the fine pictures have beyond the coarse ones, as a factor: so it stands any later change of light."""
    smooth = F.interpolate(coarse, size=fine.shape[2:], mode="bicubic", align_corners=False).clamp(0, 1)
    return ((fine + DARK) / (smooth + DARK)).clamp(1 / DETAIL_MOST, DETAIL_MOST)


def _channels_last(images: Tensor) -> np.ndarray:
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())


def _planes(net: Intracoder, given: DecoderInput, compute: Compute) -> tuple[Tensor, Tensor | None]:
    """Planes and detail as the net takes them: 0..1, the reference's colour normalised."""
    planes, detail = _images(given.planes, compute), None
    if net.config.reference:
        reference = planes[:, -3:]
        own = skin_color(reference, _masks(given.masks, compute))
        planes = torch.cat([planes[:, :-3], normalized(reference, own)], 1)
        detail = None if given.detail is None else normalized(_images(given.detail, compute), own)
    return planes, detail


def _pooled(images: Tensor, side: int) -> Tensor:
    """Averaged down to ``side``, a divisor of theirs."""
    factor = images.shape[-1] // side
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _images(images: UInt8[np.ndarray, "n s s c"], compute: Compute) -> Tensor:
    return torch.from_numpy(images).to(compute.device).permute(0, 3, 1, 2).float().div(255)


def _masks(masks: Masks, compute: Compute) -> Tensor:
    return torch.from_numpy(masks).to(compute.device)[:, None]
