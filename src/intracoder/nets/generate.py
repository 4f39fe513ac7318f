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
from intracoder.nets.normalize import color_stats, normalized, restored
from intracoder.records import Crops, Masks


class DecoderInput(NamedTuple):
    """Planes for a decoder, and where their face is."""

    planes: UInt8[np.ndarray, "n s s p"]
    """Geometry (4), then reference (3), as the net's config has them."""
    masks: Masks
    """Hull of the wanted landmarks: where the reference's colour is measured."""


@torch.inference_mode()
def generate_faces(
    net: Intracoder,
    person: int,
    crops: Crops,
    masks: Float32[np.ndarray, "n s s"],
    decoder_input: DecoderInput | None,
    compute: Compute,
) -> tuple[Crops, Masks]:
    """One person's face for every crop, in the crop's own colours.

    Args:
        net: In eval mode, on the compute's device.
        person: Whose decoder draws.
        crops: At the net's output size; of anybody.
        masks: Hull of the crops' own landmarks: where their colour is measured, and given back.
        decoder_input: None for the plain autoencoder.
        compute: Device and precision.

    Returns:
        Crops and the net's own face masks, 0..1, at the output size.
    """
    inputs, hulls = _images(crops, compute), _masks(masks, compute)
    stats = color_stats(inputs, hulls)
    factor = net.config.output_px // net.config.encoder_px
    small = F.avg_pool2d(normalized(inputs, stats), factor) if factor > 1 else normalized(inputs, stats)
    planes = None if decoder_input is None else _planes(net, decoder_input, compute)
    with compute.autocast():
        generated = swap_faces(net, person, small.contiguous(memory_format=torch.channels_last), planes)
    rgb = restored(generated.rgb.float(), stats).mul(255).round().to(torch.uint8)
    alpha = generated.alpha[:, 0].float()
    return np.ascontiguousarray(rgb.permute(0, 2, 3, 1).cpu().numpy()), alpha.cpu().numpy()


def _planes(net: Intracoder, given: DecoderInput, compute: Compute) -> Tensor:
    """Planes as the net takes them: 0..1, the reference's colour normalised."""
    planes = _images(given.planes, compute)
    if net.config.reference:
        reference = planes[:, -3:]
        own = color_stats(reference, _masks(given.masks, compute))
        planes = torch.cat([planes[:, :-3], normalized(reference, own)], 1)
    return planes.contiguous(memory_format=torch.channels_last)


def _images(images: UInt8[np.ndarray, "n s s c"], compute: Compute) -> Tensor:
    return torch.from_numpy(images).to(compute.device).permute(0, 3, 1, 2).float().div(255)


def _masks(masks: Masks, compute: Compute) -> Tensor:
    return torch.from_numpy(masks).to(compute.device)[:, None]
