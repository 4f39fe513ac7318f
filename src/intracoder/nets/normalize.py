"""Colour normalisation: the light's colour and strength taken out before the network, another's put in after it.

One gain a channel, as light does it, measured on bare skin: black stays black and contrasts keep their ratio, and
beards, brows and open mouths don't count.

Source: von Kries, 1902: adaptation as independent gains.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

LEVEL = 0.45
"""Where the mean of the skin lands; what is more than 2.2 times brighter is clipped."""
FLOOR = 0.02


def skin_color(images: Float[Tensor, "b 3 s s"], masks: Float[Tensor, "b 1 s s"]) -> Float[Tensor, "b 3 1 1"]:
    """Mean colour inside the masks; images and masks 0..1."""
    weight = masks / (masks.sum((2, 3), keepdim=True) + 1e-3)
    mean: Tensor = (images * weight).sum((2, 3), keepdim=True)
    return mean + FLOOR


def normalized(images: Float[Tensor, "b 3 s s"], color: Float[Tensor, "b 3 1 1"]) -> Float[Tensor, "b 3 s s"]:
    """Images whose skin, of mean ``color``, gets the mean LEVEL in every channel; clipped to 0..1."""
    return (images * (LEVEL / color)).clamp(0, 1)


def restored(images: Float[Tensor, "b 3 s s"], color: Float[Tensor, "b 3 1 1"]) -> Float[Tensor, "b 3 s s"]:
    """Undoes ``normalized``, with this or another picture's skin colour; clipped to 0..1."""
    return (images * (color / LEVEL)).clamp(0, 1)
