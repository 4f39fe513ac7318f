"""The light on eyes, which is not the light on skin times the skin's own darkness.

Faces are brought to a target's colours by their skin. Where the source's skin is much darker, that gain lights up the
whites of the eyes as well, which are alike in all people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

from intracoder.ops.color import LUMA, encoded, linear_light
from intracoder.ops.mask import opening_mask, skin_mask, soften
from intracoder.records import Crops, Image, Points

_OPEN: Final = 0.18
"""Area of an eye's opening / the square of its width, from which on it says how bright eyes are."""
_WHITES: Final = (88, 99)
"""Percentiles of brightness in the openings between which their whites lie; glints are above."""
_LEAST_PX: Final = 12
_LEAST_FRAMES: Final = 3
_FLOOR: Final = 2e-3
_USUAL: Final = 0.5
"""Most that whites are lighter than light skin, natural logarithm. How dark they are below it says nothing: lashes,
brows and deep sockets shade them by up to 1."""
_EDGE: Final = 1 / 100
"""Width of the openings' soft edge, fraction of the crop's side."""


def eye_excess(crops: Crops | Sequence[Image], points: Sequence[Points] | Float32[np.ndarray, "n 478 3"]) -> float:
    """How much lighter the whites of a person's eyes are than light skin would leave them, natural logarithm, >= 0.

    0 for light skin and where eyes are never open enough; about .3 to .9 for dark skin.

    Args:
        crops: Square crops of one person in one clip or set.
        points: Their landmarks, crop pixels.
    """
    found = [level for crop, row in zip(crops, points, strict=True) if (level := _level(crop, row)) is not None]
    return max(float(np.median(found)) - _USUAL, 0.0) if len(found) >= _LEAST_FRAMES else 0.0


def with_eye_light(image: Image, points: Points, log_gain: float) -> UInt8[np.ndarray, "s s 3"]:
    """A square crop with what shows between the lids lightened or darkened, in linear light.

    Args:
        image: The crop, s px.
        points: Its landmarks, crop pixels.
        log_gain: Natural logarithm of the factor; 0 changes nothing.
    """
    if not log_gain:
        return image
    openings = soften(opening_mask(points, len(image)), len(image) * _EDGE)
    lit = np.clip(linear_light(image) * np.exp(openings[..., None] * log_gain), 0.0, 1.0)
    return np.asarray(np.rint(encoded(lit) * 255), dtype=np.uint8)


def _level(crop: Image, points: Points) -> float | None:
    """Brightness of the whites beside bare skin's, logarithmic; None while the eyes are closed or too small to see."""
    size = len(crop)
    openings, skin = opening_mask(points, size, least=_OPEN) > 0.6, skin_mask(points, size)
    bright = linear_light(crop) @ LUMA
    if openings.sum() < _LEAST_PX or not skin.any():
        return None
    inside = bright[openings]
    low, high = np.percentile(inside, _WHITES)
    whites = inside[(inside >= low) & (inside <= high)].mean()
    return float(np.log((whites + _FLOOR) / ((bright * skin).sum() / skin.sum() + _FLOOR)))
