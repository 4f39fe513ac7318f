"""What is finer than a picture shows, as a factor for each pixel: so it stands any later change of light."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from intracoder.records import Image, Mask

_DARK: Final = 0.03
"""Added to both levels of a ratio, 0..1: in the dark a level more or less is no detail."""
_MOST: Final = 3.0
"""Most that detail brightens or darkens with what is regained."""


def with_detail(image: Image, detail: Float32[np.ndarray, "d d 3"], share: float) -> UInt8[np.ndarray, "s s 3"]:
    """``image`` under a factor that holds what is finer than it shows; at another size the factor is resized."""
    size = len(image)
    if len(detail) != size:
        detail = np.asarray(cv2.resize(detail, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32)
    return np.clip(np.rint(image * (1 + np.float32(share) * (detail - 1))), 0, 255).astype(np.uint8)


def regained(
    detail: Float32[np.ndarray, "d d 3"],
    drawn: Image,
    reference: UInt8[np.ndarray, "d d 3"],
    where: Mask,
    *,
    blur: float,
    grain: float,
) -> Float32[np.ndarray, "d d 3"]:
    """``detail`` with the brightness contrast that a real picture has beyond the drawn one.

    A small network mixes what it copies with what it paints, and where the two differ by a pixel or two, most in the
    eyes, pupils and whites come out grey.

    Args:
        detail: Factor on ``drawn``.
        drawn: By the network, of any size.
        reference: The real frame, bent to the same place.
        where: How much to take, 0..1, ``drawn``'s size.
        blur: Deviation of the blur that parts light from contrast, fraction of the side.
        grain: Contrast that is taken for noise and compression, and stays out.

    Returns:
        A factor of the same size, from 1/3 to 3.

    Source: ratio images, Liu, Shan & Zhang, "Expressive expression mapping with ratio images", SIGGRAPH 2001.
    """
    size = len(detail)
    grown = np.asarray(cv2.resize(drawn, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    contrast = _contrast(reference, blur) / _contrast(with_detail(grown, detail, 1.0), blur)
    share = cv2.resize(where, (size, size), interpolation=cv2.INTER_LINEAR)
    beyond = np.sign(contrast - 1) * np.maximum(np.abs(contrast - 1) - grain, 0)
    more = detail * (1 + share * beyond)[..., None]
    return np.asarray(np.clip(more, 1 / _MOST, _MOST), dtype=np.float32)


def _contrast(image: UInt8[np.ndarray, "d d 3"], blur: float) -> Float32[np.ndarray, "d d"]:
    """Brightness over its local mean."""
    level = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 + np.float32(_DARK)
    return np.asarray(level / cv2.GaussianBlur(level, (0, 0), blur * len(image)), dtype=np.float32)
