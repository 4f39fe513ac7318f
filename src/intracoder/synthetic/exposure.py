"""From linear radiance to the picture: exposure, tone curve, sRGB."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32

from intracoder.ops.color import LUMA
from intracoder.records import Image, Mask
from intracoder.synthetic.head import Head
from intracoder.synthetic.region import FaceRegion

_WANTED: Final = 0.75
"""Radiance over albedo, after the exposure, that a measured face gets."""
_KEPT: Final = 0.3
"""Share, in stops, of a scene's brightness that measuring leaves: a dark room stays darker than a bright one."""
_LIMITS: Final = (0.1, 12.0)


def tonemap(radiance: Float32[np.ndarray, "h w 3"], exposure: float) -> Image:
    """Filmic shoulder and the sRGB curve.

    Source: Reinhard et al., "Photographic tone reproduction for digital images", 2002, eq. 4, white point 2.5.
    """
    x = np.maximum(radiance * exposure, 0)
    x = np.clip(1.28 * x * (1 + x / 6.25) / (1 + x), 0, 1)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.ascontiguousarray(np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def measured_exposure(radiance: Float32[np.ndarray, "h w 3"], mask: Mask, head: Head, region: FaceRegion) -> float:
    """The exposure for a frame by the light on its face.

    The skin's own albedo is divided out, so that dark skin stays dark. A frame without face gets 1.
    """
    weight = float(mask.sum())
    if weight < 1:
        return 1.0
    reflected = float((radiance @ LUMA * mask).sum()) / weight
    encoded = head.color[region.skin].astype(np.float64) / 255
    albedo = float((encoded**2.2 @ LUMA).mean())
    light = max(reflected / albedo, 1e-4)
    return round(float(np.clip((_WANTED / light) ** (1 - _KEPT), *_LIMITS)), 4)
